"""Makes tokens without the code under test, right ones and wrong ones, and opens them."""

import base64
import hmac
import json
from typing import Any, Final

from tests.vectors.reading import read

from hubbub.protocol.endpoints import parse_connection_string

VECTORS: Final = read("tokens")
KEY: Final[str] = VECTORS["key"]
OTHER_KEY: Final = "0123456789" * 4
NOW: Final = 1_700_000_000
TIMES: Final = {"exp": NOW + 60}
AZURE: Final = parse_connection_string(
    f"Endpoint=https://example.service.signalr.net;AccessKey={KEY}"
)
LOCAL: Final = parse_connection_string(f"Endpoint=http://localhost;Port=8888;AccessKey={KEY}")


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(
    payload: Any, header: Any = None, key: str = KEY, hash_name: str = "sha256", text: bytes = b""
) -> str:
    """A token of `payload`, or of `text` where that is no JSON; HS256 where no header is given."""
    head = json.dumps({"alg": "HS256", "typ": "JWT"} if header is None else header).encode()
    signed = f"{base64url(head)}.{base64url(text or json.dumps(payload).encode())}"
    return f"{signed}.{base64url(hmac.digest(key.encode(), signed.encode(), hash_name))}"


def payload_of(token: str) -> dict[str, Any]:
    """The claims of a token, which is not checked."""
    part = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims
