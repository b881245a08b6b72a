"""Where the command begins: it loads the rest, or says in one sentence which package is missing.

Without its extras the package has clients alone, which apps use that only talk to a service.
"""

import sys
from typing import Final

__all__ = ["main"]

# Which extra brings along what the commands import.
_EXTRAS: Final = {
    "azure.functions": "server",
    "click": "server",
    "httptools": "server",
    "segno": "server",
    "starlette": "server",
    "uvicorn": "server",
    "uvloop": "server",
    "watchfiles": "server",
    "websockets": "server",
    "azure.identity": "azure",
    "azure.keyvault": "azure",
    "cryptography": "azure",
    "hiredis": "redis",
}


def main() -> None:
    """Run the command line and leave with its status."""
    try:
        from hubbub.cli.main import main as run

        run()
    except ModuleNotFoundError as error:
        extra = _extra(error.name or "")
        if extra is None:
            raise
        print(
            f"hubbub: the package {error.name} is not installed. "
            f"Install what this command needs: pip install 'hubbub[{extra}]'",
            file=sys.stderr,
        )
        sys.exit(2)


def _extra(module: str) -> str | None:
    """The extra that has `module`, or anything of it; `azure` alone is the function model's."""
    if module == "azure":
        return "server"
    for package, extra in _EXTRAS.items():
        if module == package or module.startswith(f"{package}."):
            return extra
    return None
