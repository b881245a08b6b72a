"""Connection strings and the addresses that follow from them, by the rules of the Azure SDKs."""

import re
from typing import Final, NoReturn
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

from hubbub.errors import ConfigError

__all__ = ["Endpoint", "client_url", "format_connection_string", "parse_connection_string"]

_VERSION: Final = re.compile(r"1\.\d+(?:[\w\-.]+)?")
_PORT: Final = re.compile(r"[0-9]{1,5}")
_HOST: Final = re.compile(r"[\w.:%-]+")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_CUT: Final = (
    " There is nothing after its Endpoint: a shell cuts the text at its first ';' unless it stands "
    "in quotes, as in export AzureSignalRConnectionString='Endpoint=…'."
)
_IDENTITY_TYPES: Final = {"azure", "azure.msi", "azure.app", "aad"}


class Endpoint(Struct, frozen=True, kw_only=True):
    """One service as a connection string names it."""

    url: str  # scheme://host[:port], lower case, no default port, no path, no slash at the end
    client_base: str  # what `client/…` is appended to
    server_base: str  # what `api/…` is appended to
    audience: str  # scheme://host/ without a port, whatever the port is
    access_key: str | None = None  # None where an identity signs, see `auth_type`
    auth_type: str | None = None
    client_id: str | None = None
    tenant_id: str | None = None
    client_secret: str | None = None
    client_certificate: str | None = None  # path of a file

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r})"  # never the key


def parse_connection_string(text: str) -> Endpoint:
    """Read `Endpoint=…;AccessKey=…;Version=1.0;…`. Raises `ConfigError` with the SDK's sentences.

    Names are compared ignoring case, unknown ones are ignored, a value may hold `=`.
    """
    values = _properties(text)
    if len(values) < 2 or "endpoint" not in values:
        _fail(
            "Connection string missing required properties endpoint.",
            _CUT if values.keys() == {"endpoint"} else "",
        )
    if (version := values.get("version")) and not _VERSION.fullmatch(version):
        _fail(f"Version {version} is not supported.")
    address = _split(
        values["endpoint"], "Invalid value for endpoint property, it must be a valid URI."
    )
    port = _port(values.get("port"), address)
    host = _host(address)
    url = f"{address.scheme}://{host}"
    if port != _DEFAULT_PORTS[address.scheme]:
        url += f":{port}"
    path = address.path.rstrip("/")
    auth_type = values.get("authtype", "").lower()
    identity = auth_type if auth_type in _IDENTITY_TYPES else None
    if identity is None and not values.get("accesskey"):
        _fail("accesskey is required.")
    if identity is not None:
        _check_identity(identity, values)
    return Endpoint(
        url=url,
        client_base=_base(
            values.get("clientendpoint"),
            url + path,
            "Invalid value for clientEndpoint property, it must be a valid URI.",
        ),
        server_base=_base(
            values.get("serverendpoint"),
            url + path,
            "ServerEndpoint property in connection string is not a valid URI: "
            f"{values.get('serverendpoint')}.",
        ),
        audience=f"{address.scheme}://{host}/",
        access_key=values.get("accesskey") if identity is None else None,
        auth_type=identity,
        client_id=values.get("clientid"),
        tenant_id=values.get("tenantid"),
        client_secret=values.get("clientsecret"),
        client_certificate=values.get("clientcert") or values.get("clientcertpath"),
    )


def format_connection_string(url: str, access_key: str, *, client_url: str | None = None) -> str:
    """Write the connection string of a service at `url`, port included, as the emulator does.

    `client_url` is where browsers reach it, where that differs.
    """
    address = urlsplit(url)
    parts = [f"Endpoint={address.scheme}://{_host(address)}"]
    if address.port is not None:
        parts.append(f"Port={address.port}")
    parts += [f"AccessKey={access_key}", "Version=1.0"]
    if client_url is not None:
        parts.append(f"ClientEndpoint={client_url}")
    return ";".join(parts) + ";"


def client_url(endpoint: Endpoint, hub: str) -> str:
    """The address that a client of `hub` negotiates with and connects to."""
    return f"{endpoint.client_base}client/?hub={hub.lower()}"


def _properties(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for piece in filter(None, text.split(";")):
        name, separator, value = piece.partition("=")
        key = name.strip().lower()
        if not separator:
            continue
        if key in values:
            _fail(f"Duplicate properties found in connection string: {name.strip()}.")
        values[key] = value.strip()
    return values


def _split(text: str, complaint: str) -> SplitResult:
    try:
        address = urlsplit(text.rstrip("/"))
        _ = address.port  # reading it is what checks it
    except ValueError:
        _fail(complaint)
    if address.scheme not in _DEFAULT_PORTS or not _HOST.fullmatch(address.hostname or ""):
        _fail(complaint)
    return address


def _port(text: str | None, address: SplitResult) -> int:
    if text is None:
        return address.port or _DEFAULT_PORTS[address.scheme]
    if not (_PORT.fullmatch(text) and 1 <= int(text) <= 65535):
        _fail("Invalid value for port property, it must be an positive integer between (0, 65536)")
    return int(text)


def _host(address: SplitResult) -> str:
    host = (address.hostname or "").lower()
    return f"[{host}]" if ":" in host else host


def _base(text: str | None, default: str, complaint: str) -> str:
    """A base that ends in a slash: the SDK glues a path without one to what follows."""
    if text:
        _split(text, complaint)
    return (text or default).rstrip("/") + "/"


def _check_identity(auth_type: str, values: dict[str, str]) -> None:
    if auth_type == "azure.app":
        for name in ("clientId", "tenantId"):
            if not values.get(name.lower()):
                _fail(f"Connection string missing required properties {name}.")
    has_application = auth_type == "azure.app" or (auth_type == "aad" and values.get("tenantid"))
    secrets = ("clientsecret", "clientcert", "clientcertpath")
    if has_application and not any(values.get(name) for name in secrets):
        _fail("Connection string missing required properties clientSecret or clientCert.")


def _fail(sentence: str, advice: str = "") -> NoReturn:
    raise ConfigError(
        f"{sentence} Expected: Endpoint=https://HOST;AccessKey=KEY;Version=1.0; "
        f"as `hubbub start` prints it and the Azure portal shows it.{advice}"
    )
