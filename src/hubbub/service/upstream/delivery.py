"""One delivery: from an event to its outcome, over template, secrets, token, request and retries.

It never raises for what an app does. Who is waiting for the outcome is not its affair.
"""

import asyncio
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final

from hubbub.errors import ConfigError
from hubbub.protocol.upstreamsettings import UpstreamSettings
from hubbub.protocol.upstreamtemplate import Template, check_absolute, choose
from hubbub.protocol.webhooks import (
    CONNECTIONS,
    FULL_SIGNATURE,
    Event,
    event_headers,
    full_signature,
)
from hubbub.service.upstream.authentication import Tokens, token_source
from hubbub.service.upstream.issuer import ServiceIssuer
from hubbub.service.upstream.outcome import DeliveryError, Kind, Outcome
from hubbub.service.upstream.secret import Secrets
from hubbub.service.upstream.slots import Slot

if TYPE_CHECKING:
    from hubbub.service.upstream.web import AppClient

__all__ = ["Courier", "Written"]

_FIRST_PAUSE: Final = 0.5  # seconds before the first repetition; it doubles with each
_LONGEST_PAUSE: Final = 10.0
_TEMPORARY: Final = frozenset({408, 429, 500, 502, 503, 504})
# No part of the request has reached the app, so sending it again repeats nothing.
_NEVER_SENT: Final = frozenset({Kind.UNREACHABLE, Kind.NO_TLS, Kind.NO_TOKEN, Kind.NO_SECRET})
_UNANSWERED: Final = _NEVER_SENT | {Kind.BROKEN, Kind.CUT_OFF, Kind.TIMEOUT}

Pause = Callable[[float], Awaitable[None]]
Written = Callable[[], None]


