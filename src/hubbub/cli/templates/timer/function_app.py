"""A clock that every page shows: a timer tells all of them the time, every five seconds."""

import json
import logging
from datetime import UTC, datetime
from pathlib import Path

import azure.functions as func

HERE = Path(__file__).parent
HUB = "clock"

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
@app.generic_input_binding(arg_name="connection", type="signalRConnectionInfo", hubName=HUB)
def negotiate(req: func.HttpRequest, connection: str) -> func.HttpResponse:
    """Answer the address of the service and a token for it."""
    return func.HttpResponse(connection, mimetype="application/json")


@app.timer_trigger(arg_name="timer", schedule="*/5 * * * * *", run_on_startup=False)
@app.generic_output_binding(arg_name="messages", type="signalR", hubName=HUB)
def tick(timer: func.TimerRequest, messages: func.Out[str]) -> None:
    """Tell every page the time."""
    if timer.past_due:
        logging.info("This tick comes late.")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    messages.set(json.dumps({"target": "tick", "arguments": [now]}))
