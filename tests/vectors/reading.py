"""Reads the vectors beside it. It knows their form, and nothing of what is tested with them."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from hubbub.protocol import messages
from hubbub.protocol.codec import Codec
from hubbub.protocol.messages import Message

FOLDER: Final = Path(__file__).parent
RAW_MEMBERS: Final = {"arguments", "item", "result"}  # undecoded in a message


def read(name: str) -> Any:
    """The whole file `name`.json."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def cases(vectors: list[dict[str, Any]], *, written: bool = False) -> list[Any]:
    """Vectors as parameters of a test; `written` leaves out what others only write."""
    return [
        pytest.param(vector, id=vector.get("id", vector.get("text")))
        for vector in vectors
        if not written or vector.get("written", True)
    ]


def message_of(vector: dict[str, Any], codec: Codec) -> Message:
    """The message that a vector describes, its arguments in the bytes of `codec`."""
    name, members = vector["message"]
    values = {
        member: codec.encode_value(value)
        if member in RAW_MEMBERS
        else tuple(value)
        if isinstance(value, list)
        else value
        for member, value in members.items()
    }
    message: Message = getattr(messages, name)(**values)
    return message
