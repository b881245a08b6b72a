"""The URL of a backplane: what it says, and that its password is never shown."""

import pytest

from hubbub.errors import ConfigError
from hubbub.service.redis.address import parse_address


@pytest.mark.parametrize(
    ("url", "kind", "places", "user", "password", "db"),
    [
        ("redis://localhost", "single", (("localhost", 6379),), None, None, 0),
        ("redis://:s3cret@localhost:1/2", "single", (("localhost", 1),), None, "s3cret", 2),
        ("redis://ann:s%2F%40@[::1]:7?db=3", "single", (("::1", 7),), "ann", "s/@", 3),
        ("redis://ann@h", "single", (("h", 6379),), "ann", None, 0),
        ("unix:///run/re%20dis.sock?db=1", "single", (("/run/re dis.sock", None),), None, None, 1),
        ("unix://ann:s3cret@/run/r.sock", "single", (("/run/r.sock", None),), "ann", "s3cret", 0),
        ("redis://h?cluster=true", "cluster", (("h", 6379),), None, None, 0),
        ("redis://h?cluster=false", "single", (("h", 6379),), None, None, 0),
        ("redis+cluster://a:1,b:2", "cluster", (("a", 1), ("b", 2)), None, None, 0),
        ("redis+cluster://u:s3cret@a,b", "cluster", (("a", 6379), ("b", 6379)), "u", "s3cret", 0),
        ("redis+sentinel://a,b:2/main/4", "sentinel", (("a", 26379), ("b", 2)), None, None, 4),
    ],
)
def test_a_url_says_where_redis_is(
    url: str,
    kind: str,
    places: tuple[tuple[str, int | None], ...],
    user: str | None,
    password: str | None,
    db: int,
) -> None:
    address = parse_address(url)

    assert (address.kind, address.places, address.db) == (kind, places, db)
    assert (address.user, address.password) == (user, password)
    assert address.tls is None
    assert "s3cret" not in repr(address) + str(address)


def test_what_is_shown_of_a_url_is_recognisable() -> None:
    url = "rediss://ann:s3cret@cache.example:6380/2?ssl_ca_certs=/dev/null"

    with pytest.raises(ConfigError, match="certificate"):
        parse_address(url)
    address = parse_address(url.partition("?")[0])

    assert str(address) == "rediss://ann:***@cache.example:6380/2"
    assert address.tls is not None
    assert address.tls.check_hostname
    assert parse_address("redis+sentinel://:s3cret@a,b/main").sentinel_name == "main"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "no scheme"),
        ("localhost:6379", "begins with"),
        ("http://:s3cret@h", "begins with http://"),
        ("redis://", "a host is missing"),
        ("redis://:s3cret@", "a host is missing"),
        ("redis://:s3cret@a,,b", "a host is missing"),
        ("redis://ann:s3/cret@h", "cannot be read"),
        ("redis://:s3?cret@h", "cannot be read"),
        ("redis://h?s3cret=1", "has an option that is not one of"),
        ("redis://[s3cret@h", "cannot be read"),
        ("redis://h:99999", "cannot be read"),
        ("redis://h/s3cret", "database is not a number"),
        ("redis://h/1/2", "database is not a number"),
        ("redis://h?cluster=s3cret", "neither true nor false"),
        ("redis+cluster://h/1", "no database but 0"),
        ("redis+sentinel://h", "no name of a primary"),
        ("unix://", "no path"),
    ],
)
def test_a_wrong_url_is_explained_without_what_may_be_its_password(url: str, reason: str) -> None:
    with pytest.raises(ConfigError, match="The URL of the backplane is wrong") as raised:
        parse_address(url)

    text = str(raised.value)
    assert reason in text
    assert "Expected redis://" in text
    assert "s3" not in text
    assert "cret" not in text
