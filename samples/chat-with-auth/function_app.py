"""A chat for people who have signed in: private messages, and announcements of administrators.

The platform in front of the app says who somebody is. The app puts that into the token of a
connection, and from there on the service says it with each call.
"""

import base64
import json
from pathlib import Path
from typing import Protocol

import azure.functions as func
from msgspec import Struct

from hubbub import ServerlessHub
from hubbub.serverless import InvocationContext, RefusedError, checked_by, requires_claim

HERE = Path(__file__).parent
ROLES = {"roles", "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"}

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


class Message(Struct, rename="camel"):
    """What somebody says, and to whom: to one user, or to everybody."""

    sender: str
    text: str
    to: str | None = None


class ChatClient(Protocol):
    """What pages can be told."""

    async def new_message(self, message: Message) -> None: ...


def signed_in(context: InvocationContext) -> None:
    """Refuse whoever has no name; `negotiate` gives tokens to nobody else."""
    if context.user_id is None:
        raise RefusedError("Please sign in first.")


@checked_by(signed_in)
class AuthChat(ServerlessHub[ChatClient]):
    """The room."""

    async def on_connected(self) -> None:
        """With this method, the check of the class decides who may connect."""

    async def send_private(self, user: str, text: str) -> None:
        """Tell one user something, and show it to the sender's other pages as well."""
        message = Message(self._sender(), text, user)
        await self.clients.users({user, self._sender()}).new_message(message)

    @requires_claim("admin", "true")
    async def announce(self, text: str) -> None:
        """Tell everybody something."""
        await self.clients.all.new_message(Message(self._sender(), text))

    def _sender(self) -> str:
        return self.context.user_id or ""


chat = AuthChat().register(app)


@app.route(methods=["GET"])
def index(req: func.HttpRequest) -> func.HttpResponse:
    """Answer the page."""
    page = (HERE / "index.html").read_text(encoding="utf-8")
    return func.HttpResponse(page, mimetype="text/html")


@app.route(methods=["POST"])
def negotiate(req: func.HttpRequest) -> func.HttpResponse:
    """Answer the address of the service and a token in the name of who has signed in."""
    user = req.headers.get("x-ms-client-principal-id")
    if not user:
        return func.HttpResponse("Please sign in first.", status_code=401)
    claims = {"admin": "true"} if "admin" in roles(req) else {}
    info = chat.negotiate(user, claims)
    return func.HttpResponse(info.json(), mimetype="application/json")


def roles(req: func.HttpRequest) -> set[str]:
    """The roles that the platform has found in the token of who has signed in."""
    principal = json.loads(base64.b64decode(req.headers.get("x-ms-client-principal") or "e30="))
    return {claim["val"] for claim in principal.get("claims", []) if claim["typ"] in ROLES}
