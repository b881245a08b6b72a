"""Other people's servers beside ours: the same message, to as many clients, in the same rounds."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from benchmarks.broadcast import cpu_figure, rest_sender
from benchmarks.figure import Budget, Figure
from benchmarks.load import audience, scripted
from benchmarks.message import Kind, framed, message
from benchmarks.native import Programs
from benchmarks.peers.nchan import nchan
from benchmarks.peers.node import socket_io, ws
from benchmarks.peers.peer import Peer
from benchmarks.peers.pushpin import pushpin
from benchmarks.peers.pythonsocketio import python_socketio
from benchmarks.process import SkippedError
from benchmarks.sender import HttpSender, Plan, alternate
from benchmarks.server import service
from benchmarks.size import Size

__all__ = ["PEERS", "peers"]

_PAYLOAD: Final = 128
_PLOT: Final = "Beside others: CPU of a delivered message (ns)"

PEERS: Final[dict[str, Callable[[int], AbstractContextManager[Peer]]]] = {
    "ws on Node": ws,
    "Nchan in nginx": nchan,
    "Pushpin": pushpin,
    "Socket.IO on Node": socket_io,
    "python-socketio on uvicorn": python_socketio,
}
"""What they are called, and what starts each for messages of so many bytes."""

# Names, clients and rounds of each size.
_SIZES: Final = {
    Size.FULL: (tuple(PEERS), 5000, Plan(bursts=10, rounds=9)),
    Size.QUICK: (("ws on Node",), 1000, Plan(bursts=30, rounds=5)),
    Size.TINY: (tuple(PEERS), 4, Plan(bursts=2, rounds=1)),
}


def peers(programs: Programs, size: Size) -> list[Figure]:
    """Ours and one other at a time. Raises `SkippedError` where none can be had."""
    names, count, plan = _SIZES[size]
    figures, reasons = [], []
    for name in names:
        try:
            figures.append(_beside(programs, name, count, plan))
        except SkippedError as reason:
            reasons.append(f"{name}: {reason}")
    if not figures:
        raise SkippedError("; ".join(reasons))
    for reason in reasons:
        print(f"\n  skipped: {reason}", file=sys.stderr)
    return figures


def _beside(programs: Programs, name: str, count: int, plan: Plan) -> Figure:
    sent = message(_PAYLOAD)
    with (
        PEERS[name](_PAYLOAD) as peer,
        service() as server,
        audience(programs, server, count) as listeners,
        scripted(programs, peer.port, peer.script, count) as peer_listeners,
    ):
        peer.process.settle()  # a client may be open before it is subscribed
        ours, theirs = alternate(
            plan,
            rest_sender(server, listeners, sent),
            HttpSender(
                peer.process,
                ("127.0.0.1", peer.publish_port),
                peer_listeners,
                {Kind.SCRIPT: framed(peer.payload)},
                lambda number: [peer.request] * number,
            ),
        )
    return cpu_figure(
        f"{_PAYLOAD} B to {count:,} beside {name}: CPU of a delivered message",
        ours,
        theirs,
        (Budget(1, of_ratio=True),),
        reference=name,
        plot=_PLOT,
        label=name,
    )
