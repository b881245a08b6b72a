"""The keys of an app: master, host, system and function keys, in files of the original's shapes.

It makes, keeps and finds keys. Which request needs which level is `access`'s affair.
"""

import base64
import json
import os
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hubbub.errors import ConfigError
from hubbub.functions.jsonfile import read_json_object

MASTER = "_master"  # the master key's name among the host keys, as the admin API says it
DEFAULT = "default"
SIGNALR = "signalr_extension"  # the system key of `/runtime/webhooks/signalr`
_HOST_FILE = "host.json"
_KEY_BYTES = 40  # as many as the original's


@dataclass(slots=True)
class HostKeys:
    """The keys that belong to no single function."""

    master: str
    function: dict[str, str] = field(default_factory=dict)  # good for every function
    system: dict[str, str] = field(default_factory=dict)


def new_key() -> str:
    """A random key in the original's form."""
    return base64.urlsafe_b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


def default_folder(root: Path) -> Path:
    """Where the keys of the app in `root` are kept without a data folder: the user's own state."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    name = base64.urlsafe_b64encode(str(root).encode()).decode().rstrip("=")[-100:]
    return Path(state) / "hubbub" / f"{root.name}-{name}"


class KeyStore:
    """The keys of one app in `folder`/secrets. Several processes may use it at the same time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "secrets"
        self._read: dict[str, tuple[int, dict[str, Any]]] = {}  # by file: when changed, what

    def __repr__(self) -> str:
        return f"<KeyStore {self.folder}>"

    def host(self) -> HostKeys:
        """The host's keys, made when they are first asked for."""
        document = self._load(_HOST_FILE)
        if document is None:
            keys = HostKeys(new_key(), {DEFAULT: new_key()}, {SIGNALR: new_key()})
            document = self._create(_HOST_FILE, _host_document(keys))
        path = self.folder / _HOST_FILE
        master = _entries([document.get("masterKey")], path)
        return HostKeys(
            next(iter(master.values())),
            _entries(document.get("functionKeys"), path),
            _entries(document.get("systemKeys"), path),
        )

    def system(self, name: str) -> str:
        """The system key `name`, made where somebody has removed it."""
        keys = self.host()
        if name not in keys.system:
            keys.system[name] = new_key()
            self.set_host(keys)
        return keys.system[name]

    def function(self, name: str) -> dict[str, str]:
        """The keys of one function, made when they are first asked for."""
        file = _file(name)
        document = self._load(file)
        if document is None:
            document = self._create(file, {"keys": _listed({DEFAULT: new_key()})})
        return _entries(document.get("keys"), self.folder / file)

    def set_host(self, keys: HostKeys) -> None:
        """Replace the host's keys."""
        self._write(_HOST_FILE, _host_document(keys))

    def set_function(self, name: str, keys: Mapping[str, str]) -> None:
        """Replace the keys of one function."""
        self._write(_file(name), {"keys": _listed(keys)})

    def _load(self, file: str) -> dict[str, Any] | None:
        """The document in a file, read again when the file has changed."""
        path = self.folder / file
        try:
            changed = path.stat().st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            return None
        known = self._read.get(file)
        if known is not None and known[0] == changed:
            return known[1]
        document = read_json_object(path)
        if document is not None:
            self._read[file] = changed, document
        return document

    def _create(self, file: str, document: dict[str, Any]) -> dict[str, Any]:
        """Write a file that is not there yet; what another process has written first counts."""
        temporary = self._temporary(document)
        try:
            os.link(temporary, self.folder / file)
        except FileExistsError:
            pass
        finally:
            os.unlink(temporary)
        return self._load(file) or document

    def _write(self, file: str, document: dict[str, Any]) -> None:
        os.replace(self._temporary(document), self.folder / file)
        self._read.pop(file, None)

    def _temporary(self, document: dict[str, Any]) -> str:
        """The document in a new file, which only this user may read."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(dir=self.folder, suffix=".new")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(document, file, indent=2)
        except OSError as error:
            raise ConfigError(
                f"Keys cannot be kept in {self.folder}: {error.strerror}. Pass --data with a "
                "folder that can be written."
            ) from error
        return name


def _file(function: str) -> str:
    return f"{function.lower()}.json"


def _listed(keys: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"name": n, "value": value, "encrypted": False} for n, value in keys.items()]


def _host_document(keys: HostKeys) -> dict[str, Any]:
    return {
        "masterKey": _listed({"master": keys.master})[0],
        "functionKeys": _listed(keys.function),
        "systemKeys": _listed(keys.system),
    }


def _entries(value: Any, path: Path) -> dict[str, str]:
    """Names and values of a list of keys. A file that says something else is the operator's."""
    found: dict[str, str] = {}
    for entry in value if isinstance(value, list) else []:
        given = entry if isinstance(entry, dict) else {}
        if given.get("encrypted"):
            raise ConfigError(
                f"{path} holds encrypted keys, which only the host that has written them can "
                "read. Write plain values, or delete the file to get new keys."
            )
        name, key = given.get("name"), given.get("value")
        if not isinstance(name, str) or not isinstance(key, str) or not key:
            raise ConfigError(
                f"{path}: each key must have a 'name' and a 'value' that is not empty. Correct "
                "the file, or delete it to get new keys."
            )
        found[name] = key
    return found
