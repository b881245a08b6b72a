"""The results of a run as text."""

import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figure import Figure, number, verdict

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
