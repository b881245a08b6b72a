"""Cross-origin requests: which origins a browser may call this host from.

The rules are the original's, but for `*` with credentials, which makes the
original's host crash: here it means "any origin", by naming the caller's.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from hubbub.functions.response import Response

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
