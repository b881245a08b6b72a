"""A hub behind Hubbub's own host: what a client and the service are answered, by webhook."""

import hmac
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.functions.apps import HEADER, Answer, call

from hubbub.errors import ConfigError
from hubbub.functions.host import Host

Load = Callable[..., Host]

KEY = "key-of-the-tests-that-is-long-enough"
SETTINGS = {"AzureSignalRConnectionString": f"Endpoint=http://localhost:1;AccessKey={KEY};"}
APP = """
from dataclasses import dataclass
from hubbub import ServerlessHub
from hubbub.serverless import checked_by, requires_claim

@dataclass
class Point:
    x: float
    y: float = 0

def refuse(context):
    raise KeyError("anything")

class Chat(ServerlessHub):
    @requires_claim("admin", "true")
    async def on_connected(self):
        pass

    @requires_claim("admin", "true")
    def on_disconnected(self):
        pass

    async def add(self, first: int, second: int = 1) -> int:
        return first + second

    def add_plainly(self, first: int, second: int = 1) -> int:
        return first + second

    async def mirror(self, point: Point) -> Point:
        return Point(-point.x, point.y)

    async def is_set(self) -> bool:
        return True

    @requires_claim("admin", "true")
    async def broadcast(self, text: str) -> str:
        return text

    @checked_by(refuse)
    async def never(self) -> None:
        pass

    def _secret(self) -> str:
        return "the secret"

chat = Chat().register(app)
"""


async def tell(
    host: Host,
    event: str,
    *arguments: Any,
    category: str = "messages",
    kind: str = "application/json",
    claims: str = "",
    hub: str = "chat",
    user: str = "",
    waits: bool = True,
    stream: bool = False,
) -> Answer:
    """One webhook of a service."""
    signature = "sha256=" + hmac.digest(KEY.encode(), b"c1", "sha256").hex()
    headers = {
        "Content-Type": kind,
        "X-ASRS-Connection-Id": "c1",
        "X-ASRS-Hub": hub,
        "X-ASRS-Category": category,
        "X-ASRS-Event": event,
        "X-ASRS-Signature": signature,
        **({"X-ASRS-User-Claims": claims} if claims else {}),
        **({"X-ASRS-User-Id": user} if user else {}),
        **({"X-Hubbub-Stream-Id": "7"} if stream else {}),
    }
    message: Any = {"type": 1, "target": event, "arguments": arguments}
    if category == "connections":
        body = json.dumps({"type": 10 if event == "connected" else 11}).encode()
    elif kind == "application/json":
        body = json.dumps(message | ({"invocationId": "7"} if waits else {})).encode()
    else:
        body = msgspec.msgpack.encode([1, {}, "7" if waits else None, event, arguments, []])
    url = "/runtime/webhooks/signalr"
    return await call(host, "POST", url, headers=list(headers.items()), body=body)


