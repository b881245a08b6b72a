"""The programming model with folders: each with a `function.json` and a script (facts, 1.7).

A folder that is wrong is a Refusal, and the others are loaded.
"""

import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from hubbub.errors import ConfigError
from hubbub.functions.declaration import Declaration
from hubbub.functions.function import FunctionError, Refusal
from hubbub.functions.importing import ImportFailure, extend_path, import_module
from hubbub.functions.jsonfile import read_json_object
from hubbub.functions.trail import relative

_FILE = "function.json"
_PACKAGE = "__app__"  # the name under which the original imports the app's folder


def find_folders(root: Path) -> list[Path]:
    """The folders of functions, which lie directly in the app's, in the order of their names."""
    # Not Path.is_file: a folder beside them that may not be read is none, and no error.
    found = [entry for entry in root.iterdir() if os.path.isfile(entry / _FILE)]
    return sorted(found, key=lambda entry: entry.name.lower())


def declared_in(root: Path, folders: list[Path]) -> tuple[list[Declaration], list[Refusal]]:
    """Import the functions of the folders; what they declare, and those that cannot be imported."""
    extend_path(root)
    _provide_package(root)
    declared: list[Declaration] = []
    refused: list[Refusal] = []
    for folder in folders:
        try:
            declared.append(_declaration(folder, root))
        except ImportFailure as error:
            refused.append(Refusal(folder.name, f"it cannot be loaded. {error}", error.location))
        except ConfigError as error:
            refused.append(Refusal(folder.name, str(error), f"{folder.name}/{_FILE}"))
    return declared, refused


def _provide_package(root: Path) -> None:
    """Make `from ..shared import x` and `from __app__.shared import x` mean the app's folder."""
    for name in [name for name in sys.modules if name.split(".")[0] == _PACKAGE]:
        del sys.modules[name]
    package = ModuleType(_PACKAGE)
    package.__path__ = [str(root)]
    sys.modules[_PACKAGE] = package


def _declaration(folder: Path, root: Path) -> Declaration:
    config = read_json_object(folder / _FILE) or {}
    script = _script(folder, config.get("scriptFile"))
    module = import_module(_module_name(folder, root, script), root, relative(str(script), root))
    entry = str(config.get("entryPoint") or "main")
    call = getattr(module, entry, None)
    if not callable(call):
        raise FunctionError(
            f"cannot load function {folder.name}: function {entry}() is not present in "
            f"{relative(str(script), root)}"
        )
    bindings = config.get("bindings")
    if bindings is not None and not isinstance(bindings, list):
        raise FunctionError("'bindings' must be a list of JSON objects.")
    return Declaration(
        name=folder.name,
        bindings=bindings or [],
        call=call,
        directory=str(folder),
        location=f"{relative(str(script), root)}{_line(call)}",
        config=config,
        is_folder=True,
    )


def _script(folder: Path, given: Any) -> Path:
    """The file of the function: `scriptFile`, else the only file beside function.json."""
    if given:
        try:
            script = (folder / str(given)).resolve()
            if script.is_file():
                return script
        except (OSError, ValueError):  # no file can have such a name, or it cannot be looked at
            pass
        raise FunctionError(
            "Invalid script file name configuration. The 'scriptFile' property is set to a "
            f"file that does not exist: {given!r}."
        )
    files = [entry for entry in folder.iterdir() if entry.is_file() and entry.name != _FILE]
    if len(files) == 1:
        return files[0]
    for name in ("run.py", "__init__.py"):
        if (folder / name) in files:
            return folder / name
    raise FunctionError(
        "Unable to determine the primary function script. Name it in 'scriptFile', or call it "
        "__init__.py."
    )


def _module_name(folder: Path, root: Path, script: Path) -> str:
    if script.suffix != ".py":
        raise FunctionError(
            f"cannot load function {folder.name}: invalid Python filename {script.name}"
        )
    if not script.is_relative_to(root.resolve()):
        raise FunctionError(f"its script {script} lies outside of the app's folder. Move it in.")
    parts = list(script.relative_to(root.resolve()).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join([_PACKAGE, *parts])


def _line(call: Callable[..., Any]) -> str:
    code = getattr(inspect.unwrap(call), "__code__", None)
    return f":{code.co_firstlineno}" if code else ""
