"""What methods send, and to whom: in coroutines and in plain methods."""

import asyncio
import base64
import json
import time
from types import SimpleNamespace
from typing import Any

import msgspec
import pydantic
import pytest
from tests.client.recording import Recorder
from tests.serverless.calling import NOWHERE, Host

from hubbub.errors import ConfigError, ServiceError
from hubbub.serverless import NoInvocationError, ServerlessHub

ALL = "/api/hubs/chat/:send"


class Message(pydantic.BaseModel):
    sender: str
    text: str = pydantic.Field(serialization_alias="Text")


class Chat(ServerlessHub):
    """Both kinds of methods do what their argument says, with the same calls."""

    async def send_to(self, whom: str, *names: str) -> None:
        await audience(self, whom, names).send("newMessage", "hello")

    def send_plainly_to(self, whom: str, *names: str) -> None:
        audience(self, whom, names).send("newMessage", "hello")

    async def change(self, what: str, *arguments: str) -> Any:
        return await change(self, what, arguments)

    def change_plainly(self, what: str, *arguments: str) -> Any:
        return change(self, what, arguments)

    async def send_model(self) -> None:
        await self.clients.all.send("newMessage", Message(sender="ann", text="hello"))

    async def ask(self) -> Any:
        return await self.clients.caller.invoke("name", 1)

    async def ask_all(self) -> Any:
        return await self.clients.all.invoke("name")

    async def misspell(self) -> None:
        self.clients.all.newMessage("hello")  # type: ignore[attr-defined]

    async def one_text_for_several_names(self) -> None:
        self.clients.users("ann")

    async def who(self) -> list[Any]:
        before = self.context
        await asyncio.sleep(0)
        context = self.context
        assert context is before
        return [context.connection_id, context.user_id, dict(context.claims), dict(context.query)]

    async def header(self, name: str) -> str:
        return self.context.headers[name]


def audience(hub: Chat, whom: str, names: tuple[str, ...]) -> Any:
    found = getattr(hub.clients, whom)
    if not names:
        return found
    one_each = {"client", "user", "group"}
    return found(*names) if whom in one_each else found(names)


def change(hub: Chat, what: str, arguments: tuple[str, ...]) -> Any:
    part, name = what.split(".")
    return getattr(getattr(hub, part), name)(*arguments)


@pytest.fixture
def host(recorder: Recorder) -> Host:
    return Host(Chat(recorder.connection_string))


@pytest.mark.parametrize("method", ["send_to", "send_plainly_to"])
@pytest.mark.parametrize(
    ("whom", "paths", "excluded"),
    [
        (["all"], [ALL], []),
        (["all_except", "c2", "c3"], [ALL], ["c2", "c3"]),
        (["client", "c2"], ["/api/hubs/chat/connections/c2/:send"], []),
        (
            ["clients", "c2", "c3"],
            ["/api/hubs/chat/connections/c2/:send", "/api/hubs/chat/connections/c3/:send"],
            [],
        ),
        (["user", "ann"], ["/api/hubs/chat/users/ann/:send"], []),
        (["users", "a", "b"], ["/api/hubs/chat/users/a/:send", "/api/hubs/chat/users/b/:send"], []),
        (["group", "red"], ["/api/hubs/chat/groups/red/:send"], []),
        (
            ["groups", "r", "g"],
            ["/api/hubs/chat/groups/g/:send", "/api/hubs/chat/groups/r/:send"],
            [],
        ),
        (["caller"], ["/api/hubs/chat/connections/c1/:send"], []),
        (["others"], [ALL], ["c1"]),
    ],
)
async def test_a_method_sends_to_whom_it_says(
    recorder: Recorder,
    host: Host,
    method: str,
    whom: list[str],
    paths: list[str],
    excluded: list[str],
) -> None:
    await host.call(method, *whom)

    calls = [call.target.partition("?") for call in recorder.asked]
    assert sorted(path for path, _, _ in calls) == paths
    assert [part for _, _, query in calls for part in query.split("&") if "excluded" in part] == [
        f"excluded={connection_id}" for connection_id in excluded
    ]
    bodies = [json.loads(call.body) for call in recorder.asked]
    assert bodies == [{"Target": "newMessage", "Arguments": ["hello"]}] * len(paths)