class Courier:
    """Delivers events by the settings in force. `close` ends its connections to apps."""

    def __init__(
        self,
        keys: Sequence[str],
        settings: UpstreamSettings,
        *,
        url: str = "",
        client: "AppClient | None" = None,
        pause: Pause = asyncio.sleep,
    ) -> None:
        """`url` is the service's own address, the issuer of the tokens that it issues."""
        self._keys = keys
        self._url = url
        self._client = client
        self._literal_hosts: frozenset[str] = frozenset()
        self._pause = pause
        self.settings = settings
        self.secrets = Secrets(settings.secrets)
        self.tokens = self._new_tokens()
        self.use(settings)

    def __repr__(self) -> str:
        return f"Courier(templates={len(self.settings.templates)}, {self.tokens!r})"

    def use_keys(self, keys: Sequence[str]) -> None:
        """Sign with other keys from here on."""
        self._keys = keys

    def use(self, settings: UpstreamSettings) -> None:
        """Go by other settings from here on; what is on its way is not touched."""
        has_new_identity = settings.identity != self.settings.identity
        self.settings = settings
        self.secrets = Secrets(settings.secrets)
        # The service's own key is known to apps; it changes only if the identity does.
        if has_new_identity or not isinstance(self.tokens.source, ServiceIssuer):
            self.tokens = self._new_tokens()
        hosts = {template.literal_host for template in settings.templates}
        if settings.identity.url is not None:
            hosts.add(Template(url_template=settings.identity.url).literal_host)
        self._trust(frozenset(host.lower() for host in hosts if host))

    @property
    def client(self) -> "AppClient":
        """The HTTP client for apps. It is loaded when it is first needed: that takes a while."""
        if self._client is None:
            from hubbub.service.upstream.web import AppClient

            self._client = AppClient()
            self._trust(self._literal_hosts)
        return self._client

    async def close(self) -> None:
        """Close the connections to apps."""
        if self._client is not None:
            await self._client.close()

    def template_for(self, event: Event) -> Template | None:
        """The template that takes `event`."""
        return choose(self.settings.templates, event.hub, event.category, event.event)

    async def deliver(
        self,
        event: Event,
        template: Template,
        content_type: str,
        body: bytes,
        *,
        slot: Slot | None = None,
        written: Written | None = None,
    ) -> Outcome:
        """Send `event` where `template` says, again where that is safe and asked for.

        A `slot` that has been taken for it is free for others during the pauses. `written` is
        called each time that the request is on its way to the app.
        """
        start = time.monotonic()
        headers = event_headers(event, self._keys, content_type)
        if template.retries:
            headers["Idempotency-Key"] = secrets.token_hex(16)
        repeated = 0
        while True:
            outcome = await self._try(event, template, headers, body, written)
            if repeated >= template.retries or not _is_repeatable(event, outcome):
                break
            await self._rest(_pause_before(repeated), slot)
            repeated += 1
        return Outcome(
            kind=outcome.kind,
            where=template.shown,
            status=outcome.status,
            reason=outcome.reason,
            challenge=outcome.challenge,
            body=outcome.body,
            detail=outcome.detail,
            attempts=repeated + 1,
            seconds=time.monotonic() - start,
        )

    async def _rest(self, seconds: float, slot: Slot | None) -> None:
        if slot is None:
            await self._pause(seconds)
            return
        slot.leave()
        await self._pause(seconds)
        await slot.take()

    async def _try(
        self,
        event: Event,
        template: Template,
        headers: dict[str, str],
        body: bytes,
        written: Written | None,
    ) -> Outcome:
        try:
            filled, url = await self._filled(event, template)
            if template.resource is not None:
                headers["Authorization"] = await self.tokens.authorization(template.resource)
            if template.sign_body:
                headers[FULL_SIGNATURE] = full_signature(
                    headers, body, self._keys, now=int(time.time())
                )
            reply = await self.client.post(
                url,
                headers,
                body,
                # A stream is answered at its end; who waits for its items has a limit of its own.
                timeout=template.timeout if event.stream_id is None else None,
                has_chosen_host=filled.literal_host is None,
                written=written,
            )
        except DeliveryError as error:
            return Outcome(kind=error.kind, detail=str(error))
        taken = reply.status in {200, 204} or (reply.status == 202 and event.stream_id is not None)
        return Outcome(
            kind=Kind.ANSWERED if taken else Kind.STATUS,
            status=reply.status,
            reason=reply.reason,
            challenge=reply.challenge,
            body=reply.body,
        )

    async def _filled(self, event: Event, template: Template) -> tuple[Template, str]:
        """The template with secrets in place, and its URL for `event`."""
        text = await self.secrets.fill(template.url_template)
        if text is template.url_template:
            return template, template.url(event.hub, event.category, event.event)
        filled = Template(url_template=text)
        url = filled.url(event.hub, event.category, event.event)
        try:
            check_absolute(url, "The template with its secrets", template.shown)
        except ConfigError as error:
            raise DeliveryError(Kind.BAD_URL, str(error)) from None
        if filled.literal_host is not None:
            # A host from a secret is the operator's as well.
            self._trust(self._literal_hosts | {filled.literal_host})
        return filled, url

    def _trust(self, hosts: frozenset[str]) -> None:
        """Let requests go to `hosts` wherever they are: the operator has written them."""
        self._literal_hosts = hosts
        if self._client is not None:
            self._client.guard.literal_hosts = hosts

    def _new_tokens(self) -> Tokens:
        identity = self.settings.identity
        return Tokens(
            token_source(identity, url=self._url, client=lambda: self.client, secrets=self.secrets)
        )


def _is_repeatable(event: Event, outcome: Outcome) -> bool:
    """Whether sending again is safe, and may end better.

    Connection events say what is so, and may be heard twice. A message might do its work twice.
    """
    if event.category != CONNECTIONS:
        return outcome.kind in _NEVER_SENT
    return outcome.kind in _UNANSWERED or outcome.status in _TEMPORARY


def _pause_before(repeated: int) -> float:
    """Seconds, spread so that connections that failed together do not come back together."""
    longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * float(2**repeated))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - it is no secret
