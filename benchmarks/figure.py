"""What is measured, beside its reference and its budget."""

import statistics
from dataclasses import dataclass
from typing import Any

import msgspec

__all__ = ["Budget", "Figure", "number", "verdict"]


@dataclass(frozen=True, slots=True)
class Budget:
    """The bound of a figure, or of its ratio to the reference."""

    bound: float
    at_least: bool = False
    of_ratio: bool = False

    def __str__(self) -> str:
        words = "at least" if self.at_least else "at most"
        return f"{words} {number(self.bound)}{' of it' if self.of_ratio else ''}"

    def is_met(self, value: float) -> bool:
        """Whether `value` keeps within the bound."""
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the results: one value for each round, and the reference's in the same round."""

    what: str
    unit: str
    values: tuple[float, ...]
    reference: tuple[float, ...] = ()
    reference_name: str = ""
    budgets: tuple[Budget, ...] = ()
    plot: str = ""  # the title of the plot that shows it; figures of one plot have one unit
    label: str = ""  # what its bar there is called
    note: str = ""  # what one must know to read it

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.values)

    @property
    def ratios(self) -> tuple[float, ...]:
        """For each round, the value as a multiple of the reference's."""
        return tuple(
            ours / theirs for ours, theirs in zip(self.values, self.reference, strict=True)
        )

    @property
    def ratio(self) -> float | None:
        """The median of the rounds' ratios, `None` without a reference."""
        return statistics.median(self.ratios) if self.reference else None

    def as_json(self) -> dict[str, Any]:
        """The figure for other programs: what it was made of, and what follows from it."""
        made: dict[str, Any] = msgspec.to_builtins(self)
        return {**made, "median": self.median, "ratio": self.ratio, "verdict": verdict(self)}


def verdict(figure: Figure) -> str:
    """Whether the budgets are met, and if not by how much."""
    if not figure.budgets:
        return ""
    missed = []
    for budget in figure.budgets:
        value = figure.ratio if budget.of_ratio else figure.median
        assert value is not None, "a budget of the ratio needs a reference"
        if not budget.is_met(value):
            missed.append(f"{abs(value / budget.bound - 1):.0%}")
    return f"MISSED by {', '.join(missed)}" if missed else "met"


def number(value: float) -> str:
    """Three digits that matter, thousands set apart."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
