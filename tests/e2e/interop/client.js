// Drives @microsoft/signalr by commands, the same way under Node and in a page: see driver.py.
"use strict";

// Returns what takes a command. `emit` is given each event.
function createClient(signalR, msgpack, emit) {
  const peers = new Map();
  const text = (error) => (error ? String(error.message ?? error) : null);

  function build(command) {
    const options = { transport: signalR.HttpTransportType[command.transport] };
    if (!command.negotiates) options.skipNegotiation = true;
    if (command.token) options.accessTokenFactory = () => command.token;
    const builder = new signalR.HubConnectionBuilder()
      .withUrl(command.url, options)
      .withServerTimeout(command.server_timeout * 1000)
      .withKeepAliveInterval(command.keep_alive * 1000)
      .configureLogging(signalR.LogLevel.None);
    if (command.encoding === "messagepack") {
      builder.withHubProtocol(new msgpack.MessagePackHubProtocol());
    }
    if (command.stateful) builder.withStatefulReconnect();
    if (command.reconnects) {
      builder.withAutomaticReconnect({ nextRetryDelayInMilliseconds: () => 100 });
    }
    return builder.build();
  }

  async function open(command) {
    const name = command.name;
    const connection = build(command);
    const peer = { connection, answers: [] };
    peers.set(name, peer);
    connection.on("news", (...args) => emit({ event: "news", name, arguments: args }));
    connection.on("ask", (...args) => {
      const answer = new Promise((resolve) => peer.answers.push(resolve));
      emit({ event: "ask", name, arguments: args });
      return answer;
    });
    connection.onreconnecting((error) => emit({ event: "reconnecting", name, error: text(error) }));
    connection.onreconnected((id) => emit({ event: "reconnected", name, id }));
    connection.onclose((error) => emit({ event: "closed", name, error: text(error) }));
    try {
      await connection.start();
      emit({ event: "opened", name, id: connection.connectionId });
    } catch (error) {
      emit({ event: "closed", name, error: text(error) });
    }
  }

  async function invoke(command) {
    const { connection } = peers.get(command.name);
    try {
      const result = await connection.invoke(command.target, ...command.arguments);
      emit({ event: "answered", name: command.name, result });
    } catch (error) {
      emit({ event: "answered", name: command.name, error: text(error) });
    }
  }

  return function take(command) {
    if (command.do === "open") return open(command);
    if (command.do === "invoke") return invoke(command);
    if (command.do === "answer") return peers.get(command.name).answers.shift()(command.value);
    if (command.do === "close") return peers.get(command.name).connection.stop();
    throw new Error(`unknown command ${command.do}`);
  };
}

if (typeof module !== "undefined") module.exports = { createClient };
