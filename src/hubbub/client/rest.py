"""One REST call to a service: address, token, body, and what its answer means. No retries here."""

import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from hubbub.errors import ServiceError
from hubbub.protocol.endpoints import Endpoint
from hubbub.protocol.tokens import issue_rest_token

__all__ = ["API_VERSION", "RestClient", "encode_invocation"]

API_VERSION: Final = "2024-12-01"
_TIMEOUT: Final = 100.0  # seconds, as in the Azure SDKs
_encoder: Final = msgspec.json.Encoder()


class RestClient:
    """Calls the REST API of one service. Its HTTP connections open with the first call."""

    def __init__(self, endpoint: Endpoint, *, timeout: float = _TIMEOUT) -> None:
        self.endpoint = endpoint
        self._timeout = aiohttp.ClientTimeout(total=timeout)
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
        content_type: str = "application/json; charset=utf-8",
        absent: Mapping[str, bool] | None = None,
    ) -> bool:
        """Call `{hub}/{path…}/{verb}`; each of `path` is one segment and is escaped here.

        Returns true for any 2xx. `absent` maps values of `x-ms-error-code` that make a 404 an
        answer rather than a failure to the value returned. Raises `ServiceError`.
        """
        segments = "/".join(("api", "hubs", *map(_segment, (hub.lower(), *path)), verb))
        url = f"{self.endpoint.server_base}{segments.rstrip('/')}"
        token = issue_rest_token(
            self.endpoint, url, now=int(time.time()), server_name=self._server_name
        )
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = content_type
        full = f"{url}?{_query([('api-version', API_VERSION), *query])}"
        try:
            async with self._session().request(
                method,
                URL(full, encoded=True),  # a user id may hold an escaped slash
                data=body,
                headers=headers,
                skip_auto_headers=("Content-Type",),  # where there is no body, as the SDKs do
                allow_redirects=False,
            ) as response:
                return await _outcome(response, url, absent or {})
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            raise ServiceError(
                f"An error happened when making request to {url}: {reason}. Is the service of the "
                f"connection string, {self.endpoint.url}, running and reachable from here?"
            ) from error

    async def close(self) -> None:
        """Close the HTTP connections. The next call would open new ones."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None or self._http.closed:
            self._http = aiohttp.ClientSession(timeout=self._timeout)
        return self._http


def encode_invocation(target: str, arguments: Sequence[Any]) -> bytes:
    """The JSON body of a send, member names as the Azure SDKs write them."""
    return _encoder.encode({"Target": target, "Arguments": list(arguments)})


async def _outcome(response: aiohttp.ClientResponse, url: str, absent: Mapping[str, bool]) -> bool:
    if response.status < 300:
        await response.read()
        return True
    code = response.headers.get("x-ms-error-code")
    if response.status == 404 and code is not None and code.lower() in absent:
        return absent[code.lower()]
    text = (await response.content.read(4096)).decode(errors="replace").strip()
    raise ServiceError(
        f"{_explain(response, text)} Request Uri: {url}", status=response.status, code=code
    )


def _explain(response: aiohttp.ClientResponse, text: str) -> str:
    status = response.status
    inner = f"Response status code does not indicate success: {status} ({response.reason})."
    if status == 400:
        return f"Invalid argument. {text or inner}"
    if status == 401:
        challenge = response.headers.get("WWW-Authenticate", "")
        return (
            f"Authorization failed ({challenge}). Check that the AccessKey of the connection "
            "string is one of the service's."
        )
    if status == 404:
        return f"Unable to access SignalR service. {inner} Check the Endpoint. {text}".rstrip()
    return f"SignalR service error. {inner} {text}".rstrip()


def _segment(text: str) -> str:
    return quote(text, safe="")


def _query(pairs: Sequence[tuple[str, str]]) -> str:
    return "&".join(f"{_segment(name)}={_segment(value)}" for name, value in pairs)
