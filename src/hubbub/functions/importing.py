"""Imports the app's own code, and says in one sentence with file and line why that has failed.

It knows no programming model and calls no function.
"""

import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType

from hubbub.functions.trail import is_own, missing_setting, relative, trail

_MODULE_HINT = (
    "Cannot find module. Please check the requirements.txt file for the missing module, and "
    "install it into the environment that runs this host: {python} -m pip install {what}"
)


class ImportFailure(Exception):
    """The app's code could not be imported.

    The text is a whole sentence without the place, and the lines that led to it below.
    """

    def __init__(self, location: str, text: str) -> None:
        super().__init__(text)
        self.location = location


def extend_path(root: Path) -> None:
    """Put the app's folder first on the path, and the packages that were published with it."""
    packages = root / ".python_packages" / "lib" / "site-packages"
    wanted = [str(root), *([str(packages)] if packages.is_dir() else [])]
    sys.path[:] = wanted + [entry for entry in sys.path if entry not in wanted]


def import_module(name: str, root: Path, script: str) -> ModuleType:
    """Import a module of the app. Raises ImportFailure; `script` is its place if nothing else is.

    What the app does while it is imported may raise anything, and even end the process.
    """
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        place = failure_location(error, root, script)
        raise ImportFailure(place, _text(error, root) + trail(error, root)) from error


def _text(error: BaseException, root: Path) -> str:
    kind = type(error).__name__
    text = f"{error.msg}" if isinstance(error, SyntaxError) else message(error)
    sentence = f"{kind}: {text}"
    if name := missing_setting(error):
        return (
            f"{sentence}. The app asks the environment for the setting '{name}' while it is "
            f"imported, and there is none. Put '{name}' into the Values of local.settings.json, or "
            "into the environment."
        )
    if isinstance(error, ModuleNotFoundError):
        file = root / "requirements.txt"
        what = f"-r {file}" if file.is_file() else "MODULE"
        return f"{sentence}. {_MODULE_HINT.format(python=sys.executable, what=what)}"
    if isinstance(error, SystemExit):
        return f"{sentence}. It ends the process while it is imported; move that into a function."
    return sentence


def message(error: BaseException) -> str:
    """The text of an error; a KeyError would put its own in quotes."""
    return str(error.args[0] if isinstance(error, KeyError) and error.args else error)


def failure_location(error: BaseException, root: Path, script: str) -> str:
    """ "file:line" of the app's own line that failed, else of the innermost line."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{relative(error.filename, root)}:{error.lineno or 1}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<")
    ]
    own = [frame for frame in frames if is_own(frame.filename, root)]
    if not own:
        return script
    return f"{relative(own[-1].filename, root)}:{own[-1].lineno}"
