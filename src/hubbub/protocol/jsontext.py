"""JSON as people write it into settings files: with comments and with commas before a bracket.

It takes text and refuses everything else that is not JSON, naming the line. Files are others'.
"""

import json
import re
from typing import Any, Final

from hubbub.errors import ConfigError

__all__ = ["parse_json", "parse_json_object"]

_COMMENT: Final = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING_COMMA: Final = re.compile(r'"(?:\\.|[^"\\])*"|,(?=\s*[}\]])', re.DOTALL)


def parse_json(text: str, name: str) -> Any:
    """The value in `text`; `name` is the file's, for errors. Raises `ConfigError`."""
    plain = _TRAILING_COMMA.sub(_blank, _COMMENT.sub(_blank, text))
    try:
        return json.loads(plain)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{name} line {error.lineno}, column {error.colno}: this is not valid JSON "
            f"({error.msg}). Correct that line."
        ) from None
    except ValueError as error:  # a number of thousands of digits
        raise ConfigError(f"{name} is not valid JSON ({error}). Correct it.") from None
    except RecursionError:
        raise ConfigError(f"{name} is nested too deeply to be settings. Correct it.") from None


def parse_json_object(text: str, name: str) -> dict[str, Any]:
    """The one object in `text`, as `parse_json` reads it."""
    value = parse_json(text, name)
    if not isinstance(value, dict):
        raise ConfigError(f"{name} must hold one JSON object, from '{{' to '}}'.")
    return value


def _blank(match: re.Match[str]) -> str:
    """Replace all but strings by spaces, so that line and column numbers stay true."""
    found = match.group()
    return found if found.startswith('"') else re.sub(r"[^\n]", " ", found)
