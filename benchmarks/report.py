"""The results of a run as text: a table for the terminal, a page and plots for a full run.

`python -m benchmarks.report RESULTS.json [FOLDER]` makes the page again from what `--json` wrote.
"""

import dataclasses
import json
import re
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.chart import Bar, chart
from benchmarks.figure import Budget, Figure, number, verdict

__all__ = ["budget_table", "markdown", "plots", "table", "write"]

_HEAD: Final = """\
# Results

Written by `./dev bench`, not by hand. README.md says what each row is. A figure is the median of
several rounds; `±` is half the way from the least round to the most. A ratio is the median of the
ratios of rounds that took turns. Ratios can be compared between machines, figures cannot.
"""


def table(figures: Iterable[Figure]) -> str:
    """The figures as a Markdown table that also reads well in a terminal."""
    heads = ("what", "figure", "reference", "ratio", "budget", "verdict")
    return _aligned([heads, *(_row(figure) for figure in figures)])


def budget_table(results: Mapping[str, Any]) -> str:
    """One row for each budget, and one for what could not be measured: budget, figure, verdict."""
    rows: list[tuple[str, ...]] = [("what", "budget", "figure", "rounds in it", "verdict")]
    for name, benchmark in results["benchmarks"].items():
        rows += [
            (name, "", "", "", f"{word}: {benchmark[word]}".replace("\n", " "))
            for word in ("skipped", "failed")
            if word in benchmark
        ]
        for figure in _figures(benchmark):
            rows += [_budget_row(figure, budget) for budget in figure.budgets]
    return _aligned(rows)


def _budget_row(figure: Figure, budget: Budget) -> tuple[str, ...]:
    values = figure.ratios if budget.of_ratio else figure.values
    name = f"times {figure.reference_name}" if budget.of_ratio else figure.unit
    met = sum(map(budget.is_met, values))
    outcome = verdict(dataclasses.replace(figure, budgets=(budget,)))
    return figure.what, str(budget), f"{_spread(values)} {name}", f"{met} of {len(values)}", outcome


def markdown(results: Mapping[str, Any]) -> str:
    """The page of a run, from what `--json` writes."""
    machine = "\n".join(f"- {name}: {value}" for name, value in results["machine"].items())
    parts = [_HEAD, f"Size: {results['size']}.\n\n{machine}\n", "## Budgets\n"]
    parts.append(budget_table(results) + "\n")
    reasons = _reasons(results)
    if reasons:
        parts.append("\n".join(reasons) + "\n")
    drawn = plots(results)
    if drawn:
        images = [f"![{_title(svg)}](plots/{name})" for name, svg in drawn.items()]
        parts += ["## Plots\n", "\n\n".join(images) + "\n"]
    for name, benchmark in results["benchmarks"].items():
        figures = _figures(benchmark)
        if figures:
            parts += [f"## {name}\n", table(figures) + "\n"]
        notes = [f"- {figure.what}: {figure.note}" for figure in figures if figure.note]
        if notes:
            parts.append("\n".join(notes) + "\n")
    return "\n".join(parts)


def _reasons(results: Mapping[str, Any]) -> list[str]:
    """Why budgets are missed, as far as that is known."""
    every = [each for benchmark in results["benchmarks"].values() for each in _figures(benchmark)]
    return [
        f"- {each.what}: {verdict(each)}. {each.note}"
        for each in every
        if each.note and verdict(each).startswith("MISSED")
    ]


def plots(results: Mapping[str, Any]) -> dict[str, str]:
    """An SVG for each plot that figures name, by the name of its file."""
    shown: dict[str, list[Figure]] = {}
    for benchmark in results["benchmarks"].values():
        for figure in _figures(benchmark):
            if figure.plot:
                shown.setdefault(figure.plot, []).append(figure)
    return {
        f"{re.sub('[^a-z]+', '-', title.lower()).strip('-')}.svg": _plot(title, figures)
        for title, figures in shown.items()
    }


def write(results: Mapping[str, Any], folder: Path) -> None:
    """Write RESULTS.md and its plots; plots of an earlier run go."""
    images = folder / "plots"
    images.mkdir(parents=True, exist_ok=True)
    for old in images.glob("*.svg"):
        old.unlink()
    for name, svg in plots(results).items():
        (images / name).write_text(svg)
    (folder / "RESULTS.md").write_text(markdown(results))


def _figures(benchmark: Mapping[str, Any]) -> list[Figure]:
    return msgspec.convert(benchmark.get("figures", []), list[Figure])


def _plot(title: str, figures: Sequence[Figure]) -> str:
    names = {figure.reference_name for figure in figures}
    bars = [
        Bar(
            figure.label,
            figure.median,
            min(figure.values),
            max(figure.values),
            statistics.median(figure.reference) if figure.reference else None,
        )
        for figure in figures
    ]
    return chart(title, bars, names.pop() if len(names) == 1 else "the other")


def _title(svg: str) -> str:
    found = re.search('aria-label="([^"]*)"', svg)
    return found[1] if found else ""


def _aligned(rows: list[tuple[str, ...]]) -> str:
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


if __name__ == "__main__":
    file = Path(sys.argv[1])
    write(json.loads(file.read_text()), Path(sys.argv[2]) if len(sys.argv) > 2 else file.parent)
