"""A chat: what one person says, everybody reads. Clients call the functions over the service."""

import json
from pathlib import Path
from typing import Any

import azure.functions as func

HERE = Path(__file__).parent
HUB = "chat"

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(methods=["GET"])
def index(req: func.HttpRequest) -> func.HttpResponse:
    """Answer the page."""
    page = (HERE / "index.html").read_text(encoding="utf-8")
    return func.HttpResponse(page, mimetype="text/html")


@app.route(route="connect.js", methods=["GET"])
def script(req: func.HttpRequest) -> func.HttpResponse:
    """Answer the script that connects the page."""
    text = (HERE / "connect.js").read_text(encoding="utf-8")
    return func.HttpResponse(text, mimetype="text/javascript")


@app.route(methods=["POST"])
@app.generic_input_binding(
    arg_name="connection", type="signalRConnectionInfo", hubName=HUB, userId="{query.name}"
)
def negotiate(req: func.HttpRequest, connection: str) -> func.HttpResponse:
    """Answer the address of the service and a token for it, in the name that was chosen.

    The page adds `?name=` to the address: without it there is no user id, and the answer is 500.
    """
    return func.HttpResponse(connection, mimetype="application/json")


@app.generic_trigger(
    arg_name="event", type="signalRTrigger", hubName=HUB, category="connections", event="connected"
)
@app.generic_output_binding(arg_name="messages", type="signalR", hubName=HUB)
def arrive(event: str, messages: func.Out[str]) -> None:
    """Tell everybody who has come."""
    messages.set(said("", f"{json.loads(event)['UserId'] or 'Somebody'} is here."))


@app.generic_trigger(
    arg_name="event",
    type="signalRTrigger",
    hubName=HUB,
    category="connections",
    event="disconnected",
)
@app.generic_output_binding(arg_name="messages", type="signalR", hubName=HUB)
def leave(event: str, messages: func.Out[str]) -> None:
    """Tell everybody who has left."""
    messages.set(said("", f"{json.loads(event)['UserId'] or 'Somebody'} has left."))


@app.generic_trigger(
    arg_name="event", type="signalRTrigger", hubName=HUB, category="messages", event="say"
)
@app.generic_output_binding(arg_name="messages", type="signalR", hubName=HUB)
def say(event: str, messages: func.Out[str]) -> int:
    """Send a text to everybody; its length is what the caller's `invoke` gets."""
    call: dict[str, Any] = json.loads(event)
    text = str(call["Arguments"][0])
    messages.set(said(call["UserId"] or "somebody", text))
    return len(text)


def said(sender: str, text: str) -> str:
    """The message for everybody."""
    return json.dumps({"target": "said", "arguments": [sender, text]})
