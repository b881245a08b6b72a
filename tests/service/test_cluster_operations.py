"""Every operation of the REST API, whichever node it is called at and wherever its clients are."""

import asyncio
from asyncio import gather
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.service.clusters import Scene
from tests.service.running import PATIENCE

from hubbub.protocol.messages import Completion, Invocation, StreamItem
from hubbub.service.operations.table import OPERATIONS
from hubbub.service.upstream.streams import Streams

T = {"target": "t", "arguments": [1]}
CALL = ("t", [1])
Act = Callable[[Scene], Awaitable[None]]
ACTS: dict[str, Act] = {}


def acts(operation: str) -> Callable[[Act], Act]:
    """The function below is what `operation` does."""

    def keep(act: Act) -> Act:
        ACTS[operation] = act
        return act

    return keep


@pytest.mark.parametrize("operation", [operation.id for operation in OPERATIONS])
async def test_an_operation_does_the_same_at_a_node_that_has_nobody(
    scene: Scene, operation: str
) -> None:
    await ACTS[operation](scene)


@acts("sendToAll")
async def _(scene: Scene) -> None:
    await scene.rest("POST", f"/:send?excluded={scene.bob_id}", T)
    await scene.rest("POST", "/:send", {"target": "second"})
    assert await scene.ann.calls(2) == [CALL, ("second", [])]
    assert await scene.bob.call() == ("second", [])


@acts("sendToUser")
async def _(scene: Scene) -> None:
    await scene.rest("POST", "/users/ann/:send", T)
    assert await scene.ann.call() == CALL


@acts("sendToConnection")
async def _(scene: Scene) -> None:
    await scene.rest("POST", f"/connections/{scene.bob_id}/:send", T)
    assert await scene.bob.call() == CALL
    await scene.rest("POST", "/connections/nobody/:send", T)


@acts("sendToGroup")
async def _(scene: Scene) -> None:
    await scene.rest("PUT", f"/groups/g/connections/{scene.ann_id}")
    await scene.rest("PUT", f"/groups/g/connections/{scene.bob_id}")
    await scene.rest("POST", f"/groups/g/:send?excluded={scene.ann_id}", T)
    await scene.rest("POST", "/groups/g/:send", {"target": "second"})
    assert await scene.ann.call() == ("second", [])
    assert await scene.bob.calls(2) == [CALL, ("second", [])]


@acts("closeConnection")
async def _(scene: Scene) -> None:
    await scene.rest("DELETE", f"/connections/{scene.ann_id}?reason=because")
    close, _code = await scene.ann.end()
    assert close is not None
    assert close.error == "because"
    gone = await scene.refusal("DELETE", "/connections/nobody")
    assert gone == (404, "Warning.Connection.NotExisted")


@acts("closeAll")
async def _(scene: Scene) -> None:
    await scene.rest("POST", f"/:closeConnections?reason=all&excluded={scene.bob_id}")
    close, _code = await scene.ann.end()
    assert close is not None
    assert close.error == "all"
    await scene.rest("POST", "/:send", T)
    assert await scene.bob.call() == CALL


@acts("closeGroup")
async def _(scene: Scene) -> None:
    await scene.rest("PUT", "/users/ann/groups/g")
    await scene.rest("PUT", "/users/bob/groups/g")
    await scene.rest("POST", f"/groups/g/:closeConnections?excluded={scene.bob_id}&reason=r")
    close, _code = await scene.ann.end()
    assert close is not None
    assert close.error == "r"
    await scene.rest("POST", "/:send", T)
    assert await scene.bob.call() == CALL


@acts("closeUser")
async def _(scene: Scene) -> None:
    second = await scene.nodes[2].connect(user="ann")
    await scene.rest("POST", "/users/ann/:closeConnections")
    assert [(await client.end())[1] for client in (scene.ann, second)] == [1000, 1000]
    await scene.rest("POST", "/:send", T)
    assert await scene.bob.call() == CALL


@acts("connectionExists")
async def _(scene: Scene) -> None:
    await scene.rest("HEAD", f"/connections/{scene.ann_id}")
    missing = await scene.refusal("HEAD", "/connections/nobody")
    assert missing == (404, "Warning.Connection.NotExisted")


@acts("groupExists")
async def _(scene: Scene) -> None:
    missing = (404, "Warning.Group.NotExisted")
    assert await scene.refusal("HEAD", "/groups/g") == missing
    await scene.rest("PUT", f"/groups/g/connections/{scene.bob_id}")
    await scene.rest("HEAD", "/groups/g")
    await scene.rest("DELETE", f"/groups/g/connections/{scene.bob_id}")
    assert await scene.refusal("HEAD", "/groups/g") == missing


@acts("userExists")
async def _(scene: Scene) -> None:
    await scene.rest("HEAD", "/users/bob")
    assert await scene.refusal("HEAD", "/users/cy") == (404, "Warning.User.NotExisted")


@acts("userIsInGroup")
async def _(scene: Scene) -> None:
    assert await scene.refusal("HEAD", "/users/ann/groups/g") == (404, "Info.User.NotInGroup")
    await scene.rest("PUT", "/users/ann/groups/g")
    await scene.rest("HEAD", "/users/ann/groups/g")


