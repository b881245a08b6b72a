"""Has a server send to its audience, and notes what that costs: the measure of one round.

Every server is measured by the same rounds, so that only the server is different.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from benchmarks.load import Audience, Callers, Latency
from benchmarks.message import Kind, Message
from benchmarks.process import Process

__all__ = ["HttpSender", "LoopSender", "Plan", "Round", "Sender", "alternate", "play"]

_LOOP_IN_FLIGHT = 10  # a message costs the loop the same, however many there are


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done in each round: so many messages at once, so many times; and how many rounds."""

    bursts: int
    rounds: int
    in_flight: int = 1


class Round(NamedTuple):
    """What one round gave."""

    cpu: float  # ns of the server for one delivered message
    load_cpu: float  # ns of the load clients for one
    latency: Latency | None


class Sender(Protocol):
    """A server, those who listen to it, and the way in which it is made to send to them all."""

    process: Process
    audience: Audience
    sizes: Mapping[Kind, int]  # bytes of one message at each kind of client

    def open(self, plan: Plan) -> int:
        """Prepare a round outside of what is measured; return the messages of one burst."""

    def send(self) -> None:
        """Ask for the messages of one burst."""

    def check(self) -> None:
        """After they have arrived: look whether the server says so too."""

    def close(self) -> None:
        """The round has ended."""


class HttpSender:
    """Asks by HTTP requests, one caller for each message of a burst. Satisfies `Sender`."""

    def __init__(
        self,
        process: Process,
        address: tuple[str, int],
        audience: Audience,
        sizes: Mapping[Kind, int],
        requests: Callable[[int], Sequence[bytes]],
    ) -> None:
        """`requests` makes so many requests."""
        self.process = process
        self.audience = audience
        self.sizes = sizes
        self._address = address
        self._make = requests
        self._requests: Iterator[bytes] = iter(())
        self._in_flight = 1

    def open(self, plan: Plan) -> int:
        """Connect the callers and make all requests."""
        self._in_flight = plan.in_flight
        self._requests = iter(self._make(plan.bursts * plan.in_flight))
        self._callers = Callers(self._address, plan.in_flight)
        return plan.in_flight

    def send(self) -> None:
        """Send one request from each caller."""
        self._callers.send(list(itertools.islice(self._requests, self._in_flight)))

    def check(self) -> None:
        """Read the answers."""
        self._callers.check_answers()

    def close(self) -> None:
        """Disconnect the callers."""
        self._callers.close()


class LoopSender:
    """Has the C loop send one message after another. Satisfies `Sender`."""

    def __init__(self, process: Process, audience: Audience, message: Message) -> None:
        self.process = process
        self.audience = audience
        self.sizes = message.sizes
        self._in_flight = 1

    def open(self, plan: Plan) -> int:
        """Nothing is to be prepared."""
        self._in_flight = min(plan.in_flight, _LOOP_IN_FLIGHT)
        return self._in_flight

    def send(self) -> None:
        """One `send()` a connection for each message."""
        for _ in range(self._in_flight):
            self.process.ask(f"send {self.sizes[Kind.PLAIN]}", "sent")

    def check(self) -> None:
        """It has answered."""

    def close(self) -> None:
        """Nothing is to be undone."""


def play(sender: Sender, plan: Plan) -> Round:
    """One round: bursts, each after the one before has arrived at all."""
    in_flight = sender.open(plan)
    audience, sizes = sender.audience, sender.sizes
    try:
        before = sender.process.cpu(), audience.cpu()
        for _ in range(plan.bursts):
            audience.expect(sizes, in_flight)
            start = time.monotonic_ns()
            sender.send()
            audience.wait(sizes, in_flight)
            sender.check()
            audience.record(start)
        after = sender.process.cpu(), audience.cpu()
    finally:
        sender.close()
    deliveries = plan.bursts * in_flight * audience.count
    return Round(
        (after[0] - before[0]) / deliveries,
        (after[1] - before[1]) / deliveries,
        audience.latency(),
    )


def alternate(plan: Plan, *senders: Sender) -> list[list[Round]]:
    """Let them take turns, so that all meet the same machine; the first turn warms up."""
    rounds: list[list[Round]] = [[] for _ in senders]
    for number in range(plan.rounds + 1):
        for sender, of_sender in zip(senders, rounds, strict=True):
            done = play(sender, plan)
            if number:
                of_sender.append(done)
    return rounds
