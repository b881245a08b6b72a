"""Invocations of clients whose results somebody waits for. It sends nothing and has no timeout."""

import asyncio

from hubbub.errors import ProtocolError
from hubbub.protocol.messages import Completion

__all__ = ["ConnectionLostError", "Results"]


class ConnectionLostError(ProtocolError):
    """The client went away before it answered."""


class Results:
    """Futures of completions, by connection and invocation id."""

    def __init__(self) -> None:
        self._expected: dict[str, dict[str, asyncio.Future[Completion]]] = {}

    def __repr__(self) -> str:
        return f"Results({sum(map(len, self._expected.values()))})"

    def expect(self, connection_id: str, invocation_id: str) -> asyncio.Future[Completion]:
        """What the client on this connection is going to answer. Cancel it to stop waiting.

        Raises `ConnectionLostError` when awaited, where the connection ends first.
        """
        future: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        self._expected.setdefault(connection_id, {})[invocation_id] = future
        future.add_done_callback(lambda _: self._forget(connection_id, invocation_id))
        return future

    def complete(self, connection_id: str, completion: Completion) -> bool:
        """Take a client's answer; false where nobody expects it from that client."""
        future = self._expected.get(connection_id, {}).get(completion.invocation_id)
        if future is None or future.done():
            return False
        future.set_result(completion)
        return True

    def lost(self, connection_id: str) -> None:
        """The connection has ended: who waits for it need not any longer."""
        for future in tuple(self._expected.get(connection_id, {}).values()):
            if not future.done():
                future.set_exception(
                    ConnectionLostError(f"Connection '{connection_id}' is disconnected.")
                )

    def _forget(self, connection_id: str, invocation_id: str) -> None:
        expected = self._expected.get(connection_id, {})
        expected.pop(invocation_id, None)
        if not expected:
            self._expected.pop(connection_id, None)
