"""What talks to a service: the management client, and the hub client of an app.

Both run against Azure SignalR Service too. Importing this is cheap: what it exports is imported
when it is first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from hubbub.client.blocking import SyncServiceClient
    from hubbub.client.connection import ConnectionState, HubClient
    from hubbub.client.failures import (
        ConnectError,
        ConnectionLostError,
        HubError,
        OverloadError,
        ServerClosedError,
    )
    from hubbub.client.management import ServiceClient
    from hubbub.client.restretry import RestRetry
    from hubbub.client.retry import Backoff, RetryPolicy

__all__ = [
    "Backoff",
    "ConnectError",
    "ConnectionLostError",
    "ConnectionState",
    "HubClient",
    "HubError",
    "OverloadError",
    "RestRetry",
    "RetryPolicy",
    "ServerClosedError",
    "ServiceClient",
    "SyncServiceClient",
]

_HOMES: Final = {
    "Backoff": "retry",
    "ConnectError": "failures",
    "ConnectionLostError": "failures",
    "ConnectionState": "connection",
    "HubClient": "connection",
    "HubError": "failures",
    "OverloadError": "failures",
    "RestRetry": "restretry",
    "RetryPolicy": "retry",
    "ServerClosedError": "failures",
    "ServiceClient": "management",
    "SyncServiceClient": "blocking",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
