"""Hubs as classes: each public method answers what clients call by its name, here and on Azure.

It needs a client of the service and nothing of the service itself. Functions are registered through
an app's generic decorators, so the app decides which `azure-functions` runs them.
"""

from hubbub.serverless.arguments import ArgumentError
from hubbub.serverless.audience import Audience, HubClients
from hubbub.serverless.context import InvocationContext, NoInvocationError
from hubbub.serverless.filters import Check, RefusedError, checked_by, requires_claim
from hubbub.serverless.hub import ServerlessHub
from hubbub.serverless.link import ConnectionInfo
from hubbub.serverless.naming import target
from hubbub.serverless.streaming import StreamingError

__all__ = [
    "ArgumentError",
    "Audience",
    "Check",
    "ConnectionInfo",
    "HubClients",
    "InvocationContext",
    "NoInvocationError",
    "RefusedError",
    "ServerlessHub",
    "StreamingError",
    "checked_by",
    "requires_claim",
    "target",
]
