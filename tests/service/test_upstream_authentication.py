"""How the service proves to an app who it is: bearer tokens from three kinds of sources."""

import asyncio
import os
import stat
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
from aiohttp import web
from tests.service.conftest import Start
from tests.service.upstream_app import Received, result, running_app, running_service, upstream

from hubbub.protocol.upstreamsettings import Identity, SecretSource, UpstreamSettings
from hubbub.protocol.upstreamtemplate import Template
from hubbub.service.upstream import authentication
from hubbub.service.upstream.authentication import (
    AzureIdentity,
    TokenEndpoint,
    Tokens,
    TokenSource,
    token_source,
)
from hubbub.service.upstream.delivery import Courier
from hubbub.service.upstream.issuer import ServiceIssuer
from hubbub.service.upstream.outcome import DeliveryError, Kind
from hubbub.service.upstream.secret import Secrets
from hubbub.service.upstream.web import AppClient

pytest.importorskip("cryptography", reason="the extra azure is not installed")
RESOURCE = "api://my-app"
NOW = 1_700_000_000


class Counting:
    """Issues numbered tokens. Satisfies `TokenSource`."""

    def __init__(self, lifetime: int = 3600) -> None:
        self.issued = 0
        self._lifetime = lifetime

    async def issue(self, resource: str, now: int) -> tuple[str, int]:
        await asyncio.sleep(0)
        self.issued += 1
        return f"{resource}-{self.issued}", now + self._lifetime


async def test_an_app_can_check_the_services_own_token_with_its_published_keys() -> None:
    async with upstream(template={"resource": RESOURCE}) as (service, app):
        client = await service.connect()
        await result(client, "hello")
        authorization = app.received[0].headers["Authorization"]
        configuration = await service.request("GET", "/.well-known/openid-configuration")
        issuer = configuration.json["issuer"]
        assert configuration.json["jwks_uri"] == f"{issuer}/.well-known/jwks.json"
        keys = await service.request("GET", "/.well-known/jwks.json")

    token = authorization.removeprefix("Bearer ")
    (key,) = jwt.PyJWKSet.from_dict(keys.json).keys
    claims = jwt.decode(token, key, ["RS256"], audience=RESOURCE, issuer=issuer)
    assert key.key_id == jwt.get_unverified_header(token)["kid"]
    assert claims["exp"] - claims["iat"] == 3600
    assert set(keys.json["keys"][0]) == {"kty", "n", "e", "kid", "use", "alg"}
    assert {request.headers["Authorization"] for request in app.received} == {authorization}


async def test_a_template_without_a_resource_sends_no_token() -> None:
    async with upstream() as (service, app):
        client = await service.connect()
        await result(client, "hello")

    assert [request for request in app.received if "Authorization" in request.headers] == []


async def test_a_key_file_keeps_the_key_over_restarts_and_for_its_owner_alone(
    tmp_path: Path,
) -> None:
    path = tmp_path / "key.pem"
    one, other = (ServiceIssuer("http://here/", str(path)) for _ in range(2))
    keys = await asyncio.gather(one.keys(), other.keys())

    assert keys[0] == keys[1] == await ServiceIssuer("x", str(path)).keys()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in os.scandir(tmp_path)] == ["key.pem"]
    assert await ServiceIssuer("x").keys() != keys[0]


async def test_services_that_make_a_key_at_the_same_time_agree_on_one(tmp_path: Path) -> None:
    path = str(tmp_path / "key.pem")
    issuers = [ServiceIssuer("http://here/", path) for _ in range(4)]

    keys = await asyncio.gather(*(issuer.keys() for issuer in issuers))

    assert keys == [await ServiceIssuer("http://here/", path).keys()] * 4
    assert [file.name for file in os.scandir(tmp_path)] == ["key.pem"]


@pytest.mark.parametrize(
    ("path", "reason"), [("nowhere/key.pem", "No such file"), (".", "Is a directory")]
)
async def test_a_key_file_that_cannot_be_had_is_not_said_to_be_wrong(
    tmp_path: Path, path: str, reason: str
) -> None:
    tokens = Tokens(ServiceIssuer("http://here", str(tmp_path / path)))

    with pytest.raises(DeliveryError, match=f"cannot be read or made: {reason}") as caught:
        await tokens.authorization(RESOURCE)
    assert caught.value.kind is Kind.NO_TOKEN
    assert "Remove" not in str(caught.value)


async def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import dsa

    path = tmp_path / "key.pem"
    path.write_bytes(
        dsa.generate_private_key(2048).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )

    with pytest.raises(DeliveryError, match="is no RSA key of 2048 bits or more"):
        await Tokens(ServiceIssuer("http://here", str(path))).authorization(RESOURCE)


