"""Packages the official browser client when a wheel or an editable install is built.

The script is not committed: it comes from the npm package that package.json pins. Without npm the
build goes on, the service has no script to serve, and a page takes it from a public CDN.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "@microsoft/signalr"
SCRIPT = "dist/browser/signalr.min.js"
TARGET = "src/hubbub/service/static/signalr.js"
NPM_SECONDS = 120  # a registry that answers takes two; a build must not hang on one that does not
# The MIT licence asks for its notice in every copy, and the minified script has none.
NOTICE = "/*! {package} {version}, (c) .NET Foundation and Contributors, MIT licence */\n"


class ClientMissingError(Exception):
    """The browser client could not be had; the text says why, in one line."""


class BrowserClientHook(BuildHookInterface[Any]):
    """Copies the browser client into the package before hatchling collects its files."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Copy the script, or say in one line that this build goes without it."""
        try:
            copy_browser_client(Path(self.root))
        except ClientMissingError as reason:
            self.app.display_warning(
                f"{PACKAGE} is not packaged ({reason}): pages take it from a public CDN"
            )


def copy_browser_client(root: Path) -> Path:
    """Write the script from node_modules, else from `npm pack`, and return where it is."""
    package = json.loads((root / "package.json").read_text(encoding="utf-8"))
    version = package["devDependencies"][PACKAGE]
    script = installed_script(root / "node_modules" / PACKAGE, version)
    if script is None:
        script = packed_script(f"{PACKAGE}@{version}")
    target = root / TARGET
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(NOTICE.format(package=PACKAGE, version=version).encode() + script)
    return target


def installed_script(folder: Path, version: str) -> bytes | None:
    """Return the script out of node_modules, or None if it is missing or of another version."""
    description, script = folder / "package.json", folder / SCRIPT
    if not (description.is_file() and script.is_file()):
        return None
    if json.loads(description.read_bytes())["version"] != version:
        return None
    return script.read_bytes()


def packed_script(specification: str) -> bytes:
    """Return the script out of the archive that `npm pack` brings."""
    npm = shutil.which("npm")
    if npm is None:
        raise ClientMissingError("npm is not installed")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", specification, "--silent", "--fetch-retries=1"]
        try:
            subprocess.run(  # noqa: S603 - the pinned package, no shell
                command,
                cwd=folder,
                check=True,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=NPM_SECONDS,
            )
            (archive,) = Path(folder).glob("*.tgz")
            with tarfile.open(archive, "r:gz") as tar:
                file = tar.extractfile(f"package/{SCRIPT}")
                if file is None:
                    raise LookupError(SCRIPT)
                return file.read()
        except (OSError, subprocess.SubprocessError, tarfile.TarError, LookupError, ValueError):
            raise ClientMissingError(f"`npm pack {specification}` failed") from None
