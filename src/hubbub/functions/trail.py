"""The way to an error in an app's code: its own lines, and the errors that it was raised from.

What libraries do in between is left out; a person looks for what to change in the app.
"""

import os
import traceback
from collections.abc import Iterator
from pathlib import Path

_MOST_ERRORS = 5  # of a chain
_MOST_LINES = 12  # of one error; the innermost count
_OS_FILES = {"<frozen os>", os.__file__}


def trail(error: BaseException, root: Path) -> str:
    """The lines below the sentence about `error`, "" where there is nothing to show."""
    lines = list(_lines(error, root))
    shown = [error]
    while (cause := _cause(shown[-1])) is not None and len(shown) < _MOST_ERRORS:
        word = "raised from" if shown[-1].__cause__ is not None else "raised while handling"
        lines += [f"    {word} {type(cause).__name__}: {cause}", *_lines(cause, root)]
        shown.append(cause)
    return "".join(f"\n{line}" for line in lines)


def _cause(error: BaseException) -> BaseException | None:
    if error.__cause__ is not None or error.__suppress_context__:
        return error.__cause__
    return error.__context__


def _lines(error: BaseException, root: Path) -> Iterator[str]:
    """Each of the app's lines that the error has come through, the innermost last."""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if is_own(frame.filename, root)
    ]
    for frame in frames[-_MOST_LINES:]:
        place = f"{relative(frame.filename, root)}:{frame.lineno}, in {frame.name}"
        yield f"    {place}: {frame.line}" if frame.line else f"    {place}"
    if isinstance(error, SyntaxError) and error.filename and error.text:
        place = f"{relative(error.filename, root)}:{error.lineno or 1}"
        yield f"    {place}: {error.text.strip()}"


def missing_setting(error: BaseException) -> str | None:
    """The name that the app has asked `os.environ` for in vain, or None."""
    if not isinstance(error, KeyError) or not error.args:
        return None
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or frames[-1].filename not in _OS_FILES or frames[-1].name != "__getitem__":
        return None
    return str(error.args[0])


def is_own(filename: str, root: Path) -> bool:
    """Whether a file is the app's, and not one of a library that lies in the app's folder."""
    path = Path(filename)
    if filename.startswith("<") or not path.is_relative_to(root):
        return False
    return "site-packages" not in path.relative_to(root).parts


def relative(filename: str, root: Path) -> str:
    """A file as seen from the app's folder, or as it is where it lies elsewhere."""
    path = Path(filename)
    return str(path.relative_to(root)) if path.is_relative_to(root) else filename
