"""The REST API beside a reference model of hubs, users, groups and memberships.

Calls go through the whole ASGI app; clients are real connections on fake transports.
"""

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
)
from tests.service.fakes import ENDPOINT, FakeClient

from hubbub.protocol.tokens import issue_rest_token
from hubbub.service.app import create_app
from hubbub.service.node import Node
from hubbub.service.settings import ServiceSettings
from hubbub.service.store import MemoryStore

HUBS = st.sampled_from(["chat", "Chat", "shop"])
USERS = st.sampled_from(["ada", "bob/ü"])
GROUPS = st.sampled_from(["red", "b/ue"])
WHERE = st.sampled_from(["all", "user", "group"])


@dataclass(eq=False)
class Member:
    """One client as the model sees it."""

    client: FakeClient
    hub: str
    user: str | None
    groups: set[str] = field(default_factory=set)
    received: list[Any] = field(default_factory=list)


def escaped(name: str) -> str:
    return quote(name, safe="")


class RestModel(RuleBasedStateMachine):
    """Does to a service and to a few sets what a caller asks, and compares them."""

    clients: Bundle[Member] = Bundle("clients")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.now = time.time()
        self.members: list[Member] = []
        self.stored: dict[tuple[str, str, str], float] = {}
        self.runner.run(self._start())

    async def _start(self) -> None:
        self.node = Node(ServiceSettings(), MemoryStore(lambda: self.now))
        self.app = create_app(self.node)

    def teardown(self) -> None:
        self.runner.close()

    def call(self, method: str, path: str, query: str = "", body: Any = None) -> tuple[int, Any]:
        """Make one call; return its status and body."""
        return self.runner.run(self._call(method, path, query, body))

    async def _call(self, method: str, path: str, query: str, body: Any) -> tuple[int, Any]:
        token = issue_rest_token(ENDPOINT, f"http://localhost{path}", now=int(time.time()))
        content = b"" if body is None else json.dumps(body).encode()
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(b"authorization", f"Bearer {token}".encode()), (b"host", b"localhost")],
        }
        await self.app(scope, receive, send)
        await asyncio.sleep(0)  # what was accepted is written when the turn ends
        await asyncio.sleep(0)
        text = sent[1]["body"]
        return sent[0]["status"], json.loads(text) if text else None

    def of(self, hub: str, **wanted: str) -> list[Member]:
        """Members of a hub, of a user or in a group."""
        return [
            each
            for each in self.members
            if each.hub == hub.lower()
            and ("user" not in wanted or each.user == wanted["user"])
            and ("group" not in wanted or wanted["group"] in each.groups)
        ]

    def chosen(self, hub: str, where: str, user: str, group: str) -> tuple[str, list[Member]]:
        if where == "user":
            return f"/users/{escaped(user)}", self.of(hub, user=user)
        if where == "group":
            return f"/groups/{escaped(group)}", self.of(hub, group=group)
        return "", self.of(hub)

    @rule(target=clients, hub=HUBS, user=st.none() | USERS)
    def connect(self, hub: str, user: str | None) -> Member:
        async def connect() -> FakeClient:
            return FakeClient(self.node, hub=hub, user=user)

        member = Member(self.runner.run(connect()), hub.lower(), user)
        member.groups = {
            group
            for (stored_hub, stored_user, group), expires in self.stored.items()
            if (stored_hub, stored_user) == (member.hub, user) and expires > self.now
        }
        self.members.append(member)
        return member

    @rule(member=consumes(clients))
    def disconnect(self, member: Member) -> None:
        async def leave() -> None:
            member.client.connection.lost()

        self.runner.run(leave())
        self.members = [each for each in self.members if each is not member]

    @rule(member=clients)
    def close_by_rest(self, member: Member) -> None:
        path = f"/api/hubs/{member.hub}/connections/{member.client.connection.id}"
        status, _ = self.call("DELETE", path)
        assert status == (200 if member in self.members else 404)
        self.members = [each for each in self.members if each is not member]

    @rule(hub=HUBS, where=WHERE, user=USERS, group=GROUPS, out=st.none() | clients)
    def close_many(self, hub: str, where: str, user: str, group: str, out: Member | None) -> None:
        path, leaving = self.chosen(hub, where, user, group)
        query = f"excluded={out.client.connection.id}" if out is not None else ""
        status, _ = self.call("POST", f"/api/hubs/{hub}{path}/:closeConnections", query)
        assert status == 204
        self.members = [each for each in self.members if each not in leaving or each is out]

    @rule(hub=HUBS, where=WHERE, user=USERS, group=GROUPS, out=st.none() | clients)
    def send(self, hub: str, where: str, user: str, group: str, out: Member | None) -> None:
        path, audience = self.chosen(hub, where, user, group)
        query = f"excluded={out.client.connection.id}" if out is not None else ""
        number = len(self.members)
        status, _ = self.call(
            "POST", f"/api/hubs/{hub}{path}/:send", query, {"target": "t", "arguments": [number]}
        )
        assert status == 202
        for member in audience:
            if member is not out:
                member.received.append([number])

    @rule(member=clients, group=GROUPS, add=st.booleans())
    def change_connection(self, member: Member, group: str, add: bool) -> None:
        path = f"/groups/{escaped(group)}/connections/{member.client.connection.id}"
        status, _ = self.call("PUT" if add else "DELETE", f"/api/hubs/{member.hub}{path}")
        if member not in self.members:
            assert status == (404 if add else 200)
        else:
            assert status == 200
            (member.groups.add if add else member.groups.discard)(group)

    @rule(hub=HUBS, user=USERS, group=GROUPS, ttl=st.none() | st.integers(0, 20))
    def add_user(self, hub: str, user: str, group: str, ttl: int | None) -> None:
        query = "" if ttl is None else f"ttl={ttl}"
        path = f"/api/hubs/{hub}/users/{escaped(user)}/groups/{escaped(group)}"
        assert self.call("PUT", path, query) == (200, None)
        seconds = 365 * 86400 if ttl is None else ttl
        self.stored[hub.lower(), user, group] = self.now + seconds
        for member in self.of(hub, user=user):
            member.groups.add(group)

    @rule(hub=HUBS, user=USERS, group=GROUPS)
    def remove_user(self, hub: str, user: str, group: str) -> None:
        path = f"/api/hubs/{hub}/users/{escaped(user)}/groups/{escaped(group)}"
        assert self.call("DELETE", path) == (204, None)
        self.stored.pop((hub.lower(), user, group), None)
        for member in self.of(hub, user=user):
            member.groups.discard(group)

    @rule(hub=HUBS, user=USERS)
    def remove_user_from_all(self, hub: str, user: str) -> None:
        path = f"/api/hubs/{hub}/users/{escaped(user)}/groups"
        assert self.call("DELETE", path) == (204, None)
        for key in [key for key in self.stored if key[:2] == (hub.lower(), user)]:
            del self.stored[key]
        for member in self.of(hub, user=user):
            member.groups.clear()

    @rule(seconds=st.integers(1, 15))
    def wait(self, seconds: int) -> None:
        self.now += seconds
        self.node.store.expire()

    @rule(hub=HUBS, user=USERS, group=GROUPS)
    def ask(self, hub: str, user: str, group: str) -> None:
        prefix = f"/api/hubs/{hub}"
        in_group = self.stored.get((hub.lower(), user, group), 0) > self.now
        for path, expected in [
            (f"/users/{escaped(user)}", bool(self.of(hub, user=user))),
            (f"/groups/{escaped(group)}", bool(self.of(hub, group=group))),
            (f"/users/{escaped(user)}/groups/{escaped(group)}", in_group),
        ]:
            status, _ = self.call("HEAD", prefix + path)
            assert status == (200 if expected else 404), path

    @invariant()
    def the_same_are_there(self) -> None:
        for hub in ("chat", "shop"):
            _, page = self.call("GET", f"/api/hubs/{hub}/connections")
            found = {
                entry["connectionId"]: (entry.get("userId"), set(entry["groups"]))
                for entry in page["value"]
            }
            assert found == {
                each.client.connection.id: (each.user, each.groups) for each in self.of(hub)
            }

    @invariant()
    def the_same_was_received(self) -> None:
        for member in self.members:
            assert member.client.arguments() == member.received


RestModel.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, derandomize=True
)
TestRestModel = RestModel.TestCase
