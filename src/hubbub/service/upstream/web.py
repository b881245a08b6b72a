"""The HTTP client for apps: pooled, bounded, without cookies, and wary of where it is sent.

It makes one request and says how it ended. Whether to try again is for others to decide.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, AbstractStreamWriter
from aiohttp.payload import BytesPayload
from yarl import URL

from hubbub.service.upstream.guard import GuardedResolver, check_host
from hubbub.service.upstream.outcome import MAX_ANSWER, DeliveryError, Kind

__all__ = ["AppClient", "Reply"]

# Many servers close a connection that has been idle for five seconds; being first avoids a race.
_IDLE_SECONDS: Final = 4.0
_MAX_REDIRECTS: Final = 3
_SAME_METHOD: Final = frozenset({307, 308})  # the other redirects would turn POST into GET
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class Reply:
    """What an app has answered: status, reason phrase, content type, body, and WWW-Authenticate."""

    __slots__ = ("body", "challenge", "kind", "reason", "status")

    def __init__(
        self, status: int, reason: str, kind: str, body: bytes, challenge: str = ""
    ) -> None:
        self.status = status
        self.reason = reason
        self.kind = kind
        self.body = body
        self.challenge = challenge

    def __repr__(self) -> str:
        return f"Reply({self.status}, {len(self.body)} bytes)"


class _Reported(BytesPayload):
    """A body of which somebody wants to know when it has been written."""

    def __init__(self, value: bytes, written: Callable[[], None]) -> None:
        super().__init__(value)
        self._written = written

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        """Write it, then say so."""
        await super().write_with_length(writer, content_length)
        self._written()


class AppClient:
    """Sends POST requests to apps. Needs no opening; `close` ends its connections."""

    def __init__(self, resolver: AbstractResolver | None = None) -> None:
        """`resolver` stands in for the system's."""
        self.guard = GuardedResolver(resolver)
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"AppClient(open={self._session is not None})"

    async def close(self) -> None:
        """Close all connections to apps."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        timeout: float | None,  # noqa: ASYNC109 - it is a setting of the request
        limit: int = MAX_ANSWER,
        has_chosen_host: bool = False,
        written: Callable[[], None] | None = None,
    ) -> Reply:
        """Send and read the answer. Raises `DeliveryError` where there is none to be had.

        `timeout` is in seconds and for all of it, without a limit where it is `None`; `limit` is
        the answer's, in bytes. A client `has_chosen_host` where a name that it gave is part of it.
        `written` is called when the request is on its way.
        """
        data = body if written is None else _Reported(body, written)
        try:
            target = URL(url, encoded=True)
            async with asyncio.timeout(timeout):
                if has_chosen_host:
                    await self.guard.check_chosen(target.host or "")
                return await self._follow(target, headers, data, limit)
        except TimeoutError:
            raise DeliveryError(
                Kind.TIMEOUT, f"There was no whole answer after {timeout:g} seconds."
            ) from None
        except aiohttp.ClientSSLError as error:
            raise DeliveryError(Kind.NO_TLS, str(error)) from None
        except aiohttp.ClientConnectorError as error:
            raise DeliveryError(Kind.UNREACHABLE, str(error)) from None
        except aiohttp.ClientPayloadError as error:
            raise DeliveryError(Kind.CUT_OFF, f"The answer ended early: {error}") from None
        except (aiohttp.InvalidURL, ValueError):
            # The error's own text is the URL, and that may hold secrets.
            raise DeliveryError(Kind.BAD_URL, "That is no URL that can be called.") from None
        except aiohttp.ClientResponseError as error:
            raise DeliveryError(Kind.BROKEN, f"No HTTP: {_first_line(error.message)}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise DeliveryError(Kind.BROKEN, f"{type(error).__name__}: {error}") from None

    async def _follow(
        self, url: URL, headers: Mapping[str, str], body: bytes | BytesPayload, limit: int
    ) -> Reply:
        for _ in range(_MAX_REDIRECTS + 1):
            host = url.host or ""
            check_host(host, is_literal=host.lower() in self.guard.literal_hosts)
            async with self._opened().post(
                url, data=body, headers=headers, allow_redirects=False
            ) as response:
                if response.status not in _REDIRECTS:
                    return Reply(
                        response.status,
                        response.reason or "",
                        response.content_type,
                        await _read(response, limit),
                        response.headers.get("WWW-Authenticate", ""),
                    )
                url = _redirected(url, response)
        raise DeliveryError(Kind.REDIRECT, f"It redirects more than {_MAX_REDIRECTS} times.")

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=self.guard,
                limit=0,  # who calls has a limit of its own, and a queue that is seen
                keepalive_timeout=_IDLE_SECONDS,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                # What is small on the wire must not be large here.
                auto_decompress=False,
                headers={"User-Agent": "hubbub", "Accept-Encoding": "identity"},
                skip_auto_headers=("Accept",),
            )
        return self._session


def _redirected(url: URL, response: aiohttp.ClientResponse) -> URL:
    """Where to go on. Only the same server may say so, and only in a way that keeps the POST."""
    location = response.headers.get("Location", "")
    try:
        target = url.join(URL(location))
        is_same = target.origin() == url.origin()
        shown = target.with_query(None).with_fragment(None).with_user(None)
    except ValueError:
        raise DeliveryError(
            Kind.REDIRECT, "It redirects to what is no URL of a web server."
        ) from None
    if not is_same:
        raise DeliveryError(Kind.REDIRECT, f"It redirects to another host: {shown}.")
    if response.status not in _SAME_METHOD:
        raise DeliveryError(
            Kind.REDIRECT, f"It redirects with {response.status}, which drops the body, to {shown}."
        )
    return target


def _first_line(text: str) -> str:
    """The parser's complaint without the bytes that it quotes below."""
    return text.strip().partition("\n")[0].rstrip(":")


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    announced = response.content_length
    if announced is not None and announced <= limit:
        return await response.read()
    pieces = []
    size = 0
    if announced is None:
        async for piece in response.content.iter_any():
            size += len(piece)
            if size > limit:
                break
            pieces.append(piece)
        else:
            return b"".join(pieces)
    response.close()
    raise DeliveryError(Kind.TOO_LARGE, f"The answer is larger than {limit} bytes.")
