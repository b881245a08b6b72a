"""One REST call to a service: address, token, body, what its answer means, and trying again."""

import asyncio
import platform
import secrets
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from hubbub import __version__
from hubbub.client.failures import why
from hubbub.client.identity import KEY_LIFETIME, Identity, TemporaryKey
from hubbub.client.restretry import RestRetry
from hubbub.errors import ServiceError
from hubbub.protocol.endpoints import Endpoint
from hubbub.protocol.tokens import issue_rest_token

__all__ = ["API_VERSION", "JSON_TYPE", "RestClient", "encode_invocation"]

API_VERSION: Final = "2024-12-01"
JSON_TYPE: Final = "application/json; charset=utf-8"
_TIMEOUT: Final = 100.0  # seconds, as in the Azure SDKs
_MAX_ANSWER: Final = 64 * 1024 * 1024  # bytes; a page of a listing has far less
_SHOWN_BYTES: Final = 4096  # of an answer's body in an error
# By this name, and not User-Agent, the service learns which client calls.
_PRODUCT: Final = {
    "Asrs-User-Agent": f"Hubbub/{__version__} (Python {platform.python_version()}; "
    f"{platform.system()}; {platform.machine()})"
}
_encoder: Final = msgspec.json.Encoder()
_Entry = TypeVar("_Entry")
_Value = TypeVar("_Value")


class _NoAnswerError(ServiceError):
    """No answer in time, which may be different next time."""


class _Answer(msgspec.Struct, frozen=True):
    """A successful answer, or a 404 that is one: then `absent` is what the caller gave for it."""

    body: bytes
    headers: Mapping[str, str]
    absent: bool | None = None


class _Page(msgspec.Struct, Generic[_Entry], frozen=True, rename="camel"):
    """One page of a listing, and an address that has the next."""

    value: tuple[_Entry, ...]
    next_link: str | None = None


