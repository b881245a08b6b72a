"""The access key of a service that is to be reached from elsewhere: made once, kept if it can be.

Only its owner may read the file. It never replaces one.
"""

import os
import secrets
from pathlib import Path
from typing import Final

from hubbub.errors import ConfigError

__all__ = ["FILE_NAME", "new_key"]

FILE_NAME: Final = "access-key"
_KEY_BYTES: Final = 33  # 44 characters, as long as the original's keys


def new_key(data: Path | None) -> str:
    """The key that is kept in the folder `data`, else a new one, which is kept there.

    Without a folder it is another key each time. Raises `ConfigError` where it cannot be kept.
    """
    key = secrets.token_urlsafe(_KEY_BYTES)
    if data is None:
        return key
    path = data / FILE_NAME
    try:
        data.mkdir(parents=True, exist_ok=True)
        kept = _read(path)
        if kept is not None:
            return kept
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{key}\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(
            f"The access key cannot be kept in {path}: {reason}. "
            "Pass --access-key, or --data with a folder that can be written to."
        ) from error
    return key


def _read(path: Path) -> str | None:
    try:
        key = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    if not key:
        raise ConfigError(f"{path} holds no access key. Remove it, and a new one is made.")
    return key
