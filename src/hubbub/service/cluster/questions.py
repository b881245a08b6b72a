"""What a node asks of others, and who has answered. It does not know what is asked."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Final

from hubbub.errors import HubbubError
from hubbub.service.backplane.backplane import Backplane
from hubbub.service.cluster.parcel import Parcel, Reply, encode_parcel
from hubbub.service.cluster.recovery import Recovery

__all__ = ["Question", "Questions", "UnansweredError"]

# Seconds for those who live, where all who have not answered may be dead.
_SHORT: Final = 1.0
_EXTENDED: Final = 1.0  # seconds that who has begun may take longer than what it does may take


class UnansweredError(HubbubError):
    """Other nodes did not answer in time: what they would have said is not known."""


class Question:
    """One question under way: what has come back, and whether that is all."""

    __slots__ = ("_changed", "_takes_first", "expected", "holders", "own", "replies")

    def __init__(self, *, takes_first: bool) -> None:
        """`takes_first`: the first who has it answers for all."""
        self._takes_first = takes_first
        self._changed = asyncio.Event()
        self.expected: int | None = None  # nodes that were asked, this one among them
        self.own = 0
        self.replies: dict[str, Reply] = {}
        self.holders: set[str] = set()  # nodes that have begun to do what takes long

    def __repr__(self) -> str:
        return f"Question(expected={self.expected}, own={self.own}, replies={len(self.replies)})"

    @property
    def missing(self) -> int:
        """How many nodes have not answered."""
        return (self.expected or 0) - self.own - len(self.replies)

    @property
    def first(self) -> Reply | None:
        """The answer of a node that has what was asked for."""
        return next((reply for reply in self.replies.values() if reply.is_here), None)

    @property
    def objection(self) -> Reply | None:
        """The answer of a node that has it not, and knows that nobody may have it."""
        return next((reply for reply in self.replies.values() if reply.status is not None), None)

    @property
    def is_answered(self) -> bool:
        """Whether who has not been asked could add nothing."""
        return self._takes_first and (self.first or self.objection) is not None

    @property
    def is_done(self) -> bool:
        """Whether nothing more needs to be waited for."""
        if self._takes_first and self.first is not None:
            return True
        return self.expected is not None and self.missing <= 0

    def take(self, reply: Reply) -> None:
        """Somebody has answered."""
        if reply.is_last:
            self.replies[reply.sender] = reply
        else:
            self.holders.add(reply.sender)
        self._changed.set()

    def asked(self, expected: int) -> None:
        """The question has been put to `expected` nodes."""
        self.expected = expected
        self._changed.set()

    def met(self) -> None:
        """The question has come back to who has asked it."""
        self.own = 1
        self._changed.set()

    async def change(self) -> None:
        """Return when something has come."""
        await self._changed.wait()
        self._changed.clear()


class Questions:
    """All questions of a node that are under way."""

    def __init__(self, backplane: Backplane, patience: float, recovery: Recovery) -> None:
        """`patience` is how many seconds others have to answer."""
        self._backplane = backplane
        self._recovery = recovery
        self._patience = patience
        self._numbers = itertools.count(1)
        self._open: dict[int, Question] = {}
        # How many nodes may be listening that are known to be gone: they are not waited for.
        self.lapsed: Callable[[], int] = lambda: 0

    def __repr__(self) -> str:
        return f"Questions({len(self._open)})"

    def take(self, reply: Reply) -> None:
        """An answer has come; perhaps too late."""
        question = self._open.get(reply.request)
        if question is not None:
            question.take(reply)

    def met(self, request: int) -> None:
        """A question of this node has come back to it."""
        question = self._open.get(request)
        if question is not None:
            question.met()

    def lost(self, node_id: str) -> None:
        """A node is gone: what it had begun for others is not waited for."""
        for question in self._open.values():
            if node_id in question.holders:
                question.take(Reply(node_id, 0, is_here=False))

    async def first(
        self, channel: str, ask: Callable[[int], Parcel], *, takes: float = 0.0
    ) -> Reply | None:
        """The answer of the node that has what is asked for, or who objects; `None` where none is.

        `takes` is how many seconds it may take beyond the usual. Raises `BackplaneError` where the
        question cannot be asked, `UnansweredError` where some nodes do not answer.
        """
        question = await self._ask(channel, ask, Question(takes_first=True), takes)
        return question.first or question.objection

    async def all(
        self, channel: str, ask: Callable[[int], Parcel], *, takes: float = 0.0
    ) -> list[Reply]:
        """The answers of all nodes that have some of what is asked for. Raises as `first` does."""
        question = await self._ask(channel, ask, Question(takes_first=False), takes)
        return [reply for reply in question.replies.values() if reply.is_here]

    async def _ask(
        self, channel: str, ask: Callable[[int], Parcel], question: Question, takes: float
    ) -> Question:
        number = next(self._numbers)
        self._open[number] = question
        check = self._recovery.check()
        try:
            question.asked(await self._backplane.publish(channel, encode_parcel(ask(number))))
            await self._wait(question, takes)
        finally:
            del self._open[number]
        if not question.is_answered:
            check()
        return question

    async def _wait(self, question: Question, takes: float) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while not question.is_done:
            patience = self._patience
            if question.holders:
                patience += takes + _EXTENDED
            elif 0 < question.missing <= self.lapsed():
                patience = min(patience, _SHORT)
            try:
                async with asyncio.timeout_at(begun + patience):
                    await question.change()
            except TimeoutError:
                if not question.holders and question.missing <= self.lapsed():
                    return
                raise UnansweredError(
                    f"{question.missing} of {question.expected} nodes did not answer within "
                    f"{patience:g} seconds."
                ) from None