class RestClient:
    """Calls the REST API of one service. Its HTTP connections open with the first call."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        timeout: float = _TIMEOUT,
        retry: RestRetry | None = None,
        identity: Identity | None = None,
        application: str | None = None,
    ) -> None:
        """Without `retry` every call is made once. `identity` is used in place of a key."""
        self.endpoint = endpoint
        self.application = application
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._retry = retry
        self._identity = identity
        self._key: TemporaryKey | None = None
        self._http: aiohttp.ClientSession | None = None
        self._server_name = f"{socket.gethostname()}_{secrets.token_hex(16)}"

    async def call(
        self,
        method: str,
        hub: str,
        *path: str,
        verb: str = "",
        query: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
        content_type: str = JSON_TYPE,
        absent: Mapping[str, bool] | None = None,
        is_message: bool = False,
    ) -> bool:
        """Call `{hub}/{path…}/{verb}`; each of `path` is one segment and is escaped here.

        Returns true for any 2xx. `absent` maps values of `x-ms-error-code` that make a 404 an
        answer rather than a failure to the value returned. `is_message` is for what must not come
        twice. Raises `ServiceError`.
        """
        url = self._url(hub, path, verb)
        parameters = self._query(query)
        answer = await self._repeated(
            method, url, parameters, body, content_type, absent or {}, is_message=is_message
        )
        return True if answer.absent is None else answer.absent

    async def read(
        self,
        kind: type[_Value],
        method: str,
        hub: str,
        *path: str,
        verb: str = "",
        query: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
        is_message: bool = False,
    ) -> _Value:
        """Call and return what the JSON that is answered says, as a `kind`."""
        url = self._url(hub, path, verb)
        answer = await self._repeated(
            method, url, self._query(query), body, JSON_TYPE, {}, is_message=is_message
        )
        value: _Value = _decoded(answer.body, url, kind)
        return value

    async def count(self, hub: str, *path: str, query: Sequence[tuple[str, str]] = ()) -> int:
        """Ask how many entries a listing has. Hubbub's own: other services answer otherwise."""
        url = self._url(hub, path, "")
        answer = await self._repeated("HEAD", url, self._query(query), None, JSON_TYPE, {})
        try:
            return int(answer.headers["X-Total-Count"])
        except (KeyError, ValueError):
            raise ServiceError(
                f"The service of {self.endpoint.url} does not count. Request Uri: {url}"
            ) from None

    async def pages(
        self, entry: type[_Entry], hub: str, *path: str, query: Sequence[tuple[str, str]] = ()
    ) -> AsyncIterator[_Entry]:
        """The entries of a listing, page after page."""
        url = self._url(hub, path, "")
        parameters = self._query(query)
        while True:
            answer = await self._repeated("GET", url, parameters, None, JSON_TYPE, {})
            page: _Page[_Entry] = _decoded(answer.body, url, _Page[entry])  # type: ignore[valid-type]
            for each in page.value:
                yield each
            if not page.next_link:
                return
            # Only where in the service it leads: a token must not go anywhere else.
            parameters = page.next_link.partition("#")[0].partition("?")[2]

    async def is_healthy(self) -> bool:
        """Ask the service for its health; false for a server error, else `ServiceError`."""
        url = f"{self.endpoint.server_base}api/health"
        try:
            await self._once("HEAD", url, f"api-version={API_VERSION}", None, JSON_TYPE, {})
        except ServiceError as error:
            if error.status is not None and error.status < 500:
                raise
            return False
        return True

    async def temporary_key(self) -> TemporaryKey | None:
        """The key that the service lends to this identity; `None` without an identity."""
        if self._identity is None:
            return None
        if self._key is None or self._key.expires < time.monotonic():
            url = f"{self.endpoint.server_base}api/v1/auth/accessKey"
            answer = await self._repeated("GET", url, "", None, JSON_TYPE, {})
            found = _decoded(answer.body, url)
            for field in ("KeyId", "AccessKey"):
                if not isinstance(found, dict) or not isinstance(found.get(field), str):
                    raise ServiceError(f"Missing required <{field}> field. Request Uri: {url}")
            expires = time.monotonic() + KEY_LIFETIME
            self._key = TemporaryKey(found["KeyId"], found["AccessKey"], expires)
        return self._key

    async def close(self) -> None:
        """Close the HTTP connections. The next call would open new ones."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    def _url(self, hub: str, path: Sequence[str], verb: str) -> str:
        segments = "/".join(("api", "hubs", *map(_segment, (hub.lower(), *path)), verb))
        return f"{self.endpoint.server_base}{segments.rstrip('/')}"

    def _query(self, pairs: Sequence[tuple[str, str]]) -> str:
        first = [("application", self.application.lower())] if self.application else []
        every = [*first, ("api-version", API_VERSION), *pairs]
        return "&".join(f"{_segment(name)}={_segment(value)}" for name, value in every)

    async def _repeated(
        self,
        method: str,
        url: str,
        query: str,
        body: bytes | None,
        content_type: str,
        absent: Mapping[str, bool],
        *,
        is_message: bool = False,
    ) -> _Answer:
        attempt = 0
        while True:
            try:
                return await self._once(method, url, query, body, content_type, absent)
            except ServiceError as error:
                attempt += 1
                if self._retry is None or not (
                    error.status is not None or isinstance(error, _NoAnswerError)
                ):
                    raise
                delay = self._retry.delay_before(attempt)
                if delay is None or not self._retry.applies(error.status, is_message=is_message):
                    raise
                await asyncio.sleep(delay)

    async def _once(
        self,
        method: str,
        url: str,
        query: str,
        body: bytes | None,
        content_type: str,
        absent: Mapping[str, bool],
    ) -> _Answer:
        headers = {"Authorization": f"Bearer {await self._token(url)}", "Accept": JSON_TYPE[:16]}
        if body is not None:
            headers["Content-Type"] = content_type
        full = f"{url}?{query}" if query else url
        try:
            async with self._session().request(
                method,
                URL(full, encoded=True),  # a user id may hold an escaped slash
                data=body,
                headers=headers,
                skip_auto_headers=("Content-Type",),
                allow_redirects=False,
            ) as response:
                return await _outcome(response, url, absent)
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = why(error)
            kind = _NoAnswerError if isinstance(error, TimeoutError) else ServiceError
            raise kind(
                f"An error happened when making request to {url}: {reason}. Is the service of the "
                f"connection string, {self.endpoint.url}, running and reachable from here?",
                reason=reason,
            ) from error

    async def _token(self, url: str) -> str:
        if self._identity is not None:
            return await self._identity.token()
        now = int(time.time())
        return issue_rest_token(self.endpoint, url, now=now, server_name=self._server_name)

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None or self._http.closed:
            self._http = aiohttp.ClientSession(timeout=self._timeout, headers=_PRODUCT)
        return self._http


def encode_invocation(target: str, arguments: Sequence[Any]) -> bytes:
    """The JSON body of a send, member names as the Azure SDKs write them."""
    return _encoder.encode({"Target": target, "Arguments": list(arguments)})


async def _outcome(
    response: aiohttp.ClientResponse, url: str, absent: Mapping[str, bool]
) -> _Answer:
    if response.status < 300:
        return _Answer(await _read(response, url), response.headers)
    code = response.headers.get("x-ms-error-code")
    if response.status == 404 and code is not None and code.lower() in absent:
        return _Answer(b"", response.headers, absent[code.lower()])
    text = (await response.content.read(_SHOWN_BYTES)).decode(errors="replace").strip()
    reason = _message(text)
    raise ServiceError(
        f"{_explain(response, reason or text)} Request Uri: {url}",
        status=response.status,
        code=code,
        reason=reason,
    )


async def _read(response: aiohttp.ClientResponse, url: str) -> bytes:
    """The whole body, as far as it is not more than anybody can mean."""
    pieces, size = [], 0
    # What counts is what comes out where the answer is compressed, so what it announces does not.
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > _MAX_ANSWER:
            raise ServiceError(
                f"The answer is larger than {_MAX_ANSWER} bytes. Is the Endpoint a service? "
                f"Request Uri: {url}",
                status=response.status,
            )
        pieces.append(piece)
    return b"".join(pieces)


def _message(text: str) -> str | None:
    """What a service says in the body of an error, which is an ErrorDetail of the REST API."""
    try:
        detail = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return None
    message = detail.get("message") if isinstance(detail, dict) else None
    return message if isinstance(message, str) and message else None


def _explain(response: aiohttp.ClientResponse, text: str) -> str:
    status = response.status
    inner = f"Response status code does not indicate success: {status} ({response.reason})."
    if status == 400:
        return f"Invalid argument. {text or inner}"
    if status == 401:
        challenge = response.headers.get("WWW-Authenticate", "")
        return (
            f"Authorization failed ({challenge}). Check that the AccessKey of the connection "
            "string is one of the service's; where an identity is used, that it has a role there "
            f"(a new one counts after up to 30 minutes). {text}".rstrip()
        )
    if status == 404:
        return f"Unable to access SignalR service. {inner} Check the Endpoint. {text}".rstrip()
    return f"SignalR service error. {inner} {text}".rstrip()


def _decoded(body: bytes, url: str, kind: Any = Any) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ServiceError(f"The answer cannot be read: {error}. Request Uri: {url}") from None


def _segment(text: str) -> str:
    return quote(text, safe="")