def completion(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200
    found: dict[str, Any] = json.loads(answer.body.removesuffix(b"\x1e"))
    return {key: found[key] for key in found if key not in {"type", "invocationId"}}


@pytest.mark.parametrize("method", ["add", "addPlainly", "ADD"])
async def test_a_client_gets_what_the_method_returns(load: Load, method: str) -> None:
    host = load(APP, SETTINGS)

    assert completion(await tell(host, method, 1, 2)) == {"result": 3}
    assert completion(await tell(host, method, 1)) == {"result": 2}


async def test_results_are_json_of_any_kind(load: Load) -> None:
    host = load(APP, SETTINGS)

    assert completion(await tell(host, "mirror", {"x": 2})) == {"result": {"x": -2.0, "y": 0}}
    assert completion(await tell(host, "isSet")) == {"result": True}


async def test_a_client_of_messagepack_is_answered_in_it(load: Load) -> None:
    host = load(APP, SETTINGS)

    answer = await tell(host, "mirror", {"x": 2}, kind="application/x-msgpack")

    assert msgspec.msgpack.decode(answer.body[1:]) == [3, {}, "7", 3, {"x": -2.0, "y": 0}]


@pytest.mark.parametrize(
    ("method", "arguments", "error"),
    [
        ("add", ["1"], "ArgumentError: Argument 1 of add, 'first', does not fit: Expected"),
        ("add", [], "ArgumentError: add takes 1 to 2 arguments (first, second), but was"),
        ("addPlainly", [1, 2, 3], "ArgumentError: addPlainly takes 1 to 2 arguments (first,"),
        ("broadcast", ["hi"], "RefusedError: broadcast needs the claim 'admin' with the value"),
        ("never", [], "KeyError: 'anything'"),
    ],
)
async def test_what_does_not_fit_or_is_refused_becomes_the_invocations_error(
    load: Load,
    method: str,
    arguments: list[Any],
    error: str,
) -> None:
    host = load(APP, SETTINGS)

    assert completion(await tell(host, method, *arguments))["error"].startswith(error)
    answer = await tell(host, method, *arguments, waits=False)
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize(
    ("method", "arguments", "options", "words"),
    [
        (
            "add",
            [],
            {},
            "ArgumentError: add takes 1 to 2 arguments (first, second), but was called",
        ),
        ("addPlainly", ["1"], {}, "ArgumentError: Argument 1 of addPlainly, 'first', does not fit"),
        ("broadcast", ["hi"], {}, "RefusedError: broadcast needs the claim 'admin'"),
        ("isSet", [], {"stream": True}, "StreamingError: The client attempted to invoke the"),
    ],
)
async def test_what_a_client_does_wrong_is_one_line_with_its_connection(
    load: Load,
    caplog: pytest.LogCaptureFixture,
    method: str,
    arguments: list[Any],
    options: dict[str, Any],
    words: str,
) -> None:
    host = load(APP, SETTINGS)

    await tell(host, method, *arguments, **options)

    (record,) = [each for each in caplog.records if "Executed 'Functions." in each.message]
    assert record.levelname == "WARNING"
    assert record.exc_info is None
    assert f"): connection c1: {words}" in record.message


async def test_what_the_app_does_wrong_has_its_traceback(
    load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    host = load(APP, SETTINGS)

    await tell(host, "never")

    (record,) = [each for each in caplog.records if "Executed 'Functions." in each.message]
    assert record.levelname == "ERROR"
    assert record.exc_info is not None


async def test_a_client_whose_claims_suffice_gets_through(load: Load) -> None:
    host = load(APP, SETTINGS)

    answer = await tell(host, "broadcast", "hi", claims="name: Ann, admin: true")

    assert completion(answer) == {"result": "hi"}


async def test_a_refused_connection_is_answered_with_403_and_its_end_with_200(
    load: Load,
) -> None:
    host = load(APP, SETTINGS)
    answers = [
        await tell(host, event, category="connections", claims=claims)
        for event in ("connected", "disconnected")
        for claims in ("", "admin: true")
    ]

    assert [answer.status for answer in answers] == [403, 200, 200, 200]


@pytest.mark.parametrize(
    "method",
    ["_secret", "secret", "Secret", "clients", "negotiate", "close", "register", "__init__"],
)
async def test_what_is_no_public_method_of_the_hub_cannot_be_called(
    load: Load, method: str
) -> None:
    host = load(APP, SETTINGS)

    assert (await tell(host, method)).status == 404


async def test_a_hub_that_is_wrong_keeps_the_app_from_loading_and_says_why(load: Load) -> None:
    with pytest.raises(ConfigError, match=r"function_app\.py:\d+.*Chat\.clients hides what every"):
        load("""
from hubbub import ServerlessHub

class Chat(ServerlessHub):
    async def clients(self):
        pass
""")


async def test_the_host_says_in_which_line_a_method_stands(load: Load) -> None:
    host = load(APP, SETTINGS)

    (place,) = (f.location for f in host.functions if f.name == "Chat_never")
    line = int(place.removeprefix("function_app.py:"))
    assert (HEADER + APP).splitlines()[line - 1 : line + 1] == [
        "    @checked_by(refuse)",
        "    async def never(self) -> None:",
    ]
