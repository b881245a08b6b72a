"""A hub's methods become functions with generic triggers, or the class is refused and told why."""

import subprocess
import sys
from typing import Any

import azure.functions as func
import pytest
from tests.serverless.calling import NOWHERE, Host, bindings

import hubbub
from hubbub.errors import ConfigError
from hubbub.serverless import ServerlessHub, target


class Chat(ServerlessHub):
    limit = 10

    async def on_connected(self) -> None: ...

    def on_disconnected(self) -> None: ...

    async def send_to_group(self, group: str, text: str) -> None: ...

    @target("Shout!")
    async def shout(self, text: str) -> None: ...

    def _secret(self) -> None: ...

    @staticmethod
    def helpful() -> None: ...

    @property
    def size(self) -> int:
        return 1


def trigger(event: str, category: str = "messages", **changes: str) -> dict[str, Any]:
    return {
        "direction": "IN",
        "name": "invocation",
        "type": "signalRTrigger",
        "hubName": "Chat",
        "category": category,
        "event": event,
        "connectionStringSetting": "AzureSignalRConnectionString",
    } | changes


def test_each_public_method_becomes_a_function_with_a_generic_trigger() -> None:
    found = {name: bindings(function) for name, function in Host(Chat(NOWHERE)).functions.items()}

    assert found == {
        "Chat_on_connected": [trigger("connected", "connections")],
        "Chat_on_disconnected": [trigger("disconnected", "connections")],
        "Chat_send_to_group": [trigger("sendToGroup")],
        "Chat_shout": [trigger("Shout!")],
    }


def test_hub_and_setting_can_be_named() -> None:
    class Room(ServerlessHub, hub_name="room.1", connection="OtherSetting"):
        async def say(self) -> None: ...

    (name, function) = next(iter(Host(Room(NOWHERE)).functions.items()))

    assert name == "room_1_say"
    changes = {"hubName": "room.1", "connectionStringSetting": "OtherSetting"}
    assert bindings(function) == [trigger("say", **changes)]


def test_methods_of_mixins_count_and_overriding_ones_replace_them() -> None:
    class Greeting:
        async def greet(self) -> str:
            return "hello"

    class First(Greeting, ServerlessHub, hub_name="first"):
        async def say(self) -> str:
            return "first"

    class Second(First, hub_name="second"):
        async def say(self) -> str:
            return "second"

    assert set(Host(Second(NOWHERE)).functions) == {"second_greet", "second_say"}


def test_a_hub_registers_with_a_blueprint_too() -> None:
    blueprint = func.Blueprint()  # type: ignore[no-untyped-call]
    Chat(NOWHERE).register(blueprint)
    app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
    app.register_functions(blueprint)

    assert len(app.get_functions()) == 4


def test_a_host_is_told_where_the_method_stands_and_calls_the_function_around_it() -> None:
    function: Any = Host(Chat(NOWHERE)).functions["Chat_shout"].get_user_function()

    assert function.__wrapped__.__code__.co_filename == __file__
    assert function.__wrapped__ is Chat.shout


@pytest.mark.parametrize(
    "name",
    ["clients", "groups", "user_groups", "client_manager", "context", "negotiate", "register"],
)
def test_a_method_named_like_what_every_hub_has_is_refused(name: str) -> None:
    async def method(self: Any) -> None: ...

    with pytest.raises(ConfigError, match=rf"Bad\.{name} hides what every ServerlessHub has"):
        type("Bad", (ServerlessHub,), {name: method})


def test_two_methods_for_one_target_are_refused() -> None:
    with pytest.raises(ConfigError, match="are both for 'sendAll', ignoring case"):

        class Bad(ServerlessHub):
            async def send_all(self) -> None: ...

            async def SendAll(self) -> None: ...


def test_connection_events_take_no_arguments() -> None:
    with pytest.raises(ConfigError, match=r"on_disconnected takes no arguments: .*self\.context"):

        class Bad(ServerlessHub):
            async def on_disconnected(self, error: str) -> None: ...


def test_a_method_without_self_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Bad\.help has no self\. Add it, or write @static"):

        class Bad(ServerlessHub):
            async def help() -> None: ...  # type: ignore[misc]


def test_connection_events_cannot_stream() -> None:
    with pytest.raises(ConfigError, match=r"Bad\.on_connected yields, but nobody waits"):

        class Bad(ServerlessHub):
            async def on_connected(self) -> Any:
                yield 1


@pytest.mark.parametrize("name", ["", "1st", "a hub", "%SETTING%", "Straße", "a" * 102])
def test_a_name_that_no_hub_can_have_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be a hub's name"):

        class Bad(ServerlessHub, hub_name=name):
            pass


def test_an_empty_name_of_a_setting_or_target_is_refused() -> None:
    with pytest.raises(ConfigError, match="'connection' is empty"):

        class Bad(ServerlessHub, connection=" "):
            pass

    with pytest.raises(ConfigError, match="@target takes the name that clients call"):
        target("")
    with pytest.raises(ConfigError, match="@target takes the name that clients call"):
        target(lambda: None)  # type: ignore[arg-type]


def test_two_hubs_with_one_name_are_refused() -> None:
    class CHAT(ServerlessHub):
        async def say(self) -> None: ...

    app = func.FunctionApp()
    Chat(NOWHERE).register(app)

    with pytest.raises(ConfigError, match=r"'CHAT', ignoring case: Chat and .*CHAT"):
        CHAT(NOWHERE).register(app)
    with pytest.raises(ConfigError, match="Register each hub once"):
        Chat(NOWHERE).register(app)


def test_a_hub_without_methods_and_an_app_that_is_none_are_refused() -> None:
    class Empty(ServerlessHub):
        pass

    with pytest.raises(ConfigError, match="Empty has no public methods"):
        Empty(NOWHERE).register(func.FunctionApp())
    with pytest.raises(ConfigError, match=r"register takes a func\.FunctionApp"):
        Chat(NOWHERE).register("app")  # type: ignore[arg-type]


def test_the_package_gives_the_class_and_nothing_that_is_not_there() -> None:
    assert hubbub.ServerlessHub is ServerlessHub
    with pytest.raises(AttributeError, match="no attribute 'ServerlesHub'"):
        _ = hubbub.ServerlesHub


def test_a_hub_needs_nothing_of_the_server() -> None:
    """Registering one imports only what `pip install hubbub azure-functions` brings."""
    script = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"starlette", "uvicorn", "uvloop", "websockets", "httptools",
                                      "click", "segno", "watchfiles", "pydantic"}:
            raise ImportError(name + " is not installed")
        if name.split(".")[:2] in (["hubbub", part] for part in ("service", "functions", "cli")):
            raise ImportError(name + " is part of the server")

sys.meta_path.insert(0, Refuse())
import azure.functions as func
import hubbub, hubbub.client.management, hubbub.client.blocking

class Chat(hubbub.ServerlessHub):
    async def say(self, text: str) -> None: ...

app = func.FunctionApp()
chat = Chat("Endpoint=http://localhost;AccessKey=key-of-the-tests-that-is-long-enough;")
chat.register(app)
print(chat.negotiate("ann").url)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert done.stdout == "http://localhost/client/?hub=chat\n", done.stderr