@pytest.mark.parametrize("content", [b"", b"nonsense"], ids=["empty", "nonsense"])
async def test_a_key_file_that_holds_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    tokens = Tokens(ServiceIssuer("http://here", str(path)))

    with pytest.raises(DeliveryError, match=r"holds no RSA key in PEM.*Remove the file") as caught:
        await tokens.authorization(RESOURCE)
    assert caught.value.kind is Kind.NO_TOKEN


async def test_new_settings_keep_the_key_that_apps_know_unless_the_identity_changes() -> None:
    courier = Courier(["k" * 32], UpstreamSettings(), url="http://here")
    tokens = courier.tokens

    courier.use(UpstreamSettings(templates=(Template(url_template="http://other/"),)))
    assert courier.tokens is tokens
    courier.use(UpstreamSettings(identity=Identity(issuer="http://there")))
    assert courier.tokens is not tokens


@pytest.mark.parametrize(("lifetime", "used"), [(3600, 3300), (600, 300), (300, 150), (60, 30)])
async def test_a_token_is_used_until_five_minutes_or_half_its_life_before_its_end(
    lifetime: int, used: int
) -> None:
    now = NOW
    tokens = Tokens(Counting(lifetime), clock=lambda: now)

    assert await tokens.authorization("a") == "Bearer a-1"
    now = NOW + used - 1
    assert await tokens.authorization("a") == "Bearer a-1"
    now = NOW + used
    assert await tokens.authorization("a") == "Bearer a-2"


