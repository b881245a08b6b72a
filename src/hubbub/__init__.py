"""Hubbub: a real-time service and a serverless function host on the wire of Azure's."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hubbub.serverless import ServerlessHub

__all__ = ["ServerlessHub", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import the hub class when it is first asked for: commands and servers do without it."""
    if name == "ServerlessHub":
        from hubbub.serverless import ServerlessHub

        return ServerlessHub
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