@acts("addConnectionToGroup")
async def _(scene: Scene) -> None:
    await scene.rest("PUT", f"/groups/g/connections/{scene.ann_id}")
    await scene.nodes[2].send("t", 1, to="/groups/g")
    assert await scene.ann.call() == CALL
    missing = await scene.refusal("PUT", "/groups/g/connections/nobody")
    assert missing == (404, "Error.Connection.NotExisted")


@acts("removeConnectionFromGroup")
async def _(scene: Scene) -> None:
    path = f"/groups/g/connections/{scene.ann_id}"
    await scene.rest("PUT", path)
    await scene.rest("DELETE", path)
    await scene.rest("POST", "/groups/g/:send", {"target": "to nobody"})
    await scene.rest("POST", "/:send", T)
    assert await scene.ann.call() == CALL
    await scene.rest("DELETE", "/groups/g/connections/nobody")
    old = await scene.called.rest("DELETE", f"/api/v1/hubs/chat{path}")
    assert (old.status, old.headers["x-ms-error-code"]) == (404, "Error.Connection.NotExisted")


@acts("removeConnectionFromAllGroups")
async def _(scene: Scene) -> None:
    for group in ("g", "h"):
        await scene.rest("PUT", f"/groups/{group}/connections/{scene.ann_id}")
    await scene.rest("DELETE", f"/connections/{scene.ann_id}/groups")
    for group in ("g", "h"):
        await scene.rest("POST", f"/groups/{group}/:send", {"target": "to nobody"})
    await scene.rest("POST", "/:send", T)
    assert await scene.ann.call() == CALL


@acts("addUserToGroup")
async def _(scene: Scene) -> None:
    others = [await scene.nodes[index].connect(user="ann") for index in (0, 2)]
    await scene.rest("PUT", "/users/ann/groups/g?ttl=60")
    late = await scene.nodes[2].connect(user="ann")
    await scene.rest("POST", "/groups/g/:send", T)
    for client in (scene.ann, *others, late):
        assert await client.call() == CALL


@acts("removeUserFromGroup")
async def _(scene: Scene) -> None:
    other = await scene.nodes[2].connect(user="ann")
    await scene.rest("PUT", "/users/ann/groups/g")
    await scene.rest("DELETE", "/users/ann/groups/g")
    late = await scene.nodes[2].connect(user="ann")
    await scene.rest("POST", "/groups/g/:send", {"target": "to nobody"})
    await scene.rest("POST", "/:send", T)
    for client in (scene.ann, other, late):
        assert await client.call() == CALL


@acts("removeUserFromAllGroups")
async def _(scene: Scene) -> None:
    await scene.rest("PUT", "/users/ann/groups/g")
    await scene.rest("PUT", f"/groups/h/connections/{scene.ann_id}")
    await scene.rest("DELETE", "/users/ann/groups")
    for group in ("g", "h"):
        await scene.rest("POST", f"/groups/{group}/:send", {"target": "to nobody"})
    await scene.rest("POST", "/:send", T)
    assert await scene.ann.call() == CALL


@acts("generateToken")
async def _(scene: Scene) -> None:
    token = (await scene.rest("POST", "/:generateToken?userId=cy")).json["token"]
    await scene.nodes[2].open(query={"hub": "chat", "access_token": token})


@acts("execute")
async def _(scene: Scene) -> None:
    commands = [
        {"type": "JoinGroup", "group": "g"},
        {"type": "SendMessage", "message": T},
    ]
    await scene.rest("POST", "/:execute?filter=userId%20eq%20'bob'", commands)
    await scene.nodes[1].send("second", to="/groups/g")
    assert await scene.bob.calls(2) == [CALL, ("second", [])]
    await scene.rest("POST", "/:execute", [{"type": "CloseConnection", "reason": "r"}])
    for client in (scene.ann, scene.bob):
        close, _code = await client.end()
        assert close is not None
        assert close.error == "r"


@acts("invokeConnection")
async def _(scene: Scene) -> None:
    async def answer() -> None:
        message = await scene.ann.message()
        assert isinstance(message, Invocation)
        assert message.invocation_id is not None
        result = scene.ann.codec.encode_value({"x": 1})
        reply = Completion(invocation_id=message.invocation_id, result=result)
        await scene.ann.socket.send(scene.ann.codec.encode(reply).decode())

    path = f"/connections/{scene.ann_id}/:invoke"
    found, _none = await gather(scene.rest("POST", path, T), answer())
    assert found.json == {"result": {"x": 1}, "protocol": "json"}
    missing = await scene.called.rest(
        "POST", "/api/hubs/chat/connections/nobody/:invoke", b'{"target":"t"}'
    )
    assert missing.status == 404


@acts("sendToStream")
async def _(scene: Scene) -> None:
    path = f"/connections/{scene.ann_id}/streams/s/:send"
    for item in range(3):
        await scene.rest("POST", path, item)
    items = [await scene.ann.message() for _ in range(3)]
    assert [scene.ann.codec.decode_value(item.item) for item in items
            if isinstance(item, StreamItem)] == [0, 1, 2]  # fmt: skip


