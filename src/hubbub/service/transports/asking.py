"""WebSocket upgrades that other nodes have to be asked about; what comes meanwhile is kept."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from hubbub.service.access import ClientAccess, Refusal

if TYPE_CHECKING:
    from hubbub.service.cluster.visits import Visits

__all__ = ["AskingUpgrade"]

# Goes on with the upgrade; what it returns reads from the socket, if anything does.
GoOn = Callable[[Refusal | None], asyncio.Protocol | None]
_MAX_BYTES = 65536  # a client that awaits the answer, as it should, sends nothing


class AskingUpgrade(asyncio.Protocol):
    """Has a socket for as long as it takes to know who has the connection that it is for."""

    def __init__(self, visits: "Visits", access: ClientAccess, socket: asyncio.Transport) -> None:
        self._visits = visits
        self._access = access
        self._socket = socket
        self._kept = bytearray()
        self._task: asyncio.Task[None] | None = None

    def start(self, go_on: GoOn) -> None:
        """Ask; `go_on` is called when that is answered, unless the client is gone by then."""
        self._task = asyncio.get_running_loop().create_task(self._ask(go_on))

    def data_received(self, data: bytes) -> None:
        """Keep what comes too soon."""
        self._kept += data
        if len(self._kept) > _MAX_BYTES:
            self._socket.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has not waited."""
        if self._task is not None:
            self._task.cancel()

    async def _ask(self, go_on: GoOn) -> None:
        async with self._visits.opening(self._access) as refusal:
            if self._socket.is_closing():
                return
            self._task = None
            protocol = go_on(refusal)
        if protocol is not None and self._kept:
            protocol.data_received(bytes(self._kept))
