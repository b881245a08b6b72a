"""docs/functions.md: every row of its tables names a test that there is."""

import ast
import re
from pathlib import Path

import pytest

from hubbub.functions.function import _SPELLING

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "functions.md").read_text(encoding="utf-8")
FILES = [*(ROOT / "tests" / "functions").glob("test_*.py"), *(ROOT / "tests/cli").glob("test_*.py")]


def rows() -> list[list[str]]:
    """The rows of all tables, without their heads."""
    lines = [line for line in PAGE.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    heads = {index for index, row in enumerate(cells) if set(row[0]) == {"-"}}
    return [row for index, row in enumerate(cells) if not {index, index + 1} & heads]


def names_of_tests() -> set[str]:
    """The names of all tests that a row may name."""
    return {
        node.name
        for file in FILES
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if node.name.startswith("test_")
    }


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_a_row_is_backed_by_a_test(row: list[str]) -> None:
    named = re.findall(r"`(test_\w+)`", row[-1])

    assert named != [], "the last cell names the test that shows what the row says"
    assert set(named) <= names_of_tests()


def test_every_type_that_runs_has_a_row() -> None:
    described = {name for row in rows() for name in re.findall(r"`(\w+)`", row[0])}

    assert set(_SPELLING.values()) <= described
