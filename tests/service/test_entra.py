"""Tokens of an issuer for the REST API: a local issuer with keys of its own stands in for Entra."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.service.conftest import Start
from tests.service.running import Service

from hubbub.client.management import ServiceClient
from hubbub.errors import ConfigError
from hubbub.service.access import Refusal
from hubbub.service.entra import _IssuerKeys
from hubbub.service.lentkeys import _derived
from hubbub.service.settings import EMULATOR_KEY, EntraSettings

ISSUER = "https://sts.windows.net/tenant/"
AUDIENCE = "https://signalr.azure.com"
SEND = "/api/hubs/chat/:send"
PAYLOAD = b'{"target":"hello"}'
PRIVATE = {name: rsa.generate_private_key(65537, 2048) for name in ("one", "two")}


def public(name: str) -> dict[str, Any]:
    key: dict[str, Any] = jwt.algorithms.RSAAlgorithm.to_jwk(
        PRIVATE[name].public_key(), as_dict=True
    )
    return {**key, "kid": name, "use": "sig", "alg": "RS256"}


@dataclass
class Issuer:
    """Serves public keys, and counts how often it is asked."""

    names: list[str] = field(default_factory=lambda: ["one"])
    status: int = 200
    text: str | None = None
    piece: int = 65_536  # bytes that it sends at once
    asked: int = 0
    url: str = ""

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked += 1
        text = self.text or json.dumps({"keys": [public(each) for each in self.names]})
        answer = web.StreamResponse(status=self.status)
        await answer.prepare(request)
        for start in range(0, len(text), self.piece):
            with suppress(ConnectionError):  # who has had enough hangs up
                await answer.write(text[start : start + self.piece].encode())
            await asyncio.sleep(0)
        return answer

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._answer))
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/keys"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with Issuer() as running:
        yield running


@pytest.fixture
async def trusting(start: Start, issuer: Issuer) -> Service:
    """A service that takes tokens of the issuer."""
    return await start(entra=EntraSettings({ISSUER: issuer.url}))


def token(key: str = "one", kid: str | None = None, **changes: Any) -> str:
    """A token that is good; a change of `None` leaves a claim out."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "nbf": now, "exp": now + 3600, **changes}
    claims = {name: value for name, value in claims.items() if value is not None}
    headers = {"kid": kid or key}
    return jwt.PyJWS().encode(json.dumps(claims).encode(), PRIVATE[key], "RS256", headers=headers)


async def status(service: Service, text: str) -> int:
    answer = await service.request(
        "POST", SEND, token=text, body=PAYLOAD, headers={"Content-Type": "application/json"}
    )
    if answer.status >= 400:
        assert text not in answer.text
        assert answer.json["code"] == answer.headers["x-ms-error-code"]
    return answer.status


@pytest.mark.parametrize("audience", [AUDIENCE, f"{AUDIENCE}/", ["other", AUDIENCE]])
async def test_a_token_of_the_issuer_may_call(trusting: Service, audience: Any) -> None:
    client = await trusting.connect()

    assert await status(trusting, token(aud=audience)) == 202

    assert await client.call() == ("hello", [])


async def test_the_access_key_goes_on_to_work(trusting: Service) -> None:
    assert await status(trusting, trusting.rest_token(SEND)) == 202


async def test_the_issuer_is_asked_once_for_many_calls(trusting: Service, issuer: Issuer) -> None:
    for _ in range(3):
        assert await status(trusting, token()) == 202

    assert issuer.asked == 1


async def test_keys_may_come_in_many_pieces(trusting: Service, issuer: Issuer) -> None:
    issuer.piece = 50

    assert await status(trusting, token()) == 202


async def test_keys_without_end_are_not_read_to_their_end(
    trusting: Service, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    issuer.text = "x" * 1_100_000

    assert await status(trusting, token()) == 503
    assert "more than 1048576 bytes" in caplog.text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (token(iss="https://elsewhere.example/"), "Tokens are accepted from " + ISSUER),
        (token(iss=None), "Tokens are accepted from"),
        (token(iss=["a"]), "Tokens are accepted from"),
        (token(aud="https://management.azure.com"), f"A token is for {AUDIENCE}."),
        (token(aud=None), "missing"),
        (token(exp=None), "missing"),
        (token(exp=int(time.time()) - 3600), "expired"),
        (token(nbf=int(time.time()) + 3600), "not yet valid"),
        (token("two", kid="one"), "Signature verification failed"),
        (token("two"), "has no such key"),
        (token().rsplit(".", 1)[0] + ".AAAA", "Signature verification failed"),
    ],
)
async def test_a_token_that_is_not_good_is_refused_with_the_reason(
    trusting: Service, text: str, reason: str
) -> None:
    answer = await trusting.request("POST", SEND, token=text, body=PAYLOAD)

    assert answer.status == 401
    assert reason in answer.json["message"], answer.json
    assert answer.headers["WWW-Authenticate"].startswith('Bearer error="invalid_token"')


