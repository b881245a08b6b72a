"""Reads a JSON file of an app or of its keys. What counts as JSON is `protocol.jsontext`'s."""

from pathlib import Path
from typing import Any

from hubbub.errors import ConfigError
from hubbub.protocol.jsontext import parse_json_object


def read_json_object(path: Path) -> dict[str, Any] | None:
    """The object in the file at `path`, or None if there is no such file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path.name} is not UTF-8 text. Save it as UTF-8.") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    return parse_json_object(text, path.name)
