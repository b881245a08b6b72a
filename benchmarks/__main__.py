"""`./dev bench [NAME] [--quick]`: runs benchmarks, prints what they found beside the budgets.

The exit status is 0 even where a budget is missed, and 1 where a benchmark could not be run.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.broadcast import broadcast
from benchmarks.connection import connects, idle, reconnects
from benchmarks.figure import Figure
from benchmarks.groups import groups
from benchmarks.growth import growth
from benchmarks.ingress import ingress
from benchmarks.invoke import invoke
from benchmarks.native import MissingCompilerError, Programs, compiled
from benchmarks.paced import paced
from benchmarks.peering import peers
from benchmarks.pings import pings
from benchmarks.process import BenchmarkError, SkippedError, raise_file_limit
from benchmarks.report import machine, table
from benchmarks.size import Size
from benchmarks.slow import slow
from benchmarks.upstream import upstream

__all__ = ["BENCHMARKS", "main"]

BENCHMARKS: Final[dict[str, Callable[[Programs, Size], list[Figure]]]] = {
    "broadcast": broadcast,
    "peers": peers,
    "groups": groups,
    "ingress": ingress,
    "paced": paced,
    "slow": slow,
    "idle": idle,
    "pings": pings,
    "growth": growth,
    "connects": connects,
    "reconnects": reconnects,
    "upstream": upstream,
    "invoke": invoke,
}
def main(arguments: Sequence[str] | None = None) -> int:
    """Run what `arguments` name and return the exit status."""
    options = _parser().parse_args(arguments)
    raise_file_limit()
    results: dict[str, Any] = {"machine": machine(), "size": options.size.value, "benchmarks": {}}
    figures: list[Figure] = []
    failed = False
    try:
        with compiled() as programs:
            for name in options.names or BENCHMARKS:
                done, results["benchmarks"][name] = _run(name, programs, options.size)
                figures += done
                failed = failed or not done
    except MissingCompilerError as error:
        print(f"skipped: {error}", file=sys.stderr)
        results["skipped"] = str(error)
    if figures:
        print(f"\n{table(figures)}")
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    return 1 if failed else 0


def _run(name: str, programs: Programs, size: Size) -> tuple[list[Figure], dict[str, Any]]:
    print(f"{name} … ", end="", file=sys.stderr, flush=True)
    start = time.monotonic()
    try:
        figures = BENCHMARKS[name](programs, size)
    except (BenchmarkError, OSError) as error:
        print(f"failed: {error}", file=sys.stderr)
        return [], {"failed": str(error)}
    print(f"{time.monotonic() - start:.0f} s", file=sys.stderr)
    return figures, {"figures": [figure.as_json() for figure in figures]}


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
        help="fewer and shorter rounds",
    )
    parser.add_argument(
        "--tiny",
        action="store_const",
        dest="size",
        const=Size.TINY,
        help="just enough to see that all of it works; the figures mean nothing",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
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
