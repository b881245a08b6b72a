"""The access token of a hub client: where it comes from, and which one is in use. Never logged."""

import inspect
from collections.abc import Awaitable, Callable

from hubbub.client.failures import ConnectError

__all__ = ["Credentials", "TokenSource"]

# A token; or what gives one, called again for every negotiation and once after each 401.
TokenSource = str | Callable[[], str | Awaitable[str | None] | None] | None


class Credentials:
    """The token that requests carry."""

    __slots__ = ("_source", "_token")

    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self._token = source if isinstance(source, str) else None

    def __repr__(self) -> str:
        return f"Credentials(token={'set' if self._token else None})"

    @property
    def can_refresh(self) -> bool:
        """Whether asking again may give another token."""
        return callable(self._source)

    @property
    def headers(self) -> dict[str, str]:
        """The Authorization header, nothing without a token."""
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    async def refresh(self) -> None:
        """Ask the source for a token. Raises `ConnectError` where it fails."""
        if not callable(self._source):
            return
        try:
            token = self._source()
            self._token = await token if inspect.isawaitable(token) else token
        except Exception as error:
            # The app's own code: its failure costs this attempt to connect and not the client.
            raise ConnectError(f"The access token could not be had: {error}") from error

    def replace(self, token: str) -> None:
        """Use the token of a negotiate redirect, which no source can renew."""
        self._source = None
        self._token = token
