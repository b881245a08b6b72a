"""Cross-origin requests: which origins a browser may call this host from.

The rules are the original's, but for `*` with credentials, which makes the
original's host crash: here it means "any origin", by naming the caller's.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from hubbub.functions.response import Headers, Response

logger = logging.getLogger("hubbub.functions")

_MOST_NOTED = 100  # origins that are remembered, so that a peer cannot fill memory or log
_MOST_SHOWN = 200  # characters of an origin
_SIGNALR = "x-signalr-user-agent"  # a header that browsers ask leave for
_ALLOW_ORIGIN = b"access-control-allow-origin"
_OURS = frozenset({_ALLOW_ORIGIN, b"access-control-allow-credentials"})
_VARY = (b"vary", b"Origin")
_ANY_WITH_CREDENTIALS = (
    "CORS allows any origin (*) together with credentials, which browsers and Azure refuse. This "
    "host answers with the caller's own origin instead, which is fit for development only. Name "
    "the origins in Host.CORS of local.settings.json, for example http://localhost:3000."
)


@dataclass(frozen=True, slots=True)
class CorsPolicy:
    """The origins allowed, and whether cookies may come with a request."""

    origins: frozenset[str] = frozenset()
    credentials: bool = False

    @property
    def is_on(self) -> bool:
        """Whether there is any origin to allow. Otherwise nothing is added or answered here."""
        return bool(self.origins)

    def warnings(self) -> list[str]:
        """What the operator should know about this policy."""
        return [_ANY_WITH_CREDENTIALS] if self.credentials and "*" in self.origins else []

    def preflight(self, method: str, headers: Mapping[str, str]) -> Response | None:
        """The answer to a preflight request, or None if the request is none.

        Like every answer it still goes through `apply`, which names the origin.
        """
        wanted = headers.get("access-control-request-method")
        if not self.is_on or method != "OPTIONS" or "origin" not in headers or wanted is None:
            return None
        if not self.allows(headers["origin"]):
            return Response(204)
        granted = [(b"access-control-allow-methods", wanted.encode("latin-1"))]
        asked = headers.get("access-control-request-headers")
        if asked:
            granted.append((b"access-control-allow-headers", asked.encode("latin-1")))
        if headers.get("access-control-request-private-network") == "true":
            # Browsers ask this when a public page calls a local address.
            granted.append((b"access-control-allow-private-network", b"true"))
        return Response(204, tuple(granted))

    def allows(self, origin: str) -> bool:
        """Whether pages of `origin` may call."""
        return "*" in self.origins or origin in self.origins

    def names(self, origin: str) -> bool:
        """Whether the operator has named `origin`; `*` names nobody."""
        return origin in self.origins

    def headers(self, origin: str | None) -> list[tuple[bytes, bytes]]:
        """What is added to a response for a request from `origin`; nothing if it is not allowed."""
        if origin is None or not self.is_on:
            return []
        if "*" in self.origins and not self.credentials:
            return [(_ALLOW_ORIGIN, b"*")]
        if not self.allows(origin):
            return [_VARY]
        granted = [_VARY, (_ALLOW_ORIGIN, origin.encode("latin-1"))]
        if self.credentials:
            granted.append((b"access-control-allow-credentials", b"true"))
        return granted

    def apply(self, response: Response, origin: str | None) -> Response:
        """The response with the policy's headers in place of those that the function has set."""
        granted = self.headers(origin)
        if not granted:
            return response
        kept = [pair for pair in response.headers if pair[0] not in _OURS]
        return Response(response.status, (*kept, *granted), response.body)


class Strangers:
    """Says once for each origin that its pages cannot read the answers, and what to change.

    A browser tells only the page's own console, and not what the host would have to allow.
    """

    def __init__(self) -> None:
        self._noted: set[str] = set()

    def look(self, request: Mapping[str, str], answer: Headers) -> None:
        """Look at an answer to a request with an `origin`."""
        origin = request["origin"]
        if origin in self._noted or len(self._noted) >= _MOST_NOTED or is_own(origin, request):
            return
        names = {name for name, _ in answer}
        shown = origin[:_MOST_SHOWN]
        if _ALLOW_ORIGIN not in names:
            self._noted.add(origin)
            logger.warning(
                "A page of %s called, and its browser withholds the answer from it: CORS does not "
                "allow that origin. Start with --cors %s --cors-credentials, or write it into "
                "Host.CORS of local.settings.json; on Azure it is in the CORS settings.",
                shown,
                shown,
            )
        elif b"access-control-allow-credentials" not in names and _is_signalr(request):
            self._noted.add(origin)
            logger.warning(
                "A SignalR client on a page of %s called, which sends credentials, and CORS does "
                "not allow these. Start with --cors %s --cors-credentials, or write "
                '"CORSCredentials": true beside Host.CORS in local.settings.json; or tell the '
                "client withCredentials: false.",
                shown,
                shown,
            )


def is_own(origin: str, request: Mapping[str, str]) -> bool:
    """Whether a page of `origin` came from this host itself."""
    return origin.partition("://")[2] == request.get("host")


def _is_signalr(request: Mapping[str, str]) -> bool:
    asked = request.get("access-control-request-headers", "")
    return _SIGNALR in request or _SIGNALR in asked.lower()
