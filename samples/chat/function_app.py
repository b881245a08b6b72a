"""A chat room as one class: each public method is what a page calls by its name.

Messages go to everybody, to a group, to a user or to one connection. Nothing is stored: who is
online, the pages tell each other.
"""

from pathlib import Path
from typing import Protocol

import azure.functions as func
from msgspec import Struct

from hubbub import ServerlessHub

HERE = Path(__file__).parent

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


class Person(Struct, rename="camel"):
    """Somebody who is online, on one of perhaps several connections."""

    name: str
    connection_id: str


class Message(Struct, rename="camel"):
    """What somebody says, and to whom."""

    sender: str
    connection_id: str
    text: str
    to: str


class ChatClient(Protocol):
    """What pages can be told. `new_message` is `newMessage` there."""

    async def new_message(self, message: Message) -> None: ...

    async def new_connection(self, person: Person) -> None: ...

    async def already_here(self, person: Person) -> None: ...

    async def gone(self, connection_id: str) -> None: ...


class Chat(ServerlessHub[ChatClient]):
    """The room."""

    async def on_connected(self) -> None:
        await self.clients.others.new_connection(self._caller())

    async def on_disconnected(self) -> None:
        await self.clients.all.gone(self.context.connection_id)

    async def greet(self, connection_id: str) -> None:
        """Tell a newcomer that the caller is here."""
        await self.clients.client(connection_id).already_here(self._caller())

    async def broadcast(self, text: str) -> None:
        await self.clients.all.new_message(self._message(text, "everyone"))

    async def send_to_group(self, group: str, text: str) -> None:
        await self.clients.group(group).new_message(self._message(text, f"group {group}"))

    async def send_to_user(self, user: str, text: str) -> None:
        await self.clients.user(user).new_message(self._message(text, f"user {user}"))

    async def send_to_connection(self, connection_id: str, text: str) -> None:
        message = self._message(text, "one connection")
        await self.clients.client(connection_id).new_message(message)

    async def join_group(self, connection_id: str, group: str) -> None:
        await self.groups.add(connection_id, group)

    async def leave_group(self, connection_id: str, group: str) -> None:
        await self.groups.remove(connection_id, group)

    async def join_user_to_group(self, user: str, group: str) -> None:
        await self.user_groups.add(user, group)

    async def leave_user_from_group(self, user: str, group: str) -> None:
        await self.user_groups.remove(user, group)

    def _caller(self) -> Person:
        return Person(self.context.user_id or "", self.context.connection_id)

    def _message(self, text: str, to: str) -> Message:
        caller = self._caller()
        return Message(caller.name, caller.connection_id, text, to)


chat = Chat().register(app)


@app.route(methods=["GET"])
def index(req: func.HttpRequest) -> func.HttpResponse:
    """Answer the page."""
    page = (HERE / "index.html").read_text(encoding="utf-8")
    return func.HttpResponse(page, mimetype="text/html")


@app.route(methods=["POST"])
def negotiate(req: func.HttpRequest) -> func.HttpResponse:
    """Answer the address of the service and a token. Everybody is who they say they are here."""
    info = chat.negotiate(user_id=req.params.get("name"))
    return func.HttpResponse(info.json(), mimetype="application/json")
