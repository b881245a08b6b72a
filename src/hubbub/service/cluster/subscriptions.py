"""Which channels a node listens to: those that something here holds, and for a while after that.

It asks the backplane; it never looks at what arrives.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from hubbub.service.backplane.backplane import Backplane, BackplaneError

__all__ = ["Subscriptions"]

# Seconds that a channel which nothing holds is listened to still: members that come and go all the
# time cost nothing so.
LINGER: Final = 5.0


class Subscriptions:
    """Counts who needs a channel. `hold` and `release` come in pairs; neither waits."""

    def __init__(self, backplane: Backplane) -> None:
        self._backplane = backplane
        self._holds: dict[str, int] = {}
        self._unconfirmed: dict[str, asyncio.Future[None]] = {}
        self._idle: dict[str, float] = {}  # until when, of the loop's clock

    def __repr__(self) -> str:
        return (
            f"Subscriptions(held={len(self._holds)}, idle={len(self._idle)}, "
            f"unconfirmed={len(self._unconfirmed)})"
        )

    def __contains__(self, channel: str) -> bool:
        return channel in self._holds or channel in self._idle

    def hold(self, channel: str) -> None:
        """Listen to `channel` from here on."""
        count = self._holds.get(channel, 0)
        self._holds[channel] = count + 1
        if count or self._idle.pop(channel, None) is not None:
            return
        confirmed = self._unconfirmed[channel] = self._backplane.listen(channel)
        confirmed.add_done_callback(lambda done: self._confirm(channel, done))

    def release(self, channel: str, keep: float = LINGER) -> None:
        """One who held `channel` does so no more; it is listened to for `keep` seconds at least."""
        count = self._holds[channel] - 1
        if count:
            self._holds[channel] = count
            return
        del self._holds[channel]
        self._idle[channel] = asyncio.get_running_loop().time() + keep

    def sweep(self, now: float) -> None:
        """Ignore what nothing has held for long enough. Called now and then."""
        for channel in [each for each, end in self._idle.items() if end <= now]:
            del self._idle[channel]
            self._backplane.ignore(channel)

    def waits_for(self, channels: Iterable[str]) -> bool:
        """Whether one of `channels` is not known to be listened to yet."""
        return any(channel in self._unconfirmed for channel in channels)

    async def settled(self, channels: Iterable[str] | None = None) -> None:
        """Return when `channels` are listened to; without, all that are held by now.

        While the other nodes cannot be reached this returns too: nobody could publish to them.
        """
        waiting = self._unconfirmed
        found = (
            list(waiting.values())
            if channels is None
            else [waiting[channel] for channel in channels if channel in waiting]
        )
        for confirmed in found:
            with suppress(BackplaneError):
                await asyncio.shield(confirmed)

    def _confirm(self, channel: str, confirmed: asyncio.Future[None]) -> None:
        if self._unconfirmed.get(channel) is confirmed:
            del self._unconfirmed[channel]
        if not confirmed.cancelled():
            confirmed.exception()  # the backplane remembers what it is to listen to
