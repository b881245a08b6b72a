"""`hubbub send` reaches whom its options name, and reads arguments as JSON where they are."""

import asyncio

import pytest
from tests.cli.calling import call, invoke, read
from tests.service.running import Running

from hubbub.cli import chosen
from hubbub.errors import ConfigError, ServiceError
from hubbub.protocol.messages import Completion, Invocation
from hubbub.service.settings import ServiceSettings


@pytest.mark.parametrize(
    ("options", "receivers"),
    [
        ([], "abc"),
        (["--user", "a"], "a"),
        (["--group", "g"], "b"),
        (["--connection", "C"], "c"),
        (["--filter", "userId in ('a', 'c')"], "ac"),
        (["--except", "C"], "ab"),
        (["--group", "g", "--except", "C"], "b"),
    ],
)
async def test_a_send_reaches_whom_its_options_name(options: list[str], receivers: str) -> None:
    async with Running(ServiceSettings()) as service:
        clients = {name: await service.connect("chat", name) for name in "abc"}
        await service.rest("PUT", "/api/hubs/chat/users/b/groups/g")
        (connection,) = service.hub().users["c"]
        options = [connection.id if option == "C" else option for option in options]

        told = await call(service, "send", "chat", "hi", "alice", '{"n": 1}', "2", *options)
        await service.send("end")

        assert told == "The service has accepted it.\n"
        for name, client in clients.items():
            expected = [("hi", ["alice", {"n": 1}, 2])] if name in receivers else []
            assert await client.calls(len(expected) + 1) == [*expected, ("end", [])]


async def test_the_result_of_a_client_is_waited_for() -> None:
    async with Running(ServiceSettings()) as service:
        client = await service.connect()

        async def answer() -> None:
            message = await client.message()
            assert isinstance(message, Invocation)
            assert message.invocation_id is not None
            result = client.codec.encode_value({"sum": 3})
            completion = Completion(invocation_id=message.invocation_id, result=result)
            await client.socket.send(client.codec.encode(completion).decode())

        options = ("--connection", service.only_connection().id, "--wait")
        told, _ = await asyncio.gather(
            read(service, "send", "chat", "add", "1", *options), answer()
        )

        assert told == {"result": {"sum": 3}}


async def test_what_is_done_is_one_document_for_programs() -> None:
    async with Running(ServiceSettings()) as service:
        assert await read(service, "send", "chat", "hi") == {"accepted": True}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--user", "a", "--group", "g"], "Pass one of --user, --group, --connection"),
        (["--user", "a", "--except", "c"], "--except goes with a hub or with --group"),
        (["--wait"], "--wait goes with --connection"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: list[str], sentence: str) -> None:
    result = invoke("send", "chat", "hi", *options)

    assert result.exit_code == 2
    assert sentence in result.stderr


def test_a_command_that_does_not_know_which_service_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Where one may run on this machine's usual port.
    monkeypatch.setattr(chosen, "_EMULATOR_URL", "http://127.0.0.1:1")
    result = invoke("send", "chat", "hi")

    assert isinstance(result.exception, ConfigError)
    assert "Set AzureSignalRConnectionString, or pass --connection-string." in str(result.exception)


def test_the_service_of_the_environment_is_called() -> None:
    text = "Endpoint=http://127.0.0.1;Port=1;AccessKey=" + "k" * 32
    result = invoke("send", "chat", "hi", AzureSignalRConnectionString=text)

    assert isinstance(result.exception, ServiceError)
    assert "http://127.0.0.1:1" in str(result.exception)
