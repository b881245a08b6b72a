"""The chat room of `samples/chat` without its class: one function and its bindings for each event.

It needs `azure-functions` alone. What the class does by itself is written out here.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import azure.functions as func

HERE = Path(__file__).parent
HUB = "chat"

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


def on(event: str, category: str = "messages") -> Callable[[Callable[..., None]], Any]:
    """Run a function at an event of a client, with `output` for what the hub does then."""

    def decorate(function: Callable[..., None]) -> Any:
        with_output = app.generic_output_binding(arg_name="output", type="signalR", hub_name=HUB)
        with_trigger = app.generic_trigger(
            arg_name="invocation",
            type="signalRTrigger",
            hub_name=HUB,
            category=category,
            event=event,
        )
        return with_trigger(with_output(function))

    return decorate


@on("connected", "connections")
def connected(invocation: str, output: func.Out[str]) -> None:
    """Tell everybody who has come. The newcomer is told too: a binding cannot leave one out."""
    call = json.loads(invocation)
    output.set(json.dumps({"target": "newConnection", "arguments": [person(call)]}))


@on("disconnected", "connections")
def disconnected(invocation: str, output: func.Out[str]) -> None:
    """Tell everybody who has gone."""
    call = json.loads(invocation)
    output.set(json.dumps({"target": "gone", "arguments": [call["ConnectionId"]]}))


@on("greet")
def greet(invocation: str, output: func.Out[str]) -> None:
    """Tell a newcomer that the caller is here."""
    call = json.loads(invocation)
    (connection_id,) = call["Arguments"]
    message = {"target": "alreadyHere", "arguments": [person(call)], "connectionId": connection_id}
    output.set(json.dumps(message))


@on("broadcast")
def broadcast(invocation: str, output: func.Out[str]) -> None:
    """Send a text to everybody."""
    call = json.loads(invocation)
    (text,) = call["Arguments"]
    output.set(message(call, text, "everyone"))


@on("sendToGroup")
def send_to_group(invocation: str, output: func.Out[str]) -> None:
    """Send a text to everybody in a group."""
    call = json.loads(invocation)
    group, text = call["Arguments"]
    output.set(message(call, text, f"group {group}", groupName=group))


@on("sendToUser")
def send_to_user(invocation: str, output: func.Out[str]) -> None:
    """Send a text to all connections of a user."""
    call = json.loads(invocation)
    user, text = call["Arguments"]
    output.set(message(call, text, f"user {user}", userId=user))


@on("sendToConnection")
def send_to_connection(invocation: str, output: func.Out[str]) -> None:
    """Send a text to one connection."""
    call = json.loads(invocation)
    connection_id, text = call["Arguments"]
    output.set(message(call, text, "one connection", connectionId=connection_id))


@on("joinGroup")
def join_group(invocation: str, output: func.Out[str]) -> None:
    """Put a connection into a group."""
    connection_id, group = json.loads(invocation)["Arguments"]
    output.set(json.dumps({"action": "add", "connectionId": connection_id, "groupName": group}))


@on("leaveGroup")
def leave_group(invocation: str, output: func.Out[str]) -> None:
    """Take a connection out of a group."""
    connection_id, group = json.loads(invocation)["Arguments"]
    output.set(json.dumps({"action": "remove", "connectionId": connection_id, "groupName": group}))


@on("joinUserToGroup")
def join_user_to_group(invocation: str, output: func.Out[str]) -> None:
    """Put a user into a group, with all connections."""
    user, group = json.loads(invocation)["Arguments"]
    output.set(json.dumps({"action": "add", "userId": user, "groupName": group}))


@on("leaveUserFromGroup")
def leave_user_from_group(invocation: str, output: func.Out[str]) -> None:
    """Take a user out of a group, with all connections."""
    user, group = json.loads(invocation)["Arguments"]
    output.set(json.dumps({"action": "remove", "userId": user, "groupName": group}))


@app.route(methods=["GET"])
def index(req: func.HttpRequest) -> func.HttpResponse:
    """Answer the page."""
    page = (HERE / "index.html").read_text(encoding="utf-8")
    return func.HttpResponse(page, mimetype="text/html")


@app.route(methods=["POST"])
@app.generic_input_binding(
    arg_name="connection", type="signalRConnectionInfo", hub_name=HUB, user_id="{query.name}"
)
def negotiate(req: func.HttpRequest, connection: str) -> func.HttpResponse:
    """Answer the address of the service and a token. Everybody is who they say they are here."""
    return func.HttpResponse(connection, mimetype="application/json")


def person(call: dict[str, Any]) -> dict[str, str]:
    """Who has called."""
    return {"name": call["UserId"] or "", "connectionId": call["ConnectionId"]}


def message(call: dict[str, Any], text: str, to: str, **address: str) -> str:
    """What the hub sends to an address: what somebody says, and to whom."""
    said = {
        "sender": call["UserId"] or "",
        "connectionId": call["ConnectionId"],
        "text": text,
        "to": to,
    }
    return json.dumps({"target": "newMessage", "arguments": [said], **address})