async def test_a_group_without_some_connections_is_sent_to(recorder: Recorder) -> None:
    class Room(ServerlessHub):
        async def say(self) -> None:
            await self.clients.group_except("red", ["c1"]).send("said")

    await Host(Room(recorder.connection_string)).call("say")

    assert recorder.only.target.startswith("/api/hubs/room/groups/red/:send?")
    assert "excluded=c1" in recorder.only.target


@pytest.mark.parametrize("method", ["change", "change_plainly"])
@pytest.mark.parametrize(
    ("what", "arguments", "expected", "answer"),
    [
        ("groups.add", ["c1", "red"], "PUT /groups/red/connections/c1", True),
        ("groups.remove", ["c1", "red"], "DELETE /groups/red/connections/c1", None),
        ("user_groups.add", ["ann", "red"], "PUT /users/ann/groups/red", None),
        ("client_manager.user_exists", ["ann"], "HEAD /users/ann", True),
    ],
)
async def test_groups_and_users_are_managed(
    recorder: Recorder,
    host: Host,
    method: str,
    what: str,
    arguments: list[str],
    expected: str,
    answer: bool | None,
) -> None:
    recorder.status = 200

    result = await host.call(method, what, *arguments)

    method, path = expected.split(" ")
    target = recorder.only.target.partition("?")[0]
    assert (recorder.only.method, target) == (method, f"/api/hubs/chat{path}")
    assert result is answer


async def test_a_service_that_refuses_fails_the_method(recorder: Recorder, host: Host) -> None:
    recorder.status = 401

    with pytest.raises(ServiceError) as raised:
        await host.call("send_to", "all")

    assert raised.value.status == 401
    with pytest.raises(ServiceError):
        await host.call("send_plainly_to", "all")


async def test_models_of_pydantic_are_sent_with_their_names_on_the_wire(
    recorder: Recorder, host: Host
) -> None:
    await host.call("send_model")

    assert json.loads(recorder.only.body)["Arguments"] == [{"sender": "ann", "Text": "hello"}]


async def test_one_client_is_asked_and_many_cannot_be(recorder: Recorder, host: Host) -> None:
    recorder.status, recorder.body = 200, b'{"result": "Ann"}'

    assert await host.call("ask") == "Ann"
    assert recorder.only.target.startswith("/api/hubs/chat/connections/c1/:invoke?")
    with pytest.raises(AttributeError, match="Only one connection can be asked"):
        await host.call("ask_all")


async def test_what_cannot_be_meant_is_refused(host: Host) -> None:
    with pytest.raises(
        AttributeError, match=r"Write send\('newMessage', …\), or say which methods"
    ):
        await host.call("misspell")
    with pytest.raises(TypeError, match=r"\['ann'\], not one text"):
        await host.call("one_text_for_several_names")


async def test_the_context_says_who_calls(host: Host) -> None:
    context = {"ConnectionId": "c7", "UserId": "ann", "Claims": {"a": "b"}, "Query": {"q": "1,2"}}

    assert await host.call("who", **context) == ["c7", "ann", {"a": "b"}, {"q": "1,2"}]
    assert await host.call("who") == ["c1", None, {}, {}]
    assert await host.call("header", "x-asrs-hub", Headers={"X-ASRS-Hub": "chat"}) == "chat"


async def test_a_context_ends_with_its_invocation() -> None:
    chat = Chat(NOWHERE)

    await Host(chat).call("who")

    with pytest.raises(NoInvocationError):
        _ = chat.context


