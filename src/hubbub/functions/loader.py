"""Imports an app and turns what it declares into `Function` values.

It calls no function of the app. An app that cannot be imported is one ConfigError with file and
line; a function that cannot be loaded is a `Refusal`, and the others run.
"""

import importlib
import inspect
import json
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from hubbub.errors import ConfigError
from hubbub.functions.function import (
    Function,
    FunctionError,
    Refusal,
    check_bindings,
    check_name,
    parse_binding,
)
from hubbub.functions.settings import AppSettings, HostSettings

DEFAULT_SCRIPT = "function_app.py"
_SCRIPT = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_\-]*\.py")
_MODULE_HINT = (
    "Cannot find module. Please check the requirements.txt file for the missing module, and "
    "install it into the environment that runs this host."
)


@dataclass(frozen=True, slots=True)
class LoadedApp:
    """The functions that run, in the order of their names, and those that do not."""

    functions: tuple[Function, ...]
    refused: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class Declaration:
    """What either programming model says of one function, not checked yet."""

    name: str
    bindings: list[dict[str, Any]]
    call: Callable[..., Any]
    directory: str
    location: str
    config: Mapping[str, Any] = field(default_factory=dict)  # the rest of its function.json


def load_app(root: Path, host: HostSettings, settings: AppSettings) -> LoadedApp:
    """Import the app in the folder `root` and check its functions one by one."""
    script = script_name(settings)
    if not root.is_dir():
        raise ConfigError(f"{root} is not a folder. Name the folder of a function app.")
    if not (root / script).is_file():
        raise ConfigError(
            f"{root} has no {script}, so there is no function app in it. Name the folder that "
            f"holds {script}."
        )
    declarations = declared_functions(import_script(root, script), root)
    return check_functions(declarations, host, settings)


def script_name(settings: AppSettings) -> str:
    """`function_app.py`, or what PYTHON_SCRIPT_FILE_NAME says."""
    name = settings.find("PYTHON_SCRIPT_FILE_NAME") or DEFAULT_SCRIPT
    if not _SCRIPT.fullmatch(name):
        raise ConfigError(
            f"Invalid file name: {name}. PYTHON_SCRIPT_FILE_NAME must name a .py file of letters, "
            "digits, '_' and '-'."
        )
    return name


def import_script(root: Path, script: str) -> ModuleType:
    """Import the script with the app's folder first on the path, as the original does."""
    _extend_path(root)
    stem = script.removesuffix(".py")
    # A registry of functions can be read once only, so a second load needs a new module.
    sys.modules.pop(stem, None)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(stem)
    except (Exception, SystemExit) as error:  # whatever the app does while it is imported
        raise ConfigError(_import_failure(error, root, script)) from error


def _extend_path(root: Path) -> None:
    packages = root / ".python_packages" / "lib" / "site-packages"
    wanted = [str(root), *([str(packages)] if packages.is_dir() else [])]
    sys.path[:] = wanted + [entry for entry in sys.path if entry not in wanted]


def _import_failure(error: BaseException, root: Path, script: str) -> str:
    kind = type(error).__name__
    text = f"{error.msg}" if isinstance(error, SyntaxError) else _message(error)
    sentence = f"{failure_location(error, root, script)}: the app cannot be loaded. {kind}: {text}"
    if isinstance(error, ModuleNotFoundError):
        return f"{sentence}. {_MODULE_HINT}"
    if isinstance(error, SystemExit):
        return f"{sentence}. It ends the process while it is imported; move that into a function."
    return sentence


def failure_location(error: BaseException, root: Path, script: str) -> str:
    """ "file:line" of the app's own line that failed, else of the innermost line."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_relative(error.filename, root)}:{error.lineno or 1}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<")
    ]
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(root)]
    if not own:
        return script
    return f"{_relative(own[-1].filename, root)}:{own[-1].lineno}"


def _relative(filename: str, root: Path) -> str:
    path = Path(filename)
    return str(path.relative_to(root)) if path.is_relative_to(root) else filename


def declared_functions(module: ModuleType, root: Path) -> list[Declaration]:
    """What the one app object of the module declares."""
    register = _app_object(module)
    script = f"{module.__name__}.py"
    try:
        functions = register.get_functions()
        return [_declaration(function, root) for function in functions]
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # the library's own checks
        raise ConfigError(f"{script}: the app cannot be loaded. {_message(error)}") from error


def _message(error: BaseException) -> str:
    """The text of an error; a KeyError would put its own in quotes."""
    return str(error.args[0] if isinstance(error, KeyError) and error.args else error)


def _app_object(module: ModuleType) -> Any:
    from azure.functions import FunctionRegister

    script = f"{module.__name__}.py"
    found: dict[int, Any] = {}
    for name in dir(module):
        value = getattr(module, name, None)
        if isinstance(value, FunctionRegister):
            found[id(value)] = value
    if not found:
        raise ConfigError(
            f"Could not find top level function app instances in {script}. "
            "Write `app = func.FunctionApp()` at its top level and decorate functions with it."
        )
    apps = list(found.values())
    if len(apps) > 1:
        raise ConfigError(
            f"{script}: More than one {type(apps[0]).__name__} or other top level function app "
            "instances are defined. Keep one, and make the others blueprints."
        )
    return apps[0]


def _declaration(function: Any, root: Path) -> Declaration:
    call = function.get_user_function()
    code = getattr(inspect.unwrap(call), "__code__", None)
    filename = code.co_filename if code else str(root / DEFAULT_SCRIPT)
    line = f":{code.co_firstlineno}" if code else ""
    return Declaration(
        name=function.get_function_name(),
        bindings=[json.loads(raw) for raw in function.get_raw_bindings()],
        call=call,
        directory=str(Path(filename).resolve().parent),
        location=f"{_relative(filename, root)}{line}",
    )


def check_functions(
    declarations: Iterable[Declaration], host: HostSettings, settings: AppSettings
) -> LoadedApp:
    """Check each declaration by itself; the order of names is the original's order."""
    functions: list[Function] = []
    refused: list[Refusal] = []
    seen: set[str] = set()
    for declared in sorted(declarations, key=lambda item: item.name.lower()):
        if host.functions is not None and declared.name.lower() not in host.functions:
            continue
        try:
            functions.append(_check(declared, settings, seen))
        except FunctionError as error:
            refused.append(Refusal(declared.name, str(error), declared.location))
    return LoadedApp(tuple(functions), tuple(refused))


def _check(declared: Declaration, settings: AppSettings, seen: set[str]) -> Function:
    from hubbub.functions.parameters import bind

    check_name(declared.name)
    if declared.name.lower() in seen:
        raise FunctionError(
            f"another function has the name '{declared.name}', ignoring case; rename one of them."
        )
    seen.add(declared.name.lower())
    if is_disabled(declared.name, settings):
        raise FunctionError(
            f"it is disabled by the app setting AzureWebJobs.{declared.name}.Disabled."
        )
    bindings = [parse_binding(_plain(entry)) for entry in declared.bindings]
    check_bindings(bindings)
    return bind(
        declared.name,
        bindings,
        declared.call,
        directory=declared.directory,
        location=declared.location,
    )


def _plain(entry: Any) -> Mapping[str, Any]:
    if not isinstance(entry, Mapping):
        raise FunctionError("each of its bindings must be a JSON object.")
    return entry


def is_disabled(name: str, settings: AppSettings) -> bool:
    """Whether an app setting switches the function off."""
    return settings.is_true(f"AzureWebJobs.{name}.Disabled") or settings.is_true(
        f"AzureWebJobs_{name}_Disabled"
    )
