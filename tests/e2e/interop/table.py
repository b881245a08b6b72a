"""`docs/compatibility.md`: what a run of the matrix saw, as a table."""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.e2e.interop.cells import CELLS, CLIENTS, FEATURES, NOTES, Cell, note_on
from tests.e2e.interop.driver import ROOT

__all__ = ["PAGE", "REWRITE", "complete_rows", "render"]

PAGE: Final = ROOT / "docs" / "compatibility.md"
REWRITE: Final = "HUBBUB_WRITE_COMPATIBILITY=1 ./dev test tests/e2e/test_interop.py"
Outcomes = Mapping[tuple[Cell, str], bool]

_INTRODUCTION: Final = f"""\
# Compatibility

Clients that others wrote, and our own, against a service as `hubbub service` starts it. This page
is written by the test run (`tests/e2e/test_interop.py`), which fails where it sees anything else.
To write it anew:

    {REWRITE}

Clients negotiate with an app that sends them on to the service, as with Azure; *direct* ones open
a WebSocket to the service without negotiation. *Stateful* ones ask for stateful reconnect.
"""
_NUMBERS: Final = {
    text: number for number, text in enumerate(dict.fromkeys(note.text for note in NOTES), start=1)
}


def complete_rows(outcomes: Outcomes) -> dict[Cell, str]:
    """The rows of the cells in which everything has been tried that is to be tried."""
    rows = {}
    for cell in CELLS:
        values = [_value(cell, feature, outcomes) for feature in FEATURES]
        if None not in values:
            rows[cell] = _row(cell, *map(str, values))
    return rows


def render(rows: Mapping[Cell, str], previous: str) -> str:
    """The page with these rows; a cell without one keeps what it has in `previous`."""
    known = {line.rsplit("|", len(FEATURES) + 1)[0]: line for line in previous.splitlines()}
    lines = [_INTRODUCTION]
    for name, description in FEATURES.items():
        lines += [f"- **{name}**: {description}."]
    lines += ["", _line("client", "transport", "encoding", *FEATURES)]
    lines += [_line(*("---" for _ in range(3 + len(FEATURES))))]
    for cell in CELLS:
        row = rows.get(cell) or known.get(_row(cell).removesuffix(" |") + " ")
        lines += [row] if row is not None else []
    lines += ["", *(f"{number}. {text}" for text, number in _NUMBERS.items())]
    lines += ["", "The clients, and the versions that are asked for:", ""]
    lines += [f"- {CLIENTS[name]}: {version}" for name, version in _versions().items()]
    return "\n".join(lines) + "\n"


def _value(cell: Cell, feature: str, outcomes: Outcomes) -> str | None:
    note = note_on(cell, feature)
    mark = f" ({_NUMBERS[note.text]})" if note is not None else ""
    if note is not None and not note.is_tried:
        return f"no{mark}"
    if (cell, feature) not in outcomes:
        return None
    return f"yes{mark}" if outcomes[cell, feature] else "**fails**"


def _row(cell: Cell, *values: str) -> str:
    suffix = ", stateful" if cell.stateful else ", direct" if not cell.negotiates else ""
    return _line(CLIENTS[cell.client], f"{cell.transport}{suffix}", cell.encoding, *values)


def _line(*values: str) -> str:
    return "".join(f"| {value} " for value in values) + "|"


def _versions() -> dict[str, str]:
    """What this checkout asks for, by client."""
    npm = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))["devDependencies"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"]
    pom = Path(__file__).with_name("java").joinpath("pom.xml").read_text(encoding="utf-8")
    java = re.search(r"<artifactId>signalr</artifactId>\s*<version>([^<]+)</version>", pom)
    assert java is not None
    versions = {
        "node": npm["@microsoft/signalr"],
        "chromium": npm["@microsoft/signalr"],
        "hubbub": "this one",
        "java": java[1],
    }
    for requirement in (*groups["test"], *groups["aiosignalr"]):
        name, _, least = requirement.partition(">=")
        if name in CLIENTS:
            versions[name] = f"{least} or later"
    return {name: versions[name] for name in CLIENTS}
