"""Complaints in the log: told once, and never more than a reader can take."""

import logging

import pytest

from hubbub.service.upstream.notice import Notices


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_a_complaint_is_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "hubbub.service")
    times = iter((100.0, 101.0, 159.0, 160.0))
    notices = Notices(clock=lambda: next(times))

    for text in ("one", "two", "three", "four"):
        notices.complain("kind", text)

    assert warnings(caplog) == [
        "upstream: one",
        "upstream: 2 more complaints in the last minute",
        "upstream: four",
    ]
    assert "upstream: two" in caplog.text
    assert repr(notices) == "Notices(1)"


def test_a_client_that_makes_up_names_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    notices = Notices(clock=lambda: 1.0)

    for number in range(1000):
        notices.complain(number, f"complaint {number}")

    assert len(warnings(caplog)) == 30
