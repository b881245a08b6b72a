"""The matrix: which clients connect over which transports in which encodings, and what they do.

What a client cannot do is written here with its reason, and is not tried.
"""

from dataclasses import dataclass
from typing import Final

__all__ = ["CELLS", "CLIENTS", "FEATURES", "NOTES", "Cell", "Note", "cells_with", "note_on"]

# Names as tests and the table have them, and what the table's page says about each.
CLIENTS: Final = {
    "node": "`@microsoft/signalr` under Node",
    "chromium": "`@microsoft/signalr` in Chromium",
    "hubbub": "`hubbub.client.HubClient`",
    "java": "`com.microsoft.signalr` for Java",
    "signalrcore": "`signalrcore` for Python",
    "pysignalr": "`pysignalr` for Python",
    "aiosignalr": "`aiosignalr` for Python",
}
FEATURES: Final = {
    "addresses": "what is sent to all, to its user, its group and its connection arrives, and "
    "nothing else does",
    "order": "200 messages to mixed addresses arrive in the order of their acceptance",
    "text": "any Unicode, and 200 KB in one message, arrive unchanged",
    "result": "the client answers `:invoke` with a result",
    "invoke": "calling the service, which has no upstream, gets the documented error",
    "close": "a close by REST ends the connection, and the client learns the reason",
    "quiet": "with nothing to say, pings keep the connection beyond both ends' timeouts",
    "cut": "a connection that is cut in the middle comes back; with stateful reconnect nothing is "
    "lost and nothing repeated, in either direction",
    "restart": "the client connects again by itself after the service was stopped and started",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One client over one transport in one encoding."""

    client: str
    transport: str
    encoding: str
    stateful: bool = False
    negotiates: bool = True

    def __str__(self) -> str:
        stateful = "-stateful" if self.stateful else ""
        direct = "" if self.negotiates else "-direct"
        return f"{self.client}-{self.transport}-{self.encoding}{stateful}{direct}"


@dataclass(frozen=True, slots=True)
class Note:
    """What is different about a feature in a client; a footnote of the table."""

    text: str
    is_tried: bool = True


_UNTOLD: Final = Note("The connection ends; the client's interface does not pass the reason on.")
_NO_RECONNECT: Final = Note(
    "The client has no automatic reconnect: its app starts it again, as its documentation says."
)
_LOSES_QUERY: Final = Note(
    "The client negotiates when it reconnects, and appends `/negotiate` to the query of the "
    "address, where no service finds it.",
    is_tried=False,
)

_TINY: Final = Note(
    "The client takes no message over 32 KB, and that cannot be set; 30 KB is what it is sent."
)

# By client and feature, and where it matters by encoding.
_NOTES: Final = {
    ("java", "cut"): _NO_RECONNECT,
    ("java", "restart"): _NO_RECONNECT,
    ("signalrcore", "result"): Note(
        "The client does not answer invocations that ask for a result.", is_tried=False
    ),
    ("signalrcore", "close"): _UNTOLD,
    ("signalrcore", "restart"): Note(
        "The client does not try again after an attempt to reconnect that failed.", is_tried=False
    ),
    ("aiosignalr", "text"): _TINY,
    ("aiosignalr", "result", "messagepack"): Note(
        "The client sends a number where MessagePack completions have a map of headers, so what "
        "it sends is no message of the protocol.",
        is_tried=False,
    ),
    ("aiosignalr", "close"): _UNTOLD,
    ("aiosignalr", "cut"): _LOSES_QUERY,
    ("aiosignalr", "restart"): _LOSES_QUERY,
}
NOTES: Final = tuple(_NOTES.values())


def note_on(cell: Cell, feature: str) -> Note | None:
    """What is different about `feature` in `cell`."""
    key = (cell.client, feature)
    return _NOTES.get((*key, cell.encoding)) or _NOTES.get(key)


def _official(client: str) -> tuple[Cell, ...]:
    """What the JavaScript client can do, and HubClient like it."""
    return (
        Cell(client, "WebSockets", "json"),
        Cell(client, "WebSockets", "messagepack"),
        Cell(client, "WebSockets", "json", stateful=True),
        Cell(client, "WebSockets", "messagepack", stateful=True),
        Cell(client, "WebSockets", "json", negotiates=False),
        Cell(client, "ServerSentEvents", "json"),
        Cell(client, "LongPolling", "json"),
        Cell(client, "LongPolling", "messagepack"),
    )


CELLS: Final = (
    *_official("node"),
    *_official("chromium"),
    *_official("hubbub"),
    Cell("java", "WebSockets", "json"),
    Cell("java", "LongPolling", "json"),
    Cell("signalrcore", "WebSockets", "json"),
    Cell("signalrcore", "WebSockets", "messagepack"),
    Cell("pysignalr", "WebSockets", "json"),
    Cell("pysignalr", "WebSockets", "messagepack"),
    Cell("aiosignalr", "WebSockets", "json", negotiates=False),
    Cell("aiosignalr", "WebSockets", "messagepack", negotiates=False),
)


def cells_with(feature: str) -> tuple[Cell, ...]:
    """The cells in which `feature` is tried."""
    tried = Note("")
    return tuple(cell for cell in CELLS if (note_on(cell, feature) or tried).is_tried)
