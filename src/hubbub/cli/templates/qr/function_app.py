"""A QR code that lights up on every screen that shows it, whenever somebody opens its link."""

import json
from pathlib import Path
from urllib.parse import urljoin

import azure.functions as func
import segno

HERE = Path(__file__).parent
HUB = "qr"

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(methods=["GET"])
def index(req: func.HttpRequest) -> func.HttpResponse:
    """Answer the page, with the QR code of the ping link filled in."""
    code = segno.make(urljoin(req.url, "ping"), micro=False).svg_inline(omitsize=True)
    page = (HERE / "index.html").read_text(encoding="utf-8")
    return func.HttpResponse(page.replace("<!-- code -->", str(code)), mimetype="text/html")


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


@app.route(methods=["GET", "POST"])
@app.generic_output_binding(arg_name="messages", type="signalR", hubName=HUB)
def ping(req: func.HttpRequest, messages: func.Out[str]) -> str:
    """Tell every page that somebody opened the link."""
    messages.set(json.dumps({"target": "ping", "arguments": []}))
    return "Thank you! Look at the code."
