"""A TCP proxy on loopback that loses connections, and what is on its way, when it is told to."""

import contextlib
import socket
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Literal, Self

__all__ = ["Direction", "Proxy"]

Direction = Literal["up", "down"]  # to the service, to the client
_PATIENCE: Final = 20.0  # seconds
_PIECE: Final = 65_536  # bytes


@dataclass
class _Link:
    """One connection through the proxy."""

    client: socket.socket
    service: socket.socket
    is_cut: bool = False
    pumps: list[threading.Thread] = field(default_factory=list)


class Proxy:
    """Passes bytes on to a port of this machine while the context is open."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._links: list[_Link] = []
        self._state = threading.Condition()
        self._held: set[Direction] = set()
        self._waiting: set[Direction] = set()  # something has come that is held
        self._acceptor = threading.Thread(target=self._accept, name="proxy")

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _end(self._listener)  # wakes the acceptor
        self._acceptor.join()
        self._listener.close()
        self.cut()
        for link in self._links:
            for pump in link.pumps:
                pump.join()
            link.client.close()
            link.service.close()

    def lead_to(self, port: int) -> None:
        """Pass new connections on to another port."""
        self._target = port

    def hold(self, direction: Direction) -> None:
        """Keep what comes from here on; the sender sees it taken."""
        with self._state:
            self._waiting.discard(direction)
            self._held.add(direction)

    def wait_held(self, direction: Direction) -> None:
        """Wait until something has come that is held."""
        with self._state:
            came = self._state.wait_for(lambda: direction in self._waiting, _PATIENCE)
        assert came, f"nothing has come {direction}"

    def cut(self, *, service_notices: bool = True) -> None:
        """End all connections, and lose what is held. New ones pass.

        A service that does not notice still has its end open, as with a network that is gone.
        """
        with self._state:
            for link in self._links:
                link.is_cut = True
                _end(link.client)
                if service_notices:
                    _end(link.service)
            self._held.clear()
            self._state.notify_all()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    service = socket.create_connection(("127.0.0.1", self._target))
                except OSError:  # the service is away
                    client.close()
                    continue
                for end in (client, service):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._pump(_Link(client, service))

    def _pump(self, link: _Link) -> None:
        with self._state:
            self._links.append(link)
        link.pumps += [
            threading.Thread(target=self._pass, args=(link, link.client, link.service, "up")),
            threading.Thread(target=self._pass, args=(link, link.service, link.client, "down")),
        ]
        for pump in link.pumps:
            pump.start()

    def _pass(
        self, link: _Link, source: socket.socket, target: socket.socket, direction: Direction
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_PIECE):
                if self._may_pass(link, direction):
                    target.sendall(data)
        if not link.is_cut:
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_WR)

    def _may_pass(self, link: _Link, direction: Direction) -> bool:
        with self._state:
            if direction in self._held and not link.is_cut:
                self._waiting.add(direction)
                self._state.notify_all()
                self._state.wait_for(lambda: direction not in self._held or link.is_cut)
            return not link.is_cut


def _end(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
