"""Finds out which programming model an app has, and checks each function that it declares.

It calls no function of the app. A function that cannot be loaded is a Refusal, and the others run.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hubbub.errors import ConfigError
from hubbub.functions.declaration import Declaration
from hubbub.functions.decorated import declared_by
from hubbub.functions.folders import declared_in, find_folders
from hubbub.functions.function import (
    Function,
    FunctionError,
    Refusal,
    check_bindings,
    check_name,
    parse_binding,
)
from hubbub.functions.retry import parse_retry
from hubbub.functions.settings import AppSettings, HostSettings

DEFAULT_SCRIPT = "function_app.py"
_SCRIPT = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_\-]*\.py")


@dataclass(frozen=True, slots=True)
class LoadedApp:
    """The functions that run, in the order of their names, and those that do not."""

    functions: tuple[Function, ...]
    refused: tuple[Refusal, ...]
    warnings: tuple[str, ...] = ()


def load_app(root: Path, host: HostSettings, settings: AppSettings) -> LoadedApp:
    """Import the app in the folder `root` and check its functions one by one.

    A script with decorators counts before folders, as in the original.
    """
    script = script_name(settings)
    if not root.is_dir():
        raise ConfigError(f"{root} is not a folder. Name the folder of a function app.")
    folders = find_folders(root)
    if (root / script).is_file():
        loaded = check_functions(declared_by(root, script), host, settings)
        return replace(loaded, warnings=_mixed(folders, script))
    if not folders:
        raise ConfigError(
            f"{root} has no {script}, so there is no function app in it. Name the folder that "
            f"holds {script}, or folders with a function.json."
        )
    wanted = [folder for folder in folders if _is_wanted(folder.name, host)]
    declarations, refused = declared_in(root, wanted)
    loaded = check_functions(declarations, host, settings)
    everything = sorted([*refused, *loaded.refused], key=lambda refusal: refusal.name.lower())
    return replace(loaded, refused=tuple(everything))


def _mixed(folders: list[Path], script: str) -> tuple[str, ...]:
    if not folders:
        return ()
    names = ", ".join(folder.name for folder in folders)
    warning = (
        f"Detected mixed function app. Some functions may not be indexed - {names}: folders with a "
        f"function.json do not count beside {script}. Move them into it."
    )
    return (warning,)


def _is_wanted(name: str, host: HostSettings) -> bool:
    """Whether host.json's `functions`, if it has one, names the function."""
    return host.functions is None or name.lower() in host.functions


def script_name(settings: AppSettings) -> str:
    """`function_app.py`, or what PYTHON_SCRIPT_FILE_NAME says."""
    name = settings.find("PYTHON_SCRIPT_FILE_NAME") or DEFAULT_SCRIPT
    if not _SCRIPT.fullmatch(name):
        raise ConfigError(
            f"Invalid file name: {name}. PYTHON_SCRIPT_FILE_NAME must name a .py file of letters, "
            "digits, '_' and '-'."
        )
    return name


def check_functions(
    declarations: Iterable[Declaration], host: HostSettings, settings: AppSettings
) -> LoadedApp:
    """Check each declaration by itself; the order of names is the original's order."""
    functions: list[Function] = []
    refused: list[Refusal] = []
    seen: set[str] = set()
    for declared in sorted(declarations, key=lambda item: item.name.lower()):
        if not _is_wanted(declared.name, host):
            continue
        try:
            functions.append(_check(declared, host, settings, seen))
        except FunctionError as error:
            refused.append(Refusal(declared.name, str(error), declared.location))
    return LoadedApp(tuple(functions), tuple(refused))


def _check(
    declared: Declaration, host: HostSettings, settings: AppSettings, seen: set[str]
) -> Function:
    from hubbub.functions.parameters import bind
    from hubbub.functions.webapp import find_inner

    check_name(declared.name)
    if declared.name.lower() in seen:
        raise FunctionError(
            f"another function has the name '{declared.name}', ignoring case; rename one of them."
        )
    seen.add(declared.name.lower())
    _check_enabled(declared, settings)
    bindings = [parse_binding(_plain(entry)) for entry in declared.bindings]
    check_bindings(bindings)
    retry = declared.config.get("retry", host.retry)
    if retry is not None and not isinstance(retry, Mapping):
        raise FunctionError("'retry' must be a JSON object.")
    return replace(
        bind(declared, bindings),
        retry=parse_retry(retry),
        inner=find_inner(declared.call),
        declared=declared.config,
    )


def _plain(entry: Any) -> Mapping[str, Any]:
    if not isinstance(entry, Mapping):
        raise FunctionError("each of its bindings must be a JSON object.")
    return entry


def _check_enabled(declared: Declaration, settings: AppSettings) -> None:
    """Refuse a function that a setting or its own function.json switches off."""
    if is_disabled(declared.name, settings):
        raise FunctionError(
            f"it is disabled by the app setting AzureWebJobs.{declared.name}.Disabled."
        )
    value = declared.config.get("disabled")
    if value is True or (isinstance(value, str) and settings.is_true(value)):
        raise FunctionError(f"it is disabled by 'disabled' in its function.json: {value}.")


def is_disabled(name: str, settings: AppSettings) -> bool:
    """Whether an app setting switches the function off."""
    return settings.is_true(f"AzureWebJobs.{name}.Disabled") or settings.is_true(
        f"AzureWebJobs_{name}_Disabled"
    )
