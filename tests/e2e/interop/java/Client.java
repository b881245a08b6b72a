// Drives com.microsoft.signalr by commands, a JSON document a line: see driver.py.

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.microsoft.signalr.HttpHubConnectionBuilder;
import com.microsoft.signalr.HubConnection;
import com.microsoft.signalr.HubConnectionBuilder;
import com.microsoft.signalr.TransportEnum;
import io.reactivex.rxjava3.core.Single;
import io.reactivex.rxjava3.subjects.SingleSubject;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;

final class Client {
    private static final Gson JSON = new GsonBuilder().serializeNulls().create();
    private static final PrintStream OUT =
        new PrintStream(System.out, true, StandardCharsets.UTF_8);
    private static final Map<String, HubConnection> connections = new ConcurrentHashMap<>();
    private static final Map<String, Queue<SingleSubject<Object>>> answers =
        new ConcurrentHashMap<>();

    public static void main(String[] args) throws Exception {
        var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            take(JsonParser.parseString(line).getAsJsonObject());
        }
        System.exit(0);
    }

    private static void take(JsonObject command) {
        String name = command.get("name").getAsString();
        switch (command.get("do").getAsString()) {
            case "open" -> open(name, command);
            case "invoke" -> invoke(name, command);
            case "answer" -> answers.get(name).remove()
                .onSuccess(JSON.fromJson(command.get("value"), Object.class));
            case "close" -> connections.get(name).stop().subscribe();
            default -> throw new IllegalArgumentException(command.toString());
        }
    }

    private static void open(String name, JsonObject command) {
        HttpHubConnectionBuilder builder =
            HubConnectionBuilder.create(command.get("url").getAsString())
                .withTransport(TransportEnum.valueOf(
                    command.get("transport").getAsString().equals("WebSockets")
                        ? "WEBSOCKETS" : "LONG_POLLING"))
                .withServerTimeout(milliseconds(command.get("server_timeout")))
                .withKeepAliveInterval(milliseconds(command.get("keep_alive")));
        HubConnection connection = builder.build();
        connections.put(name, connection);
        Queue<SingleSubject<Object>> waiting = new ConcurrentLinkedQueue<>();
        answers.put(name, waiting);
        connection.on("news", (number, text) -> emit(name, "news", "arguments", list(number, text)),
            Object.class, Object.class);
        connection.<Object, Object>onWithResult("ask", question -> {
            SingleSubject<Object> answer = SingleSubject.create();
            waiting.add(answer);
            emit(name, "ask", "arguments", List.of(question));
            return answer;
        }, Object.class);
        boolean reconnects = command.get("reconnects").getAsBoolean();
        connection.onClosed(error -> {
            emit(name, reconnects ? "reconnecting" : "closed", "error", text(error));
            if (reconnects) {
                start(connection).retryWhen(errors -> errors.delay(100, TimeUnit.MILLISECONDS))
                    .subscribe(() -> emit(name, "reconnected", "id", connection.getConnectionId()));
            }
        });
        connection.start().subscribe(
            () -> emit(name, "opened", "id", connection.getConnectionId()),
            error -> emit(name, "closed", "error", text(error)));
    }

    // Each subscription starts anew.
    private static io.reactivex.rxjava3.core.Completable start(HubConnection connection) {
        return io.reactivex.rxjava3.core.Completable.defer(connection::start);
    }

    private static void invoke(String name, JsonObject command) {
        Object[] arguments = JSON.fromJson(command.get("arguments"), Object[].class);
        Single<Object> answer = connections.get(name)
            .invoke(Object.class, command.get("target").getAsString(), arguments);
        answer.subscribe(
            result -> emit(name, "answered", "result", result),
            error -> emit(name, "answered", "error", text(error)));
    }

    private static synchronized void emit(String name, String event, String key, Object value) {
        JsonObject document = new JsonObject();
        document.addProperty("name", name);
        document.addProperty("event", event);
        document.add(key, JSON.toJsonTree(value));
        OUT.println(document);
    }

    private static List<Object> list(Object... items) {
        return java.util.Arrays.asList(items);
    }

    private static String text(Throwable error) {
        return error == null ? null : String.valueOf(error.getMessage());
    }

    private static long milliseconds(JsonElement seconds) {
        return Math.round(seconds.getAsDouble() * 1000);
    }
}