@acts("completeStream")
async def _(scene: Scene) -> None:
    await scene.rest("POST", f"/connections/{scene.ann_id}/streams/s/:complete?error=why")
    assert await scene.ann.message() == Completion(invocation_id="s", error="why")


@pytest.mark.parametrize("verb", [":send", ":complete"])
async def test_a_stream_whose_client_is_gone_or_has_ended_it_is_404_at_any_node(
    scene: Scene, verb: str
) -> None:
    async def refusal(connection_id: str) -> tuple[int, str]:
        path = f"/api/hubs/chat/connections/{connection_id}/streams/s/{verb}"
        answer = await scene.called.rest("POST", path, b"1" if verb == ":send" else None)
        return answer.status, answer.headers["x-ms-error-code"]

    ann = scene.nodes[1].only_connection()
    ann.streams = Streams()
    ann.streams.open("s")
    ann.streams.end("s")
    assert await refusal(ann.id) == (404, "Error.Stream.NotExisted")
    assert await refusal("nobody") == (404, "Error.Connection.NotExisted")


async def test_an_item_waits_for_a_slow_client_at_another_node(scene: Scene) -> None:
    ann = scene.nodes[1].only_connection()
    ann.streams = Streams()
    ann.streams.open("s")
    looked = asyncio.Event()

    def is_full(_: object) -> int:
        looked.set()
        return scene.called.node.settings.max_pending_bytes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(ann.transport), "pending", property(is_full))
        sending = asyncio.ensure_future(
            scene.rest("POST", f"/connections/{ann.id}/streams/s/:send", 1)
        )
        await asyncio.wait_for(looked.wait(), PATIENCE)
        assert not sending.done()
    assert isinstance(await scene.ann.message(), StreamItem)
    assert (await sending).status == 202


@acts("listGroupConnections")
async def _(scene: Scene) -> None:
    for each in (scene.ann_id, scene.bob_id):
        await scene.rest("PUT", f"/groups/g/connections/{each}")
    assert await pages(scene, "/groups/g/connections?maxPageSize=1") == [
        [{"connectionId": each, "userId": user}]
        for each, user in sorted([(scene.ann_id, "ann"), (scene.bob_id, "bob")])
    ]


@acts("listConnections")
async def _(scene: Scene) -> None:
    await scene.rest("PUT", "/users/ann/groups/g")
    ann = {"connectionId": scene.ann_id, "userId": "ann", "groups": ["g"]}
    bob = {"connectionId": scene.bob_id, "userId": "bob", "groups": []}
    found = await pages(scene, "/connections?maxPageSize=1")
    assert sorted(found, key=str) == sorted([[ann], [bob]], key=str)
    assert await pages(scene, "/connections?filter=userId%20eq%20'bob'") == [[bob]]


@acts("countConnections")
async def _(scene: Scene) -> None:
    assert (await scene.rest("HEAD", "/connections")).headers["x-total-count"] == "2"


@acts("listUsers")
async def _(scene: Scene) -> None:
    await scene.nodes[0].connect(user="ann")
    await scene.nodes[2].connect(user="ann")
    assert await pages(scene, "/users?maxPageSize=1") == [
        [{"userId": "ann", "connections": 3}],
        [{"userId": "bob", "connections": 1}],
    ]


@acts("countUsers")
async def _(scene: Scene) -> None:
    for node in scene.nodes:
        await node.connect(user="ann")
    assert (await scene.rest("HEAD", "/users")).headers["x-total-count"] == "2"


@acts("listGroups")
async def _(scene: Scene) -> None:
    for user, groups in (("ann", "gh"), ("bob", "hi")):
        for group in groups:
            await scene.rest("PUT", f"/users/{user}/groups/{group}")
    assert await pages(scene, "/groups?maxPageSize=2") == [
        [{"group": "g", "connections": 1}, {"group": "h", "connections": 2}],
        [{"group": "i", "connections": 1}],
    ]


@acts("countGroups")
async def _(scene: Scene) -> None:
    for user, groups in (("ann", "gh"), ("bob", "hi")):
        for group in groups:
            await scene.rest("PUT", f"/users/{user}/groups/{group}")
    assert (await scene.rest("HEAD", "/groups")).headers["x-total-count"] == "3"


@acts("listUserGroups")
async def _(scene: Scene) -> None:
    await scene.rest("PUT", "/users/ann/groups/g")
    answer = await scene.nodes[2].rest("GET", "/api/hubs/chat/users/ann/groups")
    assert [entry["group"] for entry in answer.json["value"]] == ["g"]


async def pages(scene: Scene, path: str) -> list[Any]:
    """All pages of a listing, each asked of another node."""
    found: list[Any] = []
    path = f"/api/hubs/chat{path}"
    while path:
        service = scene.nodes[len(found) % 3]
        page = (await service.rest("GET", path)).json
        found.append(page["value"])
        path = page.get("nextLink", "").removeprefix(service.url)
    return found
