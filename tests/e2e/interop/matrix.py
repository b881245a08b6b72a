"""The running matrix: one service, one app, the clients that have been started, and the outcome."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.interop.app import App
from tests.e2e.interop.cells import Cell
from tests.e2e.interop.clients import AbsentError, start_client
from tests.e2e.interop.driver import Driver, Peer
from tests.e2e.interop.service import RunningService
from tests.e2e.running import missing

__all__ = ["Matrix", "Outcomes"]

Outcomes = dict[Cell, Exception | None]  # why a cell failed, `None` where it did not


class Matrix:
    """Opens connections of any cell, and keeps what came of each feature in each cell."""

    def __init__(
        self, app: App, service: RunningService, log: Path, open_page: Callable[[str], None]
    ) -> None:
        """`open_page` opens an address in Chromium; it skips the test where there is none."""
        self.service = service
        self.outcomes: dict[tuple[Cell, str], bool] = {}
        self._app = app
        self._log = log
        self._open_page = open_page
        self._drivers: dict[str, Driver | AbsentError] = {}
        self._open: list[Peer] = []
        self._processes = ExitStack()
        self._numbers = itertools.count(1)

    def close(self) -> None:
        """End the clients."""
        self._processes.close()

    def new_hub(self) -> str:
        """The name of a hub that nobody has used."""
        return f"hub{next(self._numbers)}"

    def require(self, client: str) -> None:
        """Skip the test where this machine has not got a client; fail it where CI must have it."""
        self._driver(client)

    def open(
        self,
        cell: Cell,
        hub: str,
        user: str,
        *,
        service: RunningService | None = None,
        port: int | None = None,
        **options: Any,
    ) -> Peer:
        """A connection of `cell` that is open. `port` is that of a proxy to the service."""
        service = service if service is not None else self.service
        driver = self._driver(cell.client)
        if cell.negotiates:
            url, token = self._app.hub_url(service, hub, user, port), None
        else:
            url = f"http://127.0.0.1:{port if port is not None else service.port}/client/?hub={hub}"
            token = service.client_token(hub, user)
            if cell.client == "aiosignalr":
                url = url.replace("http", "ws", 1)
        peer = driver.open(cell, url, token, **options)
        self._open.append(peer)
        told = peer.expect("opened")["id"]
        assert told in {None, service.connection_id(hub, user)}
        return peer

    @contextmanager
    def trying(self, cell: Cell, feature: str) -> Iterator[None]:
        """Keep the outcome of what is done in the context, and close what it has opened."""
        self.outcomes[cell, feature] = False
        try:
            yield
        except pytest.skip.Exception:
            del self.outcomes[cell, feature]
            raise
        finally:
            # A browser has six connections to a server, and those that are open count.
            for peer in self._open:
                peer.do("close")
            self._open.clear()
        self.outcomes[cell, feature] = True

    def for_each(self, cells: Iterable[Cell], action: Callable[[Cell], None]) -> Outcomes:
        """Do something with each cell whose client is there, whatever comes of the others."""
        outcomes: Outcomes = {}
        for cell in cells:
            try:
                action(cell)
            except pytest.skip.Exception:
                continue
            except Exception as error:  # the other cells are still to be tried
                outcomes[cell] = error
            else:
                outcomes[cell] = None
        return outcomes

    def _driver(self, client: str) -> Driver:
        if client not in self._drivers:
            self._drivers[client] = self._start(client)
        driver = self._drivers[client]
        if isinstance(driver, AbsentError):
            if client == "node":
                missing(str(driver))
            pytest.skip(str(driver))
        return driver

    def _start(self, client: str) -> Driver | AbsentError:
        if client == "chromium":
            self._open_page(f"{self._app.url}/page.html")
            return self._app.page
        try:
            process = start_client(client, self._log)
        except AbsentError as error:
            return error
        self._processes.callback(process.close)
        return process.driver
