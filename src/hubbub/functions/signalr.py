"""The `signalR` output binding: messages and group actions for the clients of a hub.

It speaks to services through `ServiceClient` alone, as an app anywhere else would.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hubbub.errors import ServiceError
from hubbub.functions.bindings import json_items
from hubbub.functions.connections import Connections, NamedEndpoint, setting_name
from hubbub.functions.expressions import BindingData, required_template
from hubbub.functions.function import Binding, Function, InvocationError
from hubbub.functions.settings import AppSettings
from hubbub.functions.signalritems import GroupAction, Message, parse_item

if TYPE_CHECKING:
    from hubbub.client.management import HubContext

logger = logging.getLogger("hubbub.functions")


class SignalROutput:
    """The `signalR` output: messages and group actions. Satisfies `OutputBinding`."""

    takes_none = False
    is_sent = True

    def __init__(
        self, binding: Binding, function: Function, settings: AppSettings, connections: Connections
    ) -> None:
        self._name = binding.name
        self._function = function.name
        self._setting = setting_name(binding)
        self._hub = required_template(binding, "hubName", settings)
        self._connections = connections

    def encode(self, value: Any) -> list[Message | GroupAction]:
        """All items, checked before the first is sent."""
        try:
            return [parse_item(item) for item in json_items(value, "signalR")]
        except InvocationError as error:
            raise InvocationError(f"output '{self._name}': {error}") from None

    async def send(self, encoded: Any, data: BindingData) -> None:
        """Send the items one after the other, in their order, each to all its endpoints."""
        if not encoded:
            return
        hub = self._hub.evaluate(data, self._function)
        if not hub:
            raise InvocationError("the binding's 'hubName' is empty; give the hub a name.")
        for item in encoded:
            chosen = self._chosen(item)
            if len(chosen) == 1:
                await self._send_to(chosen[0], hub, item)
            else:
                await asyncio.gather(*(self._send_to(entry, hub, item) for entry in chosen))

    def _chosen(self, item: Message | GroupAction) -> Sequence[NamedEndpoint]:
        """The endpoints that an item names, or all of them where it names none (facts, 3.9)."""
        entries = self._connections.endpoints(self._setting)
        if item.endpoints is None:
            return entries
        chosen = [entry for entry in entries if entry.identity in item.endpoints]
        if not chosen:
            logger.warning(
                "Output '%s': an item's 'endpoints' names none of the endpoints of '%s'; it is "
                "sent nowhere. Give it what a signalREndpoints binding has delivered.",
                self._name,
                self._setting,
            )
        return chosen

    async def _send_to(self, entry: NamedEndpoint, hub: str, item: Message | GroupAction) -> None:
        try:
            await _send_item(self._connections.client(entry).hub(hub), item)
        except ServiceError as error:
            self._connections.note(entry, reached=error.status is not None)
            raise InvocationError(
                f"output '{self._name}' could not be sent to {entry.endpoint.url}, the service of "
                f"the setting '{self._setting}' from {self._connections.place(self._setting)}: "
                f"{error}"
            ) from None
        except Exception as error:  # a credential has kinds of errors that are not known here
            if entry.endpoint.access_key is not None:
                raise
            raise InvocationError(
                f"output '{self._name}' could not be sent to {entry.endpoint.url}: the identity of "
                f"the setting '{self._setting}' gave no token: {type(error).__name__}: {error}"
            ) from error
        self._connections.note(entry, reached=True)


async def _send_item(hub: "HubContext", item: Message | GroupAction) -> None:
    if isinstance(item, GroupAction):
        groups = hub.groups if item.member == "connection" else hub.user_groups
        if item.action == "add":
            await groups.add(item.name, item.group)
        elif item.action == "remove":
            await groups.remove(item.name, item.group)
        else:
            await groups.remove_all(item.name)
        return
    audiences: dict[str, Callable[[str], Any]] = {
        "connection": hub.clients.client,
        "user": hub.clients.user,
        "group": hub.clients.group,
    }
    audience = audiences[item.audience](item.name) if item.name else hub.clients.all
    await audience.send(item.target, *item.arguments)
