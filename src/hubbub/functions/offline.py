"""`app_offline.htm`: while the file is in the app's folder, every request is answered with it.

People put it there to take an app away for a while, as on Azure.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from hubbub.functions.response import Response

logger = logging.getLogger("hubbub.functions")
FILE = "app_offline.htm"
_PAUSE = 1.0  # seconds from one look to the next
_LARGEST = 1024 * 1024  # bytes; what is beyond is not sent


class Offline:
    """Whether the app is offline. `watch` looks again and again."""

    def __init__(self, root: Path) -> None:
        self._path = root / FILE
        self.answer: Response | None = None  # to every request, while the file is there
        self.look()

    def look(self) -> bool:
        """Look whether the file is there; return whether that has changed."""
        before = self.answer
        try:
            with self._path.open("rb") as file:
                body = file.read(_LARGEST)
            headers = ((b"content-type", b"text/html"), (b"retry-after", b"5"))
            self.answer = Response(503, headers, body)
        except FileNotFoundError:
            self.answer = None
        except OSError as error:  # it is there: what it says is less important
            self.answer = Response(503)
            logger.warning("%s cannot be read: %s", self._path, error.strerror)
        return (before is None) != (self.answer is None)

    async def watch(
        self, pause: Callable[[], Awaitable[None]], resume: Callable[[], Awaitable[None]]
    ) -> None:
        """Look once a second, and let what fires by itself rest meanwhile."""
        if self.answer is not None:
            await pause()
        while True:
            await asyncio.sleep(_PAUSE)
            if not await asyncio.to_thread(self.look):
                continue
            if self.answer is not None:
                logger.warning("The app is offline: its folder has a file %s.", FILE)
                await pause()
            else:
                logger.warning("The app is online again.")
                await resume()
