"""How a record looks: one line, unless an app has written it, and the time of its own second."""

import io
import logging
import sys

import pytest

from hubbub.cli.logformat import LogFormatter, LogHandler


def record(text: str, name: str = "hubbub.functions", **members: object) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.INFO, "file.py", 1, text, (), None)
    made.__dict__.update(members)
    return made


@pytest.mark.parametrize(
    ("name", "function", "shown"),
    [
        ("hubbub.functions", "", "one\\n\ttwo"),
        ("hubbub.functions", "hello", "[hello] one\n\ttwo"),
        ("uvicorn.error", "", "one\\n\ttwo"),
        ("root", "", "one\n\ttwo"),
        ("my_app.part", "", "one\n\ttwo"),
    ],
)
def test_only_an_app_has_lines(name: str, function: str, shown: str) -> None:
    text = LogFormatter(has_app=True).format(record("one\n\ttwo\x1b", name, function=function))

    assert text.partition(" INFO ")[2] == f"{shown}\\x1b"


def test_without_an_app_every_record_is_one_line() -> None:
    assert "one\\ntwo" in LogFormatter().format(record("one\ntwo", "somebody"))


def test_the_time_is_that_of_the_record() -> None:
    formatter = LogFormatter()
    times = [
        formatter.format(record("x", created=second, msecs=7.0))[14:23]
        for second in (1_700_000_001.0, 1_700_000_001.9, 1_700_000_002.0)
    ]

    assert times == ["13:21,007", "13:21,007", "13:22,007"]


def test_a_traceback_and_a_stack_follow_the_line() -> None:
    try:
        raise ValueError("boom")
    except ValueError:
        made = record("it failed", exc_info=sys.exc_info(), stack_info="Stack: here")

    lines = LogFormatter().format(made).splitlines()

    assert lines[0].endswith(" INFO it failed")
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-2:] == ["ValueError: boom", "Stack: here"]


def test_what_is_written_arrives_whether_the_stream_has_lines_or_not() -> None:
    for line_buffering in (True, False):
        below = io.BytesIO()
        handler = LogHandler(io.TextIOWrapper(below, "utf-8", line_buffering=line_buffering))
        handler.setFormatter(LogFormatter())

        handler.handle(record("é arrives"))

        assert below.getvalue().decode().endswith(" INFO é arrives\n")
