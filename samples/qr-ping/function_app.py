"""A QR code that lights up on every screen that shows it, whenever somebody opens its link.

Three functions: the page with the code, the link behind it, and what the page needs to connect.
"""

import html
import ipaddress
import json
import os
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import azure.functions as func
import segno

HERE = Path(__file__).parent
HUB = "qrping"
CONNECTION = "AzureSignalRConnectionString"  # the name of the app setting that holds it

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(methods=["GET"])
def index(req: func.HttpRequest) -> func.HttpResponse:
    """Answer the page, with the ping link and its QR code filled in."""
    link = urljoin(public_url(req), "ping")
    page = (HERE / "index.html").read_text(encoding="utf-8")
    page = page.replace('href="ping"', f'href="{html.escape(link)}"')
    page = page.replace("<!-- code -->", qr_code(link))
    return html_page(page.replace("<!-- link -->", html.escape(link)))


@app.route(methods=["GET", "POST"])
@app.generic_output_binding(
    arg_name="broadcast", type="signalR", hub_name=HUB, connection_string_setting=CONNECTION
)
def ping(req: func.HttpRequest, broadcast: func.Out[str]) -> func.HttpResponse:
    """Tell every page that somebody opened the link."""
    broadcast.set(json.dumps({"target": "pingQR", "arguments": ["ping"]}))
    return html_page((HERE / "ping.html").read_text(encoding="utf-8"))


@app.route(methods=["POST"])
@app.generic_input_binding(
    arg_name="connection",
    type="signalRConnectionInfo",
    hub_name=HUB,
    connection_string_setting=CONNECTION,
)
def negotiate(req: func.HttpRequest, connection: str) -> func.HttpResponse:
    """Answer the address of the service and a token for it."""
    return func.HttpResponse(connection, mimetype="application/json")


def public_url(req: func.HttpRequest) -> str:
    """Return the address of this request as another device can open it.

    A proxy says what it was asked for. Without one, a loopback address in the request is of no use
    to a phone, and HUBBUB_LAN_ADDRESS, if it is set, says where the phone finds this machine.
    """
    url = urlsplit(str(req.url))
    forwarded = req.headers.get("X-Forwarded-Host", "").partition(",")[0].strip()
    if forwarded:
        secure = req.headers.get("X-Forwarded-Proto", url.scheme).startswith("https")
        return url._replace(scheme="https" if secure else "http", netloc=forwarded).geturl()
    lan_address = os.environ.get("HUBBUB_LAN_ADDRESS")
    if lan_address and is_loopback(url.hostname or ""):
        port = f":{url.port}" if url.port else ""
        return url._replace(netloc=f"{lan_address}{port}").geturl()
    return url.geturl()


def is_loopback(host: str) -> bool:
    """Tell whether a host name means the machine that it is used on."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def qr_code(link: str) -> str:
    """Return the QR code of a link as an SVG element."""
    code = segno.make(link, error="m", micro=False)
    return str(code.svg_inline(omitsize=True, svgclass=None, lineclass=None, dark="#17141f"))


def html_page(body: str) -> func.HttpResponse:
    """Answer a page that nothing may store: each opening of a link has to reach its function."""
    headers = {"Cache-Control": "no-store"}
    return func.HttpResponse(body, mimetype="text/html", headers=headers)
