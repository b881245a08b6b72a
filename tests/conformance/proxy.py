"""A network between a test and a server that a test can make slow, silent or cut."""

import asyncio
from contextlib import suppress


class Proxy:
    """Passes on what comes to its port to another, as long as it is let."""

    def __init__(self, target: int) -> None:
        self.delay = 0.0  # seconds, for every piece, both ways
        self.port = 0
        self._target = target
        self._server: asyncio.Server | None = None
        self._passes = asyncio.Event()
        self._passes.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Accept connections."""
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """End all connections, and accept no more until `open`."""
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()
        await asyncio.gather(*self._tasks)

    def hang(self) -> None:
        """Keep all connections, and pass on nothing: neither end is told."""
        self._passes.clear()

    def resume(self) -> None:
        """Pass on again."""
        self._passes.set()

    async def close(self) -> None:
        """End."""
        self.resume()
        await self.cut()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers |= {writer, back}
            await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
            self._writers -= {writer, back}
        writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                await asyncio.sleep(self.delay)
                await self._passes.wait()
                writer.write(data)
                await writer.drain()
        writer.close()
