"""Other people's servers beside ours: the same message, to as many clients, in the same rounds."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Final

from benchmarks.broadcast import cpu_figure, rest_sender
from benchmarks.figure import Budget, Figure
from benchmarks.load import audience, scripted
from benchmarks.message import Kind, framed, message
from benchmarks.native import Programs
from benchmarks.peers.centrifugo import centrifugo
from benchmarks.peers.nchan import nchan
from benchmarks.peers.node import socket_io, ws
from benchmarks.peers.peer import Peer
from benchmarks.peers.pushpin import pushpin
from benchmarks.peers.pythonsocketio import python_socketio
from benchmarks.sender import HttpSender, Plan, alternate
from benchmarks.server import service
from benchmarks.size import Size

__all__ = ["PEERS"]

_PAYLOAD: Final = 128
_PLOT: Final = "Beside others: CPU of a delivered message (ns)"

_CLIENTS: Final = {Size.FULL: 5000, Size.QUICK: 1000, Size.TINY: 4}
_PLANS: Final = {
    Size.FULL: Plan(bursts=10, rounds=9),
    Size.QUICK: Plan(bursts=30, rounds=5),
    Size.TINY: Plan(bursts=2, rounds=1),
}
_Start = Callable[[int], AbstractContextManager[Peer]]
_PEERS: Final[dict[str, tuple[str, _Start]]] = {
    "peer-ws": ("ws on Node", ws),
    "peer-nchan": ("Nchan in nginx", nchan),
    "peer-centrifugo": ("Centrifugo", centrifugo),
    "peer-pushpin": ("Pushpin", pushpin),
    "peer-socket-io": ("Socket.IO on Node", socket_io),
    "peer-python-socketio": ("python-socketio on uvicorn", python_socketio),
}


def _beside_one(name: str, start: _Start, programs: Programs, size: Size) -> list[Figure]:
    return [_beside(programs, name, start, _CLIENTS[size], _PLANS[size])]


PEERS: Final = {name: partial(_beside_one, *peer) for name, peer in _PEERS.items()}
"""A benchmark of ours and one other, for each other. Raises `SkippedError` where it is not had."""


def _beside(programs: Programs, name: str, start: _Start, count: int, plan: Plan) -> Figure:
    sent = message(_PAYLOAD)
    with (
        start(_PAYLOAD) as peer,
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
