"""`./dev bench [NAME] [--quick]`: runs benchmarks, prints what they found beside the budgets.

The exit status is 0 even where a budget is missed, and 1 where a benchmark could not be run.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.catalogue import BENCHMARKS, QUICK
from benchmarks.figure import Figure
from benchmarks.machine import machine
from benchmarks.native import MissingCompilerError, Programs, compiled
from benchmarks.process import BenchmarkError, SkippedError, raise_file_limit
from benchmarks.report import budget_table, table, write
from benchmarks.size import Size

__all__ = ["main"]

_HERE: Final = Path(__file__).parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what `arguments` name and return the exit status."""
    options = _parser().parse_args(arguments)
    raise_file_limit()
    results: dict[str, Any] = {"machine": machine(), "size": options.size.value, "benchmarks": {}}
    names = options.names or (QUICK if options.size is Size.QUICK else BENCHMARKS)
    figures: list[Figure] = []
    try:
        with compiled() as programs:
            for name in names:
                done, results["benchmarks"][name] = _run(name, programs, options.size)
                figures += done
    except MissingCompilerError as error:
        print(f"skipped: {error}", file=sys.stderr)
        results["skipped"] = str(error)
    if figures:
        print(f"\n{table(figures)}")
    if results["benchmarks"]:
        print(f"\n{budget_table(results)}")
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    is_full = options.size is Size.FULL and not options.names
    if options.results is not None or is_full:
        write(results, options.results or _HERE)
    return int(any("failed" in benchmark for benchmark in results["benchmarks"].values()))


def _run(name: str, programs: Programs, size: Size) -> tuple[list[Figure], dict[str, Any]]:
    print(f"{name} … ", end="", file=sys.stderr, flush=True)
    start = time.monotonic()
    try:
        figures = BENCHMARKS[name](programs, size)
    except SkippedError as reason:
        print(f"skipped: {reason}", file=sys.stderr)
        return [], {"skipped": str(reason)}
    except Exception as error:  # whatever it is, the other benchmarks are run
        line = _in_one_line(error)
        print(f"failed: {line}", file=sys.stderr)
        return [], {"failed": line}
    print(f"{time.monotonic() - start:.0f} s", file=sys.stderr)
    return figures, {"figures": [figure.as_json() for figure in figures]}


def _in_one_line(error: Exception) -> str:
    """What has gone wrong; of what is unforeseen, its kind too."""
    text = " ".join(str(error).split())
    return (
        text if isinstance(error, BenchmarkError | OSError) else f"{type(error).__name__}: {text}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./dev bench", description=main.__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        type=_benchmark,
        metavar="NAME",
        help=f"which to run, all by default: {', '.join(BENCHMARKS)}",
    )
    parser.add_argument(
        "--quick",
        action="store_const",
        dest="size",
        const=Size.QUICK,
        default=Size.FULL,
        help="fewer and shorter rounds, and by default only what has a budget: three minutes",
    )
    parser.add_argument(
        "--tiny",
        action="store_const",
        dest="size",
        const=Size.TINY,
        help="just enough to see that all of it works; the figures mean nothing",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    parser.add_argument(
        "--results",
        type=Path,
        metavar="FOLDER",
        help="write RESULTS.md and plots there; a full run of everything does so in benchmarks/",
    )
    return parser


def _benchmark(name: str) -> str:
    if name not in BENCHMARKS:
        raise argparse.ArgumentTypeError(
            f"there is no benchmark {name!r}; there are {', '.join(BENCHMARKS)}"
        )
    return name


def _stop(_number: int, _frame: object) -> None:
    """Leave by an exception, so that what has been started is ended."""
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(main())
