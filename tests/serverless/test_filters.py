"""Checks before a method: who gets through, who is refused, and in which order they run."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.serverless.calling import NOWHERE, Host

from hubbub.errors import ConfigError
from hubbub.serverless import (
    InvocationContext,
    RefusedError,
    ServerlessHub,
    checked_by,
    requires_claim,
)

ROLE = "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"


class Guarded(ServerlessHub):
    @requires_claim("admin", "true")
    async def broadcast(self) -> str:
        return "done"

    @requires_claim("admin", "true")
    def broadcast_plainly(self) -> str:
        return "done"

    @requires_claim("role", "Editor")
    async def edit(self) -> str:
        return "done"

    @requires_claim("email")
    async def write(self) -> str:
        return "done"


@pytest.fixture
def host() -> Host:
    return Host(Guarded(NOWHERE))


@pytest.mark.parametrize("method", ["broadcast", "broadcast_plainly"])
@pytest.mark.parametrize("value", ["true", "True"])
async def test_a_client_with_the_claim_gets_through(host: Host, method: str, value: str) -> None:
    assert await host.call(method, Claims={"admin": value}) == "done"


@pytest.mark.parametrize("method", ["broadcast", "broadcast_plainly"])
@pytest.mark.parametrize(
    "claims",
    [None, {}, {"admin": "false"}, {"Admin": "true"}, {"admin": "true "}, {"a": "admin: true"}],
)
async def test_a_client_without_the_claim_is_told_what_it_needs(
    host: Host, method: str, claims: dict[str, str] | None
) -> None:
    with pytest.raises(RefusedError) as raised:
        await host.call(method, Claims=claims, Event="broadcast")

    assert str(raised.value) == (
        "broadcast needs the claim 'admin' with the value 'true', which this client does not have."
    )


async def test_each_value_of_a_repeated_claim_counts_under_its_short_and_long_name(
    host: Host,
) -> None:
    headers = {"X-ASRS-User-Claims": f"{ROLE}: Reader, {ROLE}: Editor"}

    assert await host.call("edit", Headers=headers, Claims={ROLE: "Reader"}) == "done"
    assert await host.call("edit", Headers={"X-ASRS-User-Claims": "role: Editor"}) == "done"
    with pytest.raises(RefusedError):
        await host.call("edit", Headers={"X-ASRS-User-Claims": f"{ROLE}: editor"})


async def test_a_value_cannot_pass_for_another_claim(host: Host) -> None:
    headers = {"X-ASRS-User-Claims": "name: x%2C role%3A Editor"}

    with pytest.raises(RefusedError):
        await host.call("edit", Headers=headers, Claims={"name": "x, role: Editor"})


async def test_a_claim_without_a_value_to_compare_only_has_to_be_there(host: Host) -> None:
    assert await host.call("write", Claims={"email": "ann@example.net"}) == "done"
    with pytest.raises(RefusedError, match="write needs the claim 'email', which"):
        await host.call("write", Event="write")


def noting(name: str, notes: list[str]) -> Callable[[InvocationContext], Any]:
    async def check(context: InvocationContext) -> None:
        await asyncio.sleep(0)
        notes.append(f"{name} {context.event}")

    return check


async def test_checks_of_the_class_come_first_and_hold_for_all_events() -> None:
    notes: list[str] = []

    @checked_by(noting("outer", notes))
    @checked_by(noting("inner", notes))
    class Room(ServerlessHub):
        async def on_connected(self) -> None:
            notes.append("connected")

        @checked_by(noting("first", notes))
        @checked_by(lambda context: notes.append("second"))
        def say(self) -> None:
            notes.append("said")

    host = Host(Room(NOWHERE))
    await host.call("on_connected", Event="connected")
    await host.call("say", Event="say")

    assert notes == [
        "outer connected", "inner connected", "connected",
        "outer say", "inner say", "first say", "second", "said",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [ValueError, KeyError, SystemExit, asyncio.CancelledError])
async def test_whatever_a_check_raises_keeps_the_method_from_running(
    kind: type[BaseException],
) -> None:
    def refuse(context: InvocationContext) -> None:
        raise kind("not now")

    class Room(ServerlessHub):
        @checked_by(refuse)
        async def say(self) -> None:
            pytest.fail("it ran")

    with pytest.raises(kind):
        await Host(Room(NOWHERE)).call("say")


@pytest.mark.parametrize("method", ["say", "say_plainly"])
@pytest.mark.parametrize("answer", [True, False, "", 0])
@pytest.mark.parametrize("is_async", [True, False])
async def test_a_check_that_returns_something_refuses_and_is_told_how_to_be_written(
    method: str, answer: Any, is_async: bool
) -> None:
    async def later() -> Any:
        return answer

    def is_admin(context: InvocationContext) -> Any:
        return later() if is_async else answer

    @checked_by(is_admin)
    class Room(ServerlessHub):
        async def say(self) -> None:
            pytest.fail("it ran")

        def say_plainly(self) -> None:
            pytest.fail("it ran")

    with pytest.raises(TypeError, match=r"The check is_admin has returned a .* refuses by raising"):
        await Host(Room(NOWHERE)).call(method)


async def test_a_client_is_refused_before_its_arguments_are_looked_at(host: Host) -> None:
    with pytest.raises(RefusedError):
        await host.call("broadcast", "one argument too many")


def test_a_check_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(ConfigError, match="@checked_by takes a function that gets the context"):
        checked_by("admin")  # type: ignore[arg-type]
