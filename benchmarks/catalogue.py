"""Every benchmark by its name, and those that a quick run has."""

from collections.abc import Callable
from typing import Final

from benchmarks.broadcast import broadcast
from benchmarks.cluster import crossing, workers
from benchmarks.connection import connects, idle, reconnects
from benchmarks.figure import Figure
from benchmarks.functions import functions
from benchmarks.groups import groups
from benchmarks.growth import growth
from benchmarks.ingress import ingress
from benchmarks.invoke import invoke
from benchmarks.native import Programs
from benchmarks.paced import paced
from benchmarks.peering import PEERS
from benchmarks.pings import pings
from benchmarks.sharing import sharing
from benchmarks.size import Size
from benchmarks.slow import slow
from benchmarks.upstream import upstream

__all__ = ["BENCHMARKS", "QUICK"]

BENCHMARKS: Final[dict[str, Callable[[Programs, Size], list[Figure]]]] = {
    "broadcast": broadcast,
    **PEERS,
    "paced": paced,
    "slow": slow,
    "groups": groups,
    "ingress": ingress,
    "idle": idle,
    "pings": pings,
    "growth": growth,
    "connects": connects,
    "reconnects": reconnects,
    "upstream": upstream,
    "invoke": invoke,
    "functions": functions,
    "workers": workers,
    "crossing": crossing,
    "sharing": sharing,
}
"""In the order in which they run."""

QUICK: Final = (
    "broadcast",
    "peer-ws",
    "paced",
    "slow",
    "ingress",
    "idle",
    "pings",
    "connects",
    "invoke",
    "functions",
    "workers",
    "crossing",
)
"""Those with a budget of their own that three minutes have room for."""
