"""Easy Auth: the headers in which a platform in front of the app says who has signed in.

Only such a platform may say so. What a client sends itself under these names is dropped, unless
the operator says that a trusted proxy fills them.
"""

from collections.abc import Iterable

TRUST_SETTING = "HUBBUB_TRUST_PRINCIPAL_HEADERS"
_PREFIXES = (b"x-ms-client-principal", b"x-ms-token-")

Pairs = list[tuple[bytes, bytes]]


def names_principal(headers: Iterable[str]) -> bool:
    """Whether one of these lower-case names is such a header's; most requests have none."""
    return any([name[:1] == "x" and _is_principal(name.encode("latin-1")) for name in headers])  # noqa: C419  quicker


def without_principal(headers: Iterable[tuple[bytes, bytes]]) -> Pairs:
    """The headers but for those that name a principal; WSGI cannot tell `_` and `-` apart."""
    return [pair for pair in headers if pair[0][:1] not in b"xX" or not _is_principal(pair[0])]


def _is_principal(name: bytes) -> bool:
    return name.lower().replace(b"_", b"-").startswith(_PREFIXES)
