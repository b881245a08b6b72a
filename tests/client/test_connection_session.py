"""One session of a hub client on transports that the test holds in its hands."""

import asyncio
from typing import Final

import pytest
from tests.client.scripted import soon

from hubbub.client import session
from hubbub.client.backlog import Backlog
from hubbub.client.dial import Link
from hubbub.client.failures import ConnectionLostError, ServerClosedError
from hubbub.client.session import Session
from hubbub.client.settings import ClientSettings
from hubbub.protocol.codec import JSON
from hubbub.protocol.messages import Close, Invocation, Message, Sequence


class HeldTransport:
    """Satisfies `Transport`. It takes what is sent only while `is_taking` is set."""

    name: Final = "Held"
    keeps_alive: Final = True

    def __init__(self) -> None:
        self.arriving: asyncio.Queue[bytes | ConnectionLostError] = asyncio.Queue()
        self.taken: list[bytes] = []
        self.offered: asyncio.Queue[bytes] = asyncio.Queue()
        self.is_taking = asyncio.Event()
        self.is_taking.set()
        self.is_closed = False

    async def receive(self) -> bytes:
        data = await self.arriving.get()
        if isinstance(data, ConnectionLostError):
            raise data
        return data

    async def send(self, data: bytes) -> None:
        self.offered.put_nowait(data)
        await self.is_taking.wait()
        self.taken.append(data)

    async def close(self) -> None:
        self.is_closed = True


def word(text: str) -> Invocation:
    return Invocation(target=text, arguments=JSON.encode_value([]))


async def opened(*transports: HeldTransport, stateful: bool) -> Session:
    """A session on the first transport, which gets the others in turn when it resumes.

    After the last one the network swallows what is sent.
    """
    later = iter(transports[1:])

    async def reopen() -> HeldTransport:
        if (transport := next(later, None)) is None:
            await asyncio.Event().wait()
        assert transport is not None
        return transport

    def nothing(session: Session, message: Message) -> None:
        pass

    link = Link(transports[0], reopen, connection_id="id", is_stateful=stateful)
    transports[0].arriving.put_nowait(b"{}\x1e")
    settings = ClientSettings(url="http://host/")
    one = await Session(link, settings, Backlog(limit=1000, most=1000), nothing).open()
    transports[0].offered.get_nowait()  # the handshake
    return one


async def test_what_waits_to_be_sent_goes_out_once_after_a_resume() -> None:
    first, second = HeldTransport(), HeldTransport()
    one = await opened(first, second, stateful=True)
    running = asyncio.create_task(one.run())
    first.is_taking.clear()
    sends = [asyncio.create_task(one.send(word("a")))]
    await soon(first.offered.get())
    sends.append(asyncio.create_task(one.send(word("b"))))
    await asyncio.sleep(0)  # it waits behind the other one

    first.arriving.put_nowait(ConnectionLostError("cut"))
    await soon(asyncio.gather(*sends))
    await one.send(word("c"))
    await soon(second.offered.get())
    second.arriving.put_nowait(JSON.encode(Close()))

    assert isinstance(await soon(running), ServerClosedError)
    said = [JSON.encode(message) for message in (Sequence(1), word("a"), word("b"), word("c"))]
    assert b"".join(second.taken) == b"".join(said)
    assert first.is_closed
    assert second.is_closed


async def test_what_waits_to_be_sent_fails_without_stateful_reconnect() -> None:
    transport = HeldTransport()
    one = await opened(transport, stateful=False)
    running = asyncio.create_task(one.run())
    transport.is_taking.clear()
    sends = [asyncio.create_task(one.send(word("a")))]
    await soon(transport.offered.get())
    sends.append(asyncio.create_task(one.send(word("b"))))
    await asyncio.sleep(0)  # it waits behind the other one

    transport.arriving.put_nowait(ConnectionLostError("cut"))

    for send in sends:
        with pytest.raises(ConnectionLostError):
            await soon(send)
    assert str(await soon(running)) == "cut"
    with pytest.raises(ConnectionLostError, match="cut"):
        await one.send(word("c"))


async def test_a_connection_is_not_resumed_for_longer_than_a_server_keeps_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "_RESUME_TIMEOUT", 0.01)
    transport = HeldTransport()
    lasting = await opened(transport, stateful=True)
    running = asyncio.create_task(lasting.run())

    transport.arriving.put_nowait(ConnectionLostError("cut"))

    assert str(await soon(running)) == "cut"


async def test_records_that_wait_together_leave_together() -> None:
    transport = HeldTransport()
    one = await opened(transport, stateful=False)
    running = asyncio.create_task(one.run())
    big = Invocation(target="big", arguments=JSON.encode_value(["x" * 60_000]))
    transport.is_taking.clear()
    sends = [
        asyncio.create_task(one.send(message))
        for message in (word("a"), word("b"), word("c"), big, big)
    ]
    await soon(transport.offered.get())

    transport.is_taking.set()
    await soon(asyncio.gather(*sends))

    sizes = [len(data.split(b"\x1e")) - 1 for data in transport.taken[1:]]
    assert sum(sizes) == 5
    assert len(sizes) < 5
    assert max(len(data) for data in transport.taken) <= 65_536
    running.cancel()
    await soon(asyncio.wait((running,)))
    assert transport.is_closed
