"""Which files of an app's folder are its sources, so that a change of them reloads it.

It only looks at paths; watching them is the command line's affair.
"""

import os
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from hubbub.functions.settings import HostSettings

_NAMES = frozenset({"host.json", "function.json", "local.settings.json"})
# Folders that tools fill; a folder whose name begins with a dot is one of them as well.
_GENERATED = frozenset({"__pycache__", "node_modules", "site-packages", "build", "dist"})


_ENVIRONMENT = "pyvenv.cfg"  # what every virtual environment has
# Nanoseconds in which a folder may change twice and have one time: file systems differ.
_SAME_TIME = 3_000_000_000


class _Listing(NamedTuple):
    """What was found in a folder, as long as its time does not change."""

    changed: int
    folders: tuple[str, ...]
    sources: tuple[str, ...]


class Sources:
    """The sources of the app in one folder."""

    def __init__(self, root: Path, settings: HostSettings) -> None:
        self.root = root.resolve()
        self._names = _NAMES | frozenset(settings.watched_files)
        self._folders = tuple(self.root / name for name in settings.watched_directories)
        self._listings: dict[tuple[str, bool], _Listing] = {}  # of the look before

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
        """Time and size of each source as it is, to compare with a later look.

        A later look is cheap: it lists only the folders that have changed.
        """
        found: dict[str, tuple[int, int]] = {}
        before, self._listings = self._listings, {}
        tops = [folder for folder in self._folders if folder.is_relative_to(self.root)]
        waiting = [(str(self.root), False), *((str(top), True) for top in tops)]
        firsts = set(waiting)
        while waiting:
            key = folder, takes_all = waiting.pop()
            listing = self._list(key, before.get(key), is_top=key in firsts)
            waiting += [(os.path.join(folder, name), takes_all) for name in listing.folders]
            for path in (os.path.join(folder, name) for name in listing.sources):
                with suppress(OSError):  # it may be gone by now
                    about = os.stat(path)
                    found[path] = about.st_mtime_ns, about.st_size
        return found

    def _list(self, key: tuple[str, bool], known: _Listing | None, *, is_top: bool) -> _Listing:
        folder, takes_all = key
        now = time.time_ns()
        try:
            changed = os.stat(folder).st_ctime_ns  # which no tool sets back
            if known is None or known.changed != changed:
                known = self._list_anew(folder, changed, takes_all, is_top)
        except OSError:  # it is gone, or may not be looked at
            return _Listing(0, (), ())
        if abs(now - changed) > _SAME_TIME:
            self._listings[key] = known
        return known

    def _list_anew(self, folder: str, changed: int, takes_all: bool, is_top: bool) -> _Listing:
        folders, sources = [], []
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if entry.is_dir(follow_symlinks=False):
                    if not _has_generated_name(name):
                        folders.append(name)
                elif takes_all or name.endswith(".py") or name in self._names:
                    sources.append(name)
                if name == _ENVIRONMENT and not is_top:
                    return _Listing(changed, (), ())
        return _Listing(changed, tuple(folders), tuple(sources))


def _is_generated(folder: Path) -> bool:
    """Whether tools have filled a folder. A virtual environment may have any name."""
    return _has_generated_name(folder.name) or _is_environment(folder)


def _has_generated_name(name: str) -> bool:
    return name in _GENERATED or name.startswith(".")


@lru_cache(maxsize=1024)
def _is_environment(folder: Path) -> bool:
    return os.path.isfile(folder / _ENVIRONMENT)  # false where it may not be looked at
