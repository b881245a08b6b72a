"""Connections without sockets: a transport that keeps what is written to it, and who is behind it.

`FakeTransport` satisfies `hubbub.service.session.Transport`.
"""

import time
from collections.abc import Callable
from typing import Any, Final

from hubbub.protocol.codec import JSON, MESSAGEPACK, Codec, encode_handshake_request
from hubbub.protocol.endpoints import parse_connection_string
from hubbub.protocol.messages import HandshakeRequest, Invocation, Message
from hubbub.protocol.tokens import issue_client_token
from hubbub.service.access import ClientAccess, admit_client
from hubbub.service.node import Node
from hubbub.service.session import Connection
from hubbub.service.settings import EMULATOR_KEY, ServiceSettings
from hubbub.service.wire import Wire

ENDPOINT: Final = parse_connection_string(f"Endpoint=http://localhost;AccessKey={EMULATOR_KEY}")


def _as_it_is(data: bytes) -> bytes:
    return data


WIRES: Final = {codec.name: Wire(f"fake/{codec.name}", codec, _as_it_is)
                for codec in (JSON, MESSAGEPACK)}  # fmt: skip


class FakeTransport:
    """Keeps each write. `on_write` is called with it, before it is kept."""

    def __init__(self, *, carries_binary: bool = True, has_keep_alive: bool = False) -> None:
        self.carries_binary = carries_binary
        self.has_keep_alive = has_keep_alive
        self.writes: list[bytes] = []
        self.on_write: Callable[[bytes], None] = lambda data: None
        self.is_closed = False
        self.pending = 0

    def write(self, data: bytes) -> None:
        self.on_write(data)
        self.writes.append(data)

    def close(self) -> None:
        self.is_closed = True

    def abandon(self) -> None:
        self.is_closed = True

    def cut(self) -> None:
        self.is_closed = True

    def is_deserted(self, now: float) -> bool:
        return False

    def wire(self, codec: Codec) -> Wire:
        return WIRES[codec.name]


class FakeClient:
    """One client of a node, its handshake done, without a socket."""

    def __init__(
        self, node: Node, hub: str = "chat", user: str | None = None, codec: Codec = JSON
    ) -> None:
        self.codec = codec
        self.transport = FakeTransport()
        self.connection: Connection = node.connect(access_of(hub, user), self.transport)
        self.connection.receive(encode_handshake_request(HandshakeRequest(codec.name, 1)))
        assert self.transport.writes == [b"{}\x1e"]
        self.transport.writes.clear()

    @property
    def writes(self) -> int:
        """How often something was written since the handshake."""
        return len(self.transport.writes)

    def messages(self) -> list[Message]:
        """What was written since the handshake."""
        reader = self.codec.reader(2**31 - 1)
        decoded = map(self.codec.decode, reader.feed(b"".join(self.transport.writes)))
        return [message for message in decoded if message is not None]

    def calls(self) -> list[str]:
        """The targets of the invocations among them."""
        return [message.target for message in self.messages() if isinstance(message, Invocation)]

    def arguments(self) -> list[Any]:
        """The arguments of the invocations among them."""
        return [
            self.codec.decode_value(message.arguments)
            for message in self.messages()
            if isinstance(message, Invocation)
        ]


def access_of(hub: str = "chat", user: str | None = None, **claims: Any) -> ClientAccess:
    """What the token of a client says about it."""
    token = issue_client_token(ENDPOINT, hub, now=int(time.time()), user_id=user, claims=claims)
    return admit_client(
        ServiceSettings(),
        query=f"hub={hub}",
        authorization=f"Bearer {token}",
        accepts_query_token=False,
    )


def join(node: Node, client: FakeClient, group: str) -> None:
    """Put the connection of `client` into a group."""
    hub = node.registry.hub(client.connection.hub)
    assert hub is not None
    node.registry.add_to_group(hub, group, client.connection)


def leave(node: Node, client: FakeClient, group: str) -> bool:
    """Take it out again."""
    hub = node.registry.hub(client.connection.hub)
    assert hub is not None
    return node.registry.remove_from_group(hub, group, client.connection)
