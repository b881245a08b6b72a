"""Texts in webhook headers: claims, queries, and names that hold more than printable ASCII.

What a header cannot carry is percent-encoded as UTF-8. In claims, a comma and a colon before a
blank are encoded too: they are what separates claims from each other.
"""

import re
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote_to_bytes

import msgspec

__all__ = [
    "decode_text",
    "encode_query",
    "encode_text",
    "format_claims",
    "parse_claims",
    "parse_query",
]

_UNFIT: Final = re.compile(r"[^ -~]")
_UNFIT_IN_CLAIM: Final = re.compile(r"[^ -~]|,|:(?= )")
_ENCODED: Final = re.compile(r"(?:%[0-9A-F]{2})+")
_CLAIMS: Final = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
# The names that .NET gives to a token's claims, and that apps of the original find.
_LONG_NAMES: Final = {
    "nameid": f"{_CLAIMS}nameidentifier",
    "sub": f"{_CLAIMS}nameidentifier",
    "unique_name": f"{_CLAIMS}name",
    "email": f"{_CLAIMS}emailaddress",
    "given_name": f"{_CLAIMS}givenname",
    "family_name": f"{_CLAIMS}surname",
    "upn": f"{_CLAIMS}upn",
    "birthdate": f"{_CLAIMS}dateofbirth",
    "gender": f"{_CLAIMS}gender",
    "website": f"{_CLAIMS}webpage",
    "actort": "http://schemas.xmlsoap.org/ws/2009/09/identity/claims/actor",
    "role": "http://schemas.microsoft.com/ws/2008/06/identity/claims/role",
    "roles": "http://schemas.microsoft.com/ws/2008/06/identity/claims/role",
}


def encode_text(text: str) -> str:
    """`text` as a header can carry it. Printable ASCII stays as it is, `%` included."""
    return text if _is_plain(text) else _encode(text, _UNFIT)


def decode_text(value: str) -> str:
    """What `encode_text` was given. Only what it would have encoded is decoded."""
    return _decode(value)


def encode_query(query: str) -> str:
    """The value of X-ASRS-Client-Query, empty for an empty query.

    `query` has no question mark, and one character for each byte that the client sent.
    """
    if not query:
        return ""
    plain = query if query.isascii() and query.isprintable() else _quote_bytes(query)
    return f"?{plain}"


def format_claims(claims: Mapping[str, Any]) -> str:
    """The value of X-ASRS-User-Claims, empty without claims. A list becomes one item a value."""
    items = [
        (_LONG_NAMES.get(name, name), value)
        for name, given in claims.items()
        for value in _values(given)
    ]
    plain = ", ".join([f"{name}: {value}" for name, value in items])
    if _needs_no_encoding(plain, len(items)):
        return plain
    return ", ".join(f"{_encode_claim(name)}: {_encode_claim(value)}" for name, value in items)


def parse_claims(value: str) -> dict[str, str]:
    """Read X-ASRS-User-Claims as Azure Functions does: the first of a name wins."""
    claims: dict[str, str] = {}
    for item in value.split(","):
        parts = [part for part in item.split(": ") if part.strip()]
        if len(parts) == 2:
            name, text = (_decode(part.strip(), ",:") for part in parts)
            claims.setdefault(name, text)
    return claims


def parse_query(value: str) -> dict[str, str]:
    """Read X-ASRS-Client-Query as Azure Functions does: repeated values are joined by commas."""
    query: dict[str, list[str]] = {}
    for name, text in parse_qsl(value.removeprefix("?"), keep_blank_values=True):
        query.setdefault(name, []).append(text)
    return {name: ",".join(texts) for name, texts in query.items()}


def _needs_no_encoding(plain: str, items: int) -> bool:
    """Whether a whole header can stay as it is: the commonest case takes one look."""
    return (
        plain.isascii()
        and plain.isprintable()
        and plain.count(",") == items - 1
        and plain.count(": ") == items
        and "  " not in plain
        and " ," not in plain
        and not plain.endswith(" ")
    )


def _values(given: Any) -> list[str]:
    if isinstance(given, str):
        return [given]
    values = given if isinstance(given, list) else [given]
    return [
        value if isinstance(value, str) else msgspec.json.encode(value).decode() for value in values
    ]


def _encode_claim(text: str) -> str:
    if "," not in text and ": " not in text and _is_plain(text):
        return text
    return _encode(text, _UNFIT_IN_CLAIM)


def _encode(text: str, unfit: re.Pattern[str]) -> str:
    # A blank at either end is lost on the way, so it is encoded as well. Not by a pattern: clients
    # choose names, and one that looks for the end of every row of blanks takes the square of it.
    inner = text.strip(" ")
    before = text.find(inner) if inner else len(text)
    after = len(text) - before - len(inner)
    return "%20" * before + unfit.sub(_quote, inner) + "%20" * after


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and text == text.strip()


def _quote(match: re.Match[str]) -> str:
    # A character that UTF-8 cannot say comes from a broken peer; it must not break the request.
    return quote(match.group(), safe="", errors="replace")


def _quote_bytes(query: str) -> str:
    data = query.encode("latin-1", "replace")
    return "".join(chr(byte) if 0x21 <= byte <= 0x7E else f"%{byte:02X}" for byte in data)


def _decode(value: str, separators: str = "") -> str:
    """Decode the escapes in `value` that the encoding makes, and leave those it does not make."""
    if "%" not in value:
        return value

    def plain(match: re.Match[str]) -> str:
        try:
            text = unquote_to_bytes(match.group()).decode()
        except UnicodeDecodeError:
            return match.group()
        at_edge = match.start() == 0 or match.end() == len(value)
        follows = text[1:] + value[match.end() : match.end() + 1]
        made = all(
            not " " <= character <= "~"
            or (character == " " and at_edge)
            or (character in separators and (character != ":" or next_ == " "))
            for character, next_ in zip_longest(text, follows, fillvalue="")
            if character
        )
        return text if made else match.group()

    return _ENCODED.sub(plain, value)
