"""`hubbub doctor` on what is installed: Python, packages, the browser client, limits of the system.

It calls nobody.
"""

import importlib.util
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import hubbub
from hubbub.cli.finding import Finding, fine, problem

__all__ = ["browser_client", "extras", "file_limit", "installation", "python"]

_SERVER: Final = (
    "azure.functions",
    "click",
    "httptools",
    "segno",
    "starlette",
    "uvicorn",
    "uvloop",
    "watchfiles",
    "websockets",
)
_AZURE: Final = ("azure.identity", "azure.keyvault.secrets", "cryptography")
_OLDEST: Final = (3, 11)
_NEWEST: Final = (3, 14)
_FEW_FILES: Final = 4096  # each client is one


def installation() -> Iterator[Finding]:
    """Everything that concerns this installation."""
    yield python(sys.version_info[:3])
    yield from extras(_is_installed)
    yield browser_client(Path(hubbub.__file__).parent / "service" / "static" / "signalr.js")
    yield file_limit(resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def python(version: tuple[int, ...]) -> Finding:
    """Whether it is a Python that Hubbub is tested with."""
    name = ".".join(map(str, version))
    if _OLDEST <= version[:2] <= _NEWEST:
        return fine("python", f"Python {name}.")
    return problem(
        "python",
        f"Python {name} is not one that Hubbub is tested with.",
        "Use Python 3.11 to 3.14, in a virtual environment of its own.",
    )


def extras(is_installed: Callable[[str], bool]) -> Iterator[Finding]:
    """Whether the packages are there that servers need; those for Azure are needed by few."""
    missing = [name for name in _SERVER if not is_installed(name)]
    if missing:
        yield problem(
            "extras", f"Not installed: {', '.join(missing)}.", "pip install 'hubbub[server]'"
        )
    else:
        yield fine("extras", "All packages of hubbub[server] are installed.")
    if any(not is_installed(name) for name in _AZURE):
        text = "hubbub[azure] is not installed; only Entra identities and Key Vault need it."
    else:
        text = "All packages of hubbub[azure] are installed."
    yield fine("extras", text)


def browser_client(script: Path) -> Finding:
    """Whether the service can serve the official browser client."""
    if script.is_file():
        return fine("browser client", "The service serves it at /scripts/signalr.js.")
    return problem(
        "browser client",
        "It is not packaged, so /scripts/signalr.js is missing and pages need a public CDN.",
        "Install npm, then install Hubbub again: pip install --force-reinstall --no-deps hubbub, "
        "or './dev demo' in a checkout.",
    )


def file_limit(hard: int) -> Finding:
    """Whether the system lets a process have many connections."""
    if hard in {resource.RLIM_INFINITY, -1}:
        return fine("file limit", "A process may have as many connections as memory allows.")
    if hard >= _FEW_FILES:
        return fine("file limit", f"A process may have {hard} files and connections.")
    return problem(
        "file limit",
        f"A process may have {hard} files only, and each client is one.",
        "Raise the hard limit: LimitNOFILE= in a systemd unit, --ulimit nofile= of a container, "
        "or /etc/security/limits.conf.",
    )


def _is_installed(name: str) -> bool:
    try:
        found: Any = importlib.util.find_spec(name)
    except ImportError:  # of the package that it would be in
        return False
    return found is not None
