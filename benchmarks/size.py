"""How much a run measures: everything, a quick look, or just enough to see that it works."""

from enum import Enum

__all__ = ["Size"]


class Size(Enum):
    """The three sizes of a run; each benchmark says what they mean to it."""

    FULL = "full"
    QUICK = "quick"
    TINY = "tiny"
