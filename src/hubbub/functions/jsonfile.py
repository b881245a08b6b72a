"""Reads a JSON settings file as people write it: with `//` comments and trailing commas.

It refuses everything else that is not JSON, and names the line.
"""

import json
import re
from pathlib import Path
from typing import Any

from hubbub.errors import ConfigError

_COMMENT = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING_COMMA = re.compile(r'"(?:\\.|[^"\\])*"|,(?=\s*[}\]])', re.DOTALL)


def _blank(match: re.Match[str]) -> str:
    """Replace all but strings by spaces, so that line and column numbers stay true."""
    text = match.group()
    return text if text.startswith('"') else re.sub(r"[^\n]", " ", text)


def parse_json_object(text: str, name: str) -> dict[str, Any]:
    """Parse `text` as one JSON object; `name` is the file's name in the error."""
    plain = _TRAILING_COMMA.sub(_blank, _COMMENT.sub(_blank, text))
    try:
        value = json.loads(plain)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{name} line {error.lineno}, column {error.colno}: this is not valid JSON "
            f"({error.msg}). Correct that line and start again."
        ) from error
    except RecursionError as error:
        raise ConfigError(
            f"{name} is nested too deeply to be settings. Correct the file."
        ) from error
    if not isinstance(value, dict):
        raise ConfigError(f"{name} must hold one JSON object, from '{{' to '}}'.")
    return value


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
