"""Which files of an app's folder are its sources, so that a change of them reloads it.

It only looks at paths; watching them is the command line's affair.
"""

import os
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from hubbub.functions.settings import HostSettings

_NAMES = frozenset({"host.json", "function.json", "local.settings.json"})
# Folders that tools fill; a folder whose name begins with a dot is one of them as well.
_GENERATED = frozenset({"__pycache__", "node_modules", "site-packages", "build", "dist"})


class Sources:
    """The sources of the app in one folder."""

    def __init__(self, root: Path, settings: HostSettings) -> None:
        self.root = root.resolve()
        self._names = _NAMES | frozenset(settings.watched_files)
        self._folders = tuple(self.root / name for name in settings.watched_directories)

    def __contains__(self, path: object) -> bool:
        """Whether a change of the file at `path` concerns the app."""
        file = Path(str(path))
        if not file.is_relative_to(self.root):
            return False
        if any(file.is_relative_to(folder) for folder in self._folders):
            return True
        if file.suffix != ".py" and file.name not in self._names:
            return False
        depth = len(file.relative_to(self.root).parts)
        return not any(_is_generated(folder) for folder in file.parents[: depth - 1])

    def look(self) -> dict[str, tuple[int, int]]:
        """Time and size of each source as it is, to compare with a later look."""
        found: dict[str, tuple[int, int]] = {}
        for top in (self.root, *self._folders):
            for folder, folders, files in os.walk(top):
                folders[:] = [name for name in folders if not _is_generated(Path(folder, name))]
                for path in (os.path.join(folder, name) for name in files):
                    if path in self:
                        with suppress(OSError):  # it may be gone by now
                            about = os.stat(path)
                            found[path] = about.st_mtime_ns, about.st_size
        return found


def _is_generated(folder: Path) -> bool:
    """Whether tools have filled a folder. A virtual environment may have any name."""
    name = folder.name
    return name in _GENERATED or name.startswith(".") or _is_environment(folder)


@lru_cache(maxsize=1024)
def _is_environment(folder: Path) -> bool:
    return os.path.isfile(folder / "pyvenv.cfg")  # false where it may not be looked at
