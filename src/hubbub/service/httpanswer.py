"""An answer as the bytes of HTTP/1.1, as uvicorn writes those of ASGI apps."""

import logging
from collections.abc import Iterable
from typing import Final

from uvicorn.protocols.http.httptools_impl import HEADER_VALUE_RE, STATUS_LINE

from hubbub.service.calls import Answer

__all__ = ["encode_answer"]

_logger = logging.getLogger("hubbub.service")
_FAILED: Final = Answer(
    b"Internal Server Error", ((b"content-type", b"text/plain; charset=utf-8"),), 500
)
_NO_BODY: Final = 204


def encode_answer(
    answer: Answer | Exception, default_headers: Iterable[tuple[bytes, bytes]], *, is_last: bool
) -> tuple[bytes, bool]:
    """The bytes, and whether the connection ends with them.

    An error is a defect, which is logged: its request is answered with 500, and others go on.
    """
    try:
        if isinstance(answer, Exception):
            raise answer
        _check(answer)
    except Exception:  # the connection and its other requests must survive a defect
        _logger.exception("a request was not answered")
        answer = _FAILED
    status = answer.status or 200
    lines = [STATUS_LINE[status]]
    for name, value in (*default_headers, *answer.headers):
        is_last = is_last or (name == b"connection" and value.lower() == b"close")
        if name != b"connection":
            lines += (name, b": ", value, b"\r\n")
    if status != _NO_BODY:
        lines.append(b"content-length: %d\r\n" % len(answer.body))
    lines += (b"connection: close\r\n\r\n" if is_last else b"\r\n", answer.body)
    return b"".join(lines), is_last


def _check(answer: Answer) -> None:
    """Refuse to write a header that would begin another, as uvicorn does."""
    for name, value in answer.headers:
        if HEADER_VALUE_RE.search(value):
            raise ValueError(f"the header {name!r} has a value that is none")
