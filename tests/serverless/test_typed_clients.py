"""Typed clients: their methods are what audiences have, and what cannot be meant is refused."""

import json
from typing import Any, Protocol

import pytest
from tests.client.recording import Recorder
from tests.serverless.calling import Host

from hubbub.errors import ConfigError
from hubbub.serverless import ServerlessHub, target


class ChatClient(Protocol):
    async def new_message(
        self, sender: str, text: str = "nothing", *, urgent: bool = False
    ) -> None: ...

    @target("Bye")
    async def gone(self, connection_id: str) -> None: ...


class Typed(ServerlessHub[ChatClient]):
    async def say(self, text: str) -> None:
        await self.clients.all.new_message(text=text, sender="ann")
        await self.clients.caller.gone("c9")

    def say_plainly(self) -> None:
        red = self.clients.group("red")
        red.new_message("ann", urgent=True)  # type: ignore[unused-coroutine]

    async def misspell(self) -> None:
        await self.clients.all.new_mesage("x")  # type: ignore[attr-defined]

    async def forget(self) -> None:
        await self.clients.all.new_message()  # type: ignore[call-arg]


async def test_typed_clients_are_called_by_their_methods_names_in_camel_case(
    recorder: Recorder,
) -> None:
    host = Host(Typed(recorder.connection_string))

    await host.call("say", "hello")
    await host.call("say_plainly")

    assert [json.loads(call.body) for call in recorder.asked] == [
        {"Target": "newMessage", "Arguments": ["ann", "hello", False]},
        {"Target": "Bye", "Arguments": ["c9"]},
        {"Target": "newMessage", "Arguments": ["ann", "nothing", True]},
    ]


async def test_a_method_that_typed_clients_do_not_have_is_refused_when_it_is_called(
    recorder: Recorder,
) -> None:
    host = Host(Typed(recorder.connection_string))

    with pytest.raises(
        AttributeError, match="ChatClient has no method 'new_mesage', only gone, new"
    ):
        await host.call("misspell")
    with pytest.raises(TypeError, match="sender"):
        await host.call("forget")
    assert recorder.asked == []


class Quoted(ServerlessHub["ChatClient"]):
    async def say(self) -> None:
        await self.clients.all.new_message("ann")


async def test_typed_clients_may_be_named_in_quotes(recorder: Recorder) -> None:
    await Host(Quoted(recorder.connection_string)).call("say")

    assert json.loads(recorder.only.body)["Target"] == "newMessage"
    with pytest.raises(ConfigError, match="its module has no Missing above it"):

        class Bad(ServerlessHub["Missing"]):  # type: ignore[name-defined]
            async def say(self) -> None: ...


def test_typed_clients_without_methods_are_refused() -> None:
    class Nobody(Protocol):
        pass

    with pytest.raises(ConfigError, match="Nobody declares no methods of clients"):

        class Bad(ServerlessHub[Nobody]):
            async def say(self) -> None: ...


@pytest.mark.parametrize("name", ["send", "invoke"])
def test_a_method_of_typed_clients_that_hides_one_of_audiences_is_refused(name: str) -> None:
    async def method(self: Any, text: str) -> None: ...

    client = type("Loud", (), {name: method})

    with pytest.raises(ConfigError, match=rf"Loud\.{name} has the name of .*@target\('{name}'\)"):

        class Bad(ServerlessHub[client]):  # type: ignore[valid-type]
            async def say(self) -> None: ...
