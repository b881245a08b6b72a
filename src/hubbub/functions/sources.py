"""Which files of an app's folder are its sources, so that a change of them reloads it.

It only looks at paths; watching them is the command line's affair.
"""

from functools import lru_cache
from pathlib import Path

from hubbub.functions.settings import HostSettings

_NAMES = frozenset({"host.json", "function.json", "local.settings.json"})
# Folders that tools fill; a folder whose name begins with a dot is one of them as well.
_GENERATED = frozenset({"__pycache__", "node_modules", "site-packages", "build", "dist"})


class Sources:
    """The sources of the app in one folder."""

    def __init__(self, root: Path, settings: HostSettings) -> None:
        self._root = root.resolve()
        self._names = _NAMES | frozenset(settings.watched_files)
        self._folders = tuple(self._root / name for name in settings.watched_directories)

    def __contains__(self, path: object) -> bool:
        """Whether a change of the file at `path` concerns the app."""
        file = Path(str(path))
        if not file.is_relative_to(self._root):
            return False
        if any(file.is_relative_to(folder) for folder in self._folders):
            return True
        if file.suffix != ".py" and file.name not in self._names:
            return False
        folders = file.relative_to(self._root).parts[:-1]
        if any(name in _GENERATED or name.startswith(".") for name in folders):
            return False
        parents = [self._root.joinpath(*folders[:depth]) for depth in range(1, len(folders) + 1)]
        return not any(_is_environment(folder) for folder in parents)


@lru_cache(maxsize=1024)
def _is_environment(folder: Path) -> bool:
    """Whether a folder is a virtual environment, whatever its name."""
    return (folder / "pyvenv.cfg").is_file()
