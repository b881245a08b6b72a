"""The part of the admin API that shows, makes and removes keys.

Who may use it is checked before. Keys never go into the log.
"""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from hubbub.functions.keys import MASTER, HostKeys, KeyStore, new_key
from hubbub.functions.response import NOT_FOUND, Response

Body = Callable[[], Awaitable[bytes]]
_NAME = re.compile(r"[A-Za-z0-9_\-.]{1,100}")
_LONGEST = 1000  # characters of a key that somebody chooses


class KeyApi:
    """Answers requests about the keys of one store."""

    def __init__(self, store: Callable[[], KeyStore]) -> None:
        """`store` is asked for when keys are: where nobody asks, none are made."""
        self._store = store

    async def host(self, method: str, kind: str, name: str | None, body: Body) -> Response:
        """Keys of the host: `keys` and `functionkeys` are the same; `systemkeys` are others."""
        content = await _content(method, body)
        store = self._store()
        keys = store.host()
        is_system = kind == "systemkeys"
        named = keys.system if is_system else keys.function
        if name == MASTER:
            return self._master(method, keys, store, content)

        def save(changed: dict[str, str]) -> None:
            function, system = (keys.function, changed) if is_system else (changed, keys.system)
            store.set_host(HostKeys(keys.master, function, system))

        return _answer(method, named, name, content, save)

    async def function(self, method: str, function: str, name: str | None, body: Body) -> Response:
        """Keys of one function."""
        content = await _content(method, body)
        store = self._store()
        keys = store.function(function)
        return _answer(
            method, keys, name, content, lambda changed: store.set_function(function, changed)
        )

    def _master(self, method: str, keys: HostKeys, store: KeyStore, content: bytes) -> Response:
        if method == "DELETE":
            return _text(400, "Cannot delete System Key.")

        def save(changed: dict[str, str]) -> None:
            store.set_host(HostKeys(changed[MASTER], keys.function, keys.system))

        return _answer(method, {MASTER: keys.master}, MASTER, content, save)


async def _content(method: str, body: Body) -> bytes:
    """The body, before keys are looked at: what is changed meanwhile would be lost."""
    return await body() if method == "PUT" else b""


def _answer(
    method: str,
    keys: Mapping[str, str],
    name: str | None,
    content: bytes,
    save: Callable[[dict[str, str]], None],
) -> Response:
    if name is None:
        if method not in {"GET", "HEAD"}:
            return _text(405, "Name the key at the end of the address.")
        return _json(200, {"keys": [_shown(n, keys[n]) for n in keys], "links": []})
    if not _NAME.fullmatch(name):
        return _text(400, "A key's name has 1 to 100 letters, digits and the characters - _ .")
    if method in {"GET", "HEAD"}:
        return _json(200, _shown(name, keys[name])) if name in keys else NOT_FOUND
    if method == "DELETE":
        if name not in keys:
            return NOT_FOUND
        save({other: value for other, value in keys.items() if other != name})
        return Response(204)
    if method not in {"POST", "PUT"}:
        return _text(405, "Keys are asked for with GET, POST, PUT and DELETE.")
    value = new_key() if method == "POST" else _chosen(content)
    if value is None:
        return _text(
            400,
            'The body must be {"name": "…", "value": "…"}; the value has 1 to '
            f"{_LONGEST} characters, which a header can hold: printable ASCII.",
        )
    save({**keys, name: value})
    return _json(200 if name in keys else 201, _shown(name, value))


def _chosen(body: bytes) -> str | None:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        return None
    value = given.get("value") if isinstance(given, dict) else None
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST:
        return None
    return value if value.isascii() and value.isprintable() else None


def _shown(name: str, value: str) -> dict[str, str]:
    return {"name": name, "value": value}


def _json(status: int, value: Any) -> Response:
    kinds = ((b"content-type", b"application/json; charset=utf-8"), (b"cache-control", b"no-store"))
    return Response(status, kinds, json.dumps(value).encode())


def _text(status: int, reason: str) -> Response:
    return Response(status, ((b"content-type", b"text/plain; charset=utf-8"),), reason.encode())
