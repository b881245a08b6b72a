"""What is measured, beside its reference and its budget; the table and the JSON of a run."""

import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Budget", "Figure", "machine", "table", "verdict"]


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
        """The figure for other programs."""
        return {
            "what": self.what,
            "unit": self.unit,
            "median": self.median,
            "values": self.values,
            "reference": {"name": self.reference_name, "values": self.reference},
            "ratio": self.ratio,
            "budgets": [str(budget) for budget in self.budgets],
            "verdict": verdict(self),
        }


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


def table(figures: Iterable[Figure]) -> str:
    """The figures as a Markdown table that also reads well in a terminal."""
    rows: list[tuple[str, ...]] = [("what", "figure", "reference", "ratio", "budget", "verdict")]
    rows += [_row(figure) for figure in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rows.insert(1, tuple("-" * width for width in widths))
    return "\n".join("| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows)


def _row(figure: Figure) -> tuple[str, ...]:
    reference = f"{figure.reference_name}: {_spread(figure.reference)}" if figure.reference else ""
    return (
        figure.what,
        f"{_spread(figure.values)} {figure.unit}",
        reference,
        _spread(figure.ratios) if figure.reference else "",
        "; ".join(map(str, figure.budgets)),
        verdict(figure),
    )


def _spread(values: Sequence[float]) -> str:
    """The median, and how far the rounds lie apart: half the way from least to most, in percent."""
    median = statistics.median(values)
    if len(values) == 1 or not median:
        return number(median)
    return f"{number(median)} ±{(max(values) - min(values)) / 2 / median:.0%}"


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": names[0] if names else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
