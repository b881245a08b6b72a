"""What went wrong between the service and an app, in words: what happened and what to change.

The log, `hubbub upstream check` and `trigger` all say it with these sentences.
"""

from typing import Final
from urllib.parse import urlsplit

from hubbub.protocol import challenge
from hubbub.protocol.webhooks import CONNECTIONS, Event
from hubbub.service.upstream.outcome import Kind, Outcome

__all__ = ["explain"]

FUNCTIONS_PATH: Final = "/runtime/webhooks/signalr"
_SHOWN_NAME: Final = 100  # characters of a method name in a sentence

_ADVICE: Final = {
    Kind.UNREACHABLE: "Nothing listens there. Start the app, or correct host and port in the "
    "template's UrlTemplate; in a container, localhost is the container itself.",
    Kind.NO_TLS: "Write http:// in the template's UrlTemplate where the app has no TLS. Where it "
    "has, this machine has to trust its certificate: set SSL_CERT_FILE to that of your own "
    "authority.",
    Kind.BROKEN: "The app ended the connection or does not speak HTTP there. Look at its log, and "
    "check whether the template says http:// where the app wants https://.",
    Kind.CUT_OFF: "Look at the app's log, and at the proxy's if there is one in between.",
    Kind.TIMEOUT: "Make the app answer sooner, or raise Timeout (in seconds) in the template.",
    Kind.TOO_LARGE: "Answer with less, or send the data by REST in pieces.",
    Kind.REDIRECT: "Put the final URL into the template's UrlTemplate: an event is not sent on to "
    "another host, and a redirect that is not 307 or 308 would lose it.",
    Kind.FORBIDDEN_ADDRESS: "Correct the host in the template's UrlTemplate, or what DNS says "
    "about it.",
    Kind.BAD_URL: "Correct the template's UrlTemplate.",
    Kind.NO_SECRET: "Correct the reference in the template, or give this service the right to "
    "read the secret.",
    Kind.NO_TOKEN: "Correct Auth in the template or Identity in the settings.",
    Kind.UNUSABLE: "Answer 200 with a framed completion in the client's encoding, 200 with "
    "nothing, or 204. In Python, hubbub.protocol.webhooks makes the completion.",
    Kind.NO_TEMPLATE: "Add a template whose patterns hold these names; `hubbub upstream check` "
    "says why each of the others does not match.",
}
_STATUS_ADVICE: Final = {
    400: "The app does not take this as a webhook: the URL may be another endpoint's.",
    404: "Nothing is at this path. Correct the path in the template's UrlTemplate; that of a "
    f"function app is {FUNCTIONS_PATH}.",
    405: "The path exists but takes no POST. Correct the path in the template's UrlTemplate.",
    408: "The app waited for something in vain. Look at its log.",
    413: "The app takes no body as large as this one. Raise its limit.",
    415: "The app takes neither application/json nor application/x-msgpack at this path. A "
    "client that speaks MessagePack needs the latter.",
    429: "The app refuses so many requests. Let it take more, or set Retries in the template.",
    431: "The app takes no headers as large as these: claims, query or method name are long.",
}

_CHALLENGE_ADVICE: Final = {
    challenge.SYSTEM_KEY: "The function app wants its system key in the URL: "
    f"{FUNCTIONS_PATH}?code=KEY, where KEY is the system key signalr_extension.",
    challenge.ACCESS_KEY: "The app has checked the signature with another access key than this "
    "service has: compare the AccessKey in its connection string.",
    challenge.NO_ACCESS_KEY: "The app has no access key to check the signature with: correct the "
    "connection string in its settings; its log says what is wrong with it.",
    challenge.FULL_SIGNATURE: "The app wants a signature of time and body that fits: set SignBody "
    "in the template, compare the AccessKey, and compare the clocks.",
}


def explain(outcome: Outcome, event: Event) -> str:
    """One or two sentences for an outcome that is not a success."""
    name = event.event if len(event.event) <= _SHOWN_NAME else f"{event.event[:_SHOWN_NAME]}…"
    if outcome.kind is Kind.NO_TEMPLATE:
        what = f"no upstream template takes {event.category}/{name!r} of hub {event.hub!r}."
        return f"{what} {_ADVICE[Kind.NO_TEMPLATE]}"
    if outcome.kind is Kind.STATUS:
        reason = f" {outcome.reason}" if outcome.reason else ""
        what = f"{outcome.where} answered {outcome.status}{reason}."
        return f"{what} {_status_advice(outcome, event, name)}"
    return f"{outcome.where}: {outcome.detail.rstrip('.')}. {_ADVICE[outcome.kind]}"


def _status_advice(outcome: Outcome, event: Event, name: str) -> str:
    status = outcome.status
    is_functions = urlsplit(outcome.where).path.rstrip("/").endswith(FUNCTIONS_PATH)
    if status in {401, 403}:
        return _refusal_advice(outcome, event, is_functions)
    if status == 404 and is_functions:
        return (
            f"The function app has no function for this: a signalRTrigger with hubName "
            f"{event.hub!r}, category {event.category!r} and event {name!r}."
        )
    if status >= 500:
        return "The app failed. Look at its log for the exception."
    return _STATUS_ADVICE.get(status, "Only 200 and 204 mean that the app has taken the event.")


def _refusal_advice(outcome: Outcome, event: Event, is_functions: bool) -> str:
    if outcome.challenge in _CHALLENGE_ADVICE:
        return _CHALLENGE_ADVICE[outcome.challenge]
    if (
        "signature" in outcome.reason.lower()
        or "signature" in outcome.body[:1000].decode(errors="replace").lower()
    ):
        return _CHALLENGE_ADVICE[challenge.ACCESS_KEY]
    if outcome.status == 403 and event.category == CONNECTIONS:
        return "The app refuses this connection, or its function for `connected` has failed."
    if is_functions:
        return (
            f"{_CHALLENGE_ADVICE[challenge.SYSTEM_KEY]} If it is there, a sign-in in front of the "
            "app refuses, or the app has another access key than this service."
        )
    return (
        "The app wants other credentials: set Auth in the template, or a key in the URL. If it "
        "checks signatures, compare the AccessKey in its connection string."
    )