async def test_who_waits_for_a_token_shares_the_failure_to_get_one() -> None:
    asked = 0

    class Away:
        async def issue(self, resource: str, now: int) -> tuple[str, int]:
            nonlocal asked
            asked += 1
            await asyncio.sleep(0)
            raise DeliveryError(Kind.NO_TOKEN, "It is away.")

    tokens = Tokens(Away())
    waiting = [asyncio.ensure_future(tokens.authorization("a")) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()  # the others are not given up with it

    got = await asyncio.gather(*waiting, return_exceptions=True)

    assert [str(each) for each in got[1:]] == ["It is away."] * 4
    assert asked == 1


async def test_a_source_that_does_not_answer_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(authentication, "_TIMEOUT", 0.01)

    class Silent:
        async def issue(self, resource: str, now: int) -> tuple[str, int]:
            await asyncio.Event().wait()
            raise AssertionError

        def __repr__(self) -> str:
            return "Silent()"

    with pytest.raises(DeliveryError, match=r"Silent\(\) gave no token within") as caught:
        await Tokens(Silent()).authorization("a")
    assert caught.value.kind is Kind.NO_TOKEN


async def test_one_caller_fetches_and_the_others_wait() -> None:
    source = Counting()
    tokens = Tokens(source)

    got = await asyncio.gather(*(tokens.authorization(name) for name in "aaabbb"))

    assert source.issued == 2
    assert len(set(got)) == 2
    assert "a-1" not in repr(tokens)


class Endpoint:
    """A token endpoint's behaviour, which remembers the forms it was sent."""

    def __init__(self, **response: Any) -> None:
        self.forms: list[dict[str, list[str]]] = []
        self._response = response

    async def __call__(self, received: Received) -> web.StreamResponse:
        self.forms.append(parse_qs(received.body.decode()))
        return web.json_response(**self._response)


def from_endpoint(url: str, secret: str = "s3cret") -> TokenSource:
    identity = Identity(kind="tokenendpoint", url=url, client_id="hubbub", client_secret=secret)
    client = AppClient()
    client.guard.literal_hosts = frozenset(("127.0.0.1",))
    return TokenEndpoint(identity, client, Secrets(SecretSource()))


async def test_a_token_endpoint_is_asked_with_client_credentials(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from-file")
    endpoint = Endpoint(data={"access_token": "t", "expires_in": "600", "token_type": "Bearer"})
    async with running_app(endpoint) as app:
        source = from_endpoint(app.url, f"{{@Hubbub.File(Path={tmp_path}/secret)}}")

        assert await source.issue(RESOURCE, NOW) == ("t", NOW + 600)
        await source._client.close()  # type: ignore[attr-defined]
    assert endpoint.forms == [
        {
            "grant_type": ["client_credentials"],
            "client_id": ["hubbub"],
            "client_secret": ["from-file"],
            "scope": [f"{RESOURCE}/.default"],
            "resource": [RESOURCE],
        }
    ]


@pytest.mark.parametrize(
    ("response", "words"),
    [
        ({"data": {"error": "invalid_client"}, "status": 401}, "answered 401"),
        ({"data": {}}, "no access_token in JSON"),
        ({"text": "nonsense"}, "no access_token in JSON"),
        ({"data": {"access_token": "t", "expires_in": "soon"}}, "no access_token in JSON"),
        ({"text": "x" * 100_000}, "larger than 65536 bytes"),
    ],
)
async def test_a_token_endpoint_that_gives_none_is_named(
    response: dict[str, Any], words: str
) -> None:
    async with running_app(Endpoint(**response)) as app:
        source = from_endpoint(f"{app.url}/token?tenant=private")

        with pytest.raises(DeliveryError, match=words) as caught:
            await Tokens(source).authorization(RESOURCE)
        await source._client.close()  # type: ignore[attr-defined]
    assert caught.value.kind is Kind.NO_TOKEN
    assert "s3cret" not in str(caught.value)
    assert "private" not in str(caught.value)


async def test_an_invoke_that_gets_no_token_is_ended(tmp_path: Path) -> None:
    settings = tmp_path / "settings.json"
    settings.write_text(
        """{"UpstreamSettings": {
          "Templates": [{"UrlTemplate": "http://127.0.0.1:1/", "Auth": {
            "Type": "ManagedIdentity", "ManagedIdentity": {"Resource": "api://my-app"}}}],
          "Identity": {"Type": "TokenEndpoint", "Url": "http://127.0.0.1:1/", "ClientId": "a"}
        }}"""
    )
    async with running_service(settings_file=settings) as service:
        client = await service.connect()

        assert await result(client, "any") == "Invocation failed, status code 500"
        assert service.node.upstream.outcomes["messages", Kind.NO_TOKEN] == 1
        keys = await service.request("GET", "/.well-known/jwks.json")
        configuration = await service.request("GET", "/.well-known/openid-configuration")

    assert (keys.status, configuration.status) == (404, 404)


class Credential:
    """A credential of the Azure SDK that gives what a test says."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    def get_token(self, *scopes: str, **_: Any) -> Any:
        credentials = pytest.importorskip("azure.core.credentials")
        if self._error is not None:
            raise self._error
        return credentials.AccessToken(" ".join(scopes), NOW)


async def test_an_azure_identity_is_asked_for_the_resources_default_scope() -> None:
    source = AzureIdentity(Credential())

    assert await source.issue(f"{RESOURCE}/", 0) == (f"{RESOURCE}/.default", NOW)


async def test_an_azure_identity_that_gives_no_token_is_explained_in_a_line() -> None:
    exceptions = pytest.importorskip("azure.core.exceptions")
    source = AzureIdentity(Credential(exceptions.ClientAuthenticationError("No account.\nmore")))

    with pytest.raises(DeliveryError, match=r"Azure gave no token: No account\.$"):
        await source.issue(RESOURCE, 0)


@pytest.mark.parametrize("module", ["azure.identity", "cryptography.hazmat.primitives"])
async def test_a_missing_package_is_named(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, f"{module}.serialization", None)
    source = AzureIdentity() if "azure" in module else ServiceIssuer("http://here")

    with pytest.raises(DeliveryError, match=r"pip install 'hubbub\[azure\]'"):
        await Tokens(source).authorization(RESOURCE)


@pytest.mark.parametrize(
    ("identity", "variable", "kind"),
    [
        (Identity(), None, ServiceIssuer),
        (Identity(), "IDENTITY_ENDPOINT", AzureIdentity),
        (Identity(), "AZURE_FEDERATED_TOKEN_FILE", AzureIdentity),
        (Identity(kind="service"), "IDENTITY_ENDPOINT", ServiceIssuer),
        (Identity(kind="azure"), None, AzureIdentity),
        (Identity(kind="tokenendpoint", url="http://h/"), "IDENTITY_ENDPOINT", TokenEndpoint),
    ],
)
def test_azure_is_asked_where_it_runs_and_nobody_else_is_named(
    identity: Identity,
    variable: str | None,
    kind: type,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("IDENTITY_ENDPOINT", "MSI_ENDPOINT", "AZURE_FEDERATED_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    if variable is not None:
        monkeypatch.setenv(variable, "x")

    source = token_source(
        identity, url="http://here", client=AppClient, secrets=Secrets(SecretSource())
    )

    assert isinstance(source, kind)


async def test_keys_that_cannot_be_read_are_an_answer_too(start: Start, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("nonsense")
    settings = tmp_path / "settings.json"
    settings.write_text(
        f'{{"UpstreamSettings": {{"Identity": {{"KeyFile": "{tmp_path}/key.pem"}}}}}}'
    )
    service = await start(settings_file=settings)

    answer = await service.request("GET", "/.well-known/jwks.json")
    await service.node.upstream.close()

    assert answer.status == 503
    assert "holds no RSA key" in answer.text