async def test_a_public_key_is_no_access_key(trusting: Service) -> None:
    """The classic confusion: a token signed with HS256 and the text of the public key."""
    pem = PRIVATE["one"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in (
            {"alg": "HS256", "kid": "one"},
            {"iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + 60},
        )
    ]
    signed = b".".join(parts)
    mac = base64.urlsafe_b64encode(hmac.digest(pem, signed, hashlib.sha256)).rstrip(b"=")

    assert await status(trusting, (signed + b"." + mac).decode()) == 401
    assert await status(trusting, jwt.encode({"iss": ISSUER}, "", "none")) == 401


async def test_unknown_keys_do_not_make_the_service_ask_again_and_again(
    trusting: Service, issuer: Issuer
) -> None:
    for number in range(5):
        assert await status(trusting, token(kid=f"unknown {number}")) == 401

    assert issuer.asked == 1


async def test_an_issuer_that_is_away_is_told_and_asked_again(
    trusting: Service, issuer: Issuer
) -> None:
    issuer.status = 500
    assert await status(trusting, token()) == 503
    issuer.text = "no keys"
    assert await status(trusting, token()) == 503
    issuer.status, issuer.text = 200, None

    assert await status(trusting, token()) == 202


async def test_calls_that_wait_for_an_issuer_share_its_failure(issuer: Issuer) -> None:
    issuer.status = 500
    keys = _IssuerKeys(issuer.url)

    found = await asyncio.gather(*(keys.find("one") for _ in range(5)), return_exceptions=True)

    assert [each.status for each in found if isinstance(each, Refusal)] == [503] * 5
    assert issuer.asked == 1


async def test_a_role_may_be_required(start: Start, issuer: Issuer) -> None:
    service = await start(entra=EntraSettings({ISSUER: issuer.url}, roles=("Owner", "Sender")))

    assert await status(service, token()) == 403
    assert await status(service, token(roles="Owner")) == 403
    assert await status(service, token(roles=["Reader"])) == 403
    assert await status(service, token(roles=["Reader", "Sender"])) == 202


async def test_a_lent_key_signs_tokens_of_clients(trusting: Service, issuer: Issuer) -> None:
    class Credential:
        def get_token(self, *scopes: str) -> Any:
            @dataclass
            class Token:
                token: str = token()
                expires_on: float = time.time() + 3600

            return Token()

    async with ServiceClient(trusting.url, credential=Credential()) as client:
        negotiation = await client.hub("chat").negotiate_by_identity(user_id="ann")
        opened = await trusting.open(
            query={"hub": "chat", "access_token": negotiation.access_token}
        )
        await opened.handshake()
        await client.hub("chat").clients.user("ann").send("hello")

    assert await opened.call() == ("hello", [])


@pytest.mark.parametrize("path", ["/api/auth/accessKey", "/api/v1/auth/accessKey"])
async def test_a_key_is_lent_to_none_but_an_identity(
    trusting: Service, service: Service, path: str
) -> None:
    lent = await trusting.request("GET", path + "?api-version=2024-12-01", token=token())
    assert lent.status == 200
    assert set(lent.json) == {"KeyId", "AccessKey"}
    assert lent.json["AccessKey"] != EMULATOR_KEY

    assert (await trusting.request("GET", path)).status == 401
    assert (await trusting.request("GET", path, token=trusting.rest_token(path))).status == 401
    assert (await trusting.request("POST", path, token=token())).status == 405
    refused = await service.request("GET", path, token=token())
    assert refused.status == 401
    assert "--entra-issuer" in refused.json["message"]


@pytest.mark.parametrize("end", [-10, 10**13, "x", ""])
async def test_a_key_that_was_lent_too_long_ago_signs_nothing(
    trusting: Service, end: int | str
) -> None:
    key_id = f"lent-{int(time.time()) + end if isinstance(end, int) else end}"
    signed = jwt.encode(
        {"aud": "http://x/client/?hub=chat", "exp": int(time.time()) + 60},
        _derived(EMULATOR_KEY, key_id),
        "HS256",
        headers={"kid": key_id},
    )

    answer = await trusting.request("POST", "/client/negotiate?hub=chat", token=signed)

    assert answer.status == 401


def test_keys_of_an_issuer_are_not_fetched_over_an_open_network() -> None:
    with pytest.raises(ConfigError, match="by https"):
        EntraSettings({ISSUER: "http://keys.example/"})
