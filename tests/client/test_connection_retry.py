"""When a hub client tries again."""

from typing import Any

import pytest

from hubbub.client import Backoff, ConnectionLostError
from hubbub.errors import ConfigError


def test_delays_follow_the_list_and_stay_at_its_end() -> None:
    backoff = Backoff(jitter=0)
    error = ConnectionLostError("lost")

    assert [backoff.delay(attempt, 0, error) for attempt in range(6)] == [0, 2, 10, 30, 30, 30]


def test_delays_end_where_attempts_say_so() -> None:
    backoff = Backoff(delays=(1,), jitter=0, attempts=2)

    delays = [backoff.delay(attempt, 0, ConnectionLostError("lost")) for attempt in range(3)]

    assert delays == [1, 1, None]


def test_delays_of_many_clients_spread() -> None:
    backoff = Backoff(delays=(10,), jitter=0.5)
    error = ConnectionLostError("lost")

    delays = [backoff.delay(0, 0, error) or 0 for _ in range(100)]

    assert 5 <= min(delays) < max(delays) <= 15


@pytest.mark.parametrize("wrong", [{"delays": ()}, {"delays": (-1,)}, {"jitter": 2}])
def test_a_backoff_that_makes_no_sense_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="A Backoff needs delays"):
        Backoff(**wrong)