async def test_a_credential_takes_the_place_of_a_key(recorder: Recorder) -> None:
    class Credential:
        def get_token(self, *scopes: str) -> Any:
            return SimpleNamespace(token="entra", expires_on=time.time() + 3600)

    lent = {"KeyId": "k1", "AccessKey": "lent-" * 10}
    recorder.status, recorder.body = 200, json.dumps(lent).encode()
    chat = Chat(f"Endpoint={recorder.url};AuthType=azure;", credential=Credential())

    info = await chat.negotiate_by_identity("ann")

    assert recorder.only.headers["Authorization"] == "Bearer entra"
    assert payload(info.access_token)["asrs.s.uid"] == "ann"
    with pytest.raises(ConfigError):
        chat.negotiate("ann")


async def test_calls_at_the_same_time_have_their_own_contexts(host: Host) -> None:
    ids = [f"c{number}" for number in range(20)]

    found = await asyncio.gather(*(host.call("who", ConnectionId=id_) for id_ in ids))

    assert [context[0] for context in found] == ids


async def test_outside_of_an_invocation_there_is_no_caller_and_sending_works(
    recorder: Recorder,
) -> None:
    chat = Chat(recorder.connection_string)

    await chat.clients.all.send("newMessage", "from a timer")

    assert recorder.only.target.startswith(ALL)
    for attribute in ("caller", "others"):
        with pytest.raises(NoInvocationError, match="there is no caller"):
            getattr(chat.clients, attribute)
    with pytest.raises(NoInvocationError, match="only while a client's event is handled"):
        _ = chat.context


def test_a_script_without_a_loop_sends_and_one_loop_after_the_other_does_too() -> None:
    async def send(chat: Chat) -> None:
        async with Recorder() as recorder:
            chat._to_service._connection = recorder.connection_string
            await chat.clients.all.send("newMessage")
            assert recorder.only.target.startswith(ALL)

    chat = Chat(NOWHERE)
    for _ in range(2):
        asyncio.run(send(chat))
    with pytest.raises(ServiceError):
        chat.clients.all.send("newMessage")  # type: ignore[unused-coroutine]
    asyncio.run(chat.close())


def test_negotiate_issues_a_token_for_the_user_and_says_where_to_go() -> None:
    info = Chat(NOWHERE).negotiate("ann", {"admin": True}, lifetime=60)

    answer = json.loads(info.json())
    assert list(answer) == ["url", "accessToken"]
    assert answer["url"] == "http://localhost:1/client/?hub=chat"
    claims = payload(answer["accessToken"])
    assert (claims["asrs.s.uid"], claims["admin"]) == ("ann", True)
    assert claims["exp"] - claims["iat"] == 60
    assert info.access_token not in repr(info)


def payload(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def test_the_connection_string_is_that_of_the_app_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(Chat, connection="OtherSetting"):
        def __init__(self) -> None:
            """An app's own one need not know about the hub's."""

    monkeypatch.delenv("OtherSetting", raising=False)
    with pytest.raises(ConfigError, match="The app setting 'OtherSetting' is missing"):
        Other().negotiate()

    monkeypatch.setenv("OtherSetting", NOWHERE.replace("localhost", "plain"))
    assert Other().negotiate().url.startswith("http://plain:1/")

    monkeypatch.setenv("ConnectionStrings__OtherSetting", NOWHERE.replace("localhost", "named"))
    assert Other().negotiate().url.startswith("http://named:1/")


async def test_structs_and_dates_are_sent_as_json(recorder: Recorder) -> None:
    class Note(msgspec.Struct, rename="camel"):
        written_by: str

    class Notes(ServerlessHub):
        async def say(self) -> None:
            await self.clients.all.send("said", [Note("ann")])

    await Host(Notes(recorder.connection_string)).call("say")

    assert json.loads(recorder.only.body)["Arguments"] == [[{"writtenBy": "ann"}]]
