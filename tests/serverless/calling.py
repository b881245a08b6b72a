"""Calls the functions of an app with a hub as a host does: by name, with the trigger's JSON."""

import asyncio
import inspect
import json
from typing import Any

import azure.functions as func

from hubbub.serverless import ServerlessHub

NOWHERE = "Endpoint=http://localhost:1;AccessKey=key-of-the-tests-that-is-long-enough;Version=1.0;"


class Host:
    """The functions of one hub, called by the names of its methods."""

    def __init__(self, hub: ServerlessHub[Any]) -> None:
        app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
        hub.register(app)
        self._hub = hub.hub_name
        self.functions = {found.get_function_name(): found for found in app.get_functions()}

    async def call(self, method: str, *arguments: Any, **context: Any) -> Any:
        """What the function for `method` returns; not in the loop's thread where it is plain."""
        function = self.functions[f"{self._hub}_{method}"].get_user_function()
        text = trigger(*arguments, **{"Hub": self._hub, "Event": method} | context)
        if inspect.iscoroutinefunction(function):
            return await function(invocation=text)
        return await asyncio.to_thread(function, invocation=text)


def trigger(*arguments: Any, **context: Any) -> str:
    """The JSON of a signalRTrigger, as the original writes it."""
    members: dict[str, Any] = {
        "Arguments": list(arguments),
        "Error": None,
        "Category": "messages",
        "Event": "say",
        "Hub": "Chat",
        "ConnectionId": "c1",
        "UserId": None,
        "Headers": {},
        "Query": None,
        "Claims": None,
    }
    return json.dumps(members | context)


def bindings(function: func.Function) -> list[dict[str, Any]]:
    """The bindings of a function as hosts read them."""
    return [json.loads(raw) for raw in function.get_raw_bindings()]
