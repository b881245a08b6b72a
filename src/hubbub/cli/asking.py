"""Asks over HTTP what listens at an address, with the standard library and little patience."""

from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

__all__ = ["HOST", "SERVICE", "Answer", "ask", "is_draining", "is_service", "occupant", "reachable"]

SERVICE: Final = "a Hubbub service"
HOST: Final = "a Hubbub function host"
_OTHER: Final = "another program"
# What each says of itself on its front page.
_MARKS: Final = {b"This is a Hubbub service.": SERVICE, b"It is served by Hubbub.": HOST}
_LOOK_SECONDS: Final = 1.0  # on this machine
_ELSEWHERE_SECONDS: Final = 5.0
_MOST_BYTES: Final = 65_536


class Answer(NamedTuple):
    """What was answered; of the body, as much as may be needed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def ask(
    url: str, *, method: str = "GET", token: str | None = None, patience: float = _ELSEWHERE_SECONDS
) -> Answer:
    """Make one request. Raises `OSError` where there is no answer that can be read."""
    # Imported late: it takes long to load, and a start without trouble asks nobody.
    import http.client

    address = urlsplit(url)
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = kind(address.hostname or "", address.port, timeout=patience)
    path = f"{address.path or '/'}{f'?{address.query}' if address.query else ''}"
    try:
        connection.request(method, path, headers=_authorization(token))
        response = connection.getresponse()
        headers = dict(response.getheaders())
        return Answer(response.status, headers, response.read(_MOST_BYTES))
    except http.client.HTTPException as error:
        raise OSError(f"what it answers is no HTTP ({type(error).__name__})") from error
    finally:
        connection.close()


def occupant(address: str, port: int) -> str | None:
    """Who listens on a port of this machine, `None` if nobody does."""
    try:
        said = ask(f"http://{reachable(address)}:{port}/", patience=_LOOK_SECONDS).body
    except ConnectionRefusedError:
        return None
    except OSError:
        return _OTHER
    return next((who for mark, who in _MARKS.items() if mark in said), _OTHER)


def reachable(address: str) -> str:
    """How an address that something listens on is written where this machine calls it."""
    if address in {"0.0.0.0", "::"}:  # noqa: S104  not bound
        return "localhost"
    return f"[{address}]" if ":" in address else address


def is_service(url: str) -> bool:
    """Whether a service of any make says how it is at `url`."""
    try:
        health = ask(f"{url}/api/health", method="HEAD", patience=_LOOK_SECONDS)
    except OSError:
        return False
    return health.status == 200 or is_draining(health)


def is_draining(health: Answer) -> bool:
    """Whether a service of ours says that it lets no client in any more."""
    words = {name.lower(): value for name, value in health.headers.items()}
    return health.status == 503 and words.get("x-hubbub-health") == "draining"


def _authorization(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token is not None else {}
