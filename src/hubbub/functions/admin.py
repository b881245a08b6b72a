"""The admin API: state of the host, its functions, manual triggers and keys.

It answers under `/admin/`. Who may ask is checked before anything is said.
"""

import json
import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from hubbub import __version__
from hubbub.errors import ConfigError
from hubbub.functions.bindings import Plan
from hubbub.functions.expressions import BindingData, Values
from hubbub.functions.function import Function
from hubbub.functions.hostapi import HostApi
from hubbub.functions.keyapi import KeyApi
from hubbub.functions.request import HttpCall, HttpData
from hubbub.functions.response import NOT_FOUND, Response
from hubbub.functions.timers import timer_request
from hubbub.functions.warmup import warmup_context

if TYPE_CHECKING:
    from hubbub.functions.host import Host

UNAUTHORIZED = Response(401)
PING = "admin/host/ping"  # for everybody, as in the original: probes ask for it
_ACCEPTED = Response(202)
_FUNCTION = re.compile(r"admin/functions/([^/]+)(/status|/keys(?:/[^/]+)?)?")
_KEYS = re.compile(r"admin/host/(keys|functionkeys|systemkeys)(?:/([^/]+))?")
Body = Callable[[], Awaitable[bytes]]


class Admin:
    """Answers requests of the admin API for one host."""

    def __init__(self, host: "Host") -> None:
        self._host = host
        self._started = time.monotonic()
        self._keys = KeyApi(host.keys)
        self._host_api = HostApi(host)

    async def answer(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        query: Mapping[str, str],
        body: Body,
        base: str,
    ) -> Response:
        """The answer; `path` begins with `admin/`, `base` is the address that was asked."""
        path = path.rstrip("/")
        if path.lower() == PING and method in {"GET", "HEAD", "POST"}:
            return Response()
        if not self._host.access.allows_admin(headers, query):
            return UNAUTHORIZED
        if path.lower() == "admin/host/status":
            return _json(self._status()) if method in {"GET", "HEAD"} else _not_allowed("GET")
        if path.lower() == "admin/functions":
            listed = [self._describe(f, base) for f in self._host.functions]
            return _json(listed) if method in {"GET", "HEAD"} else _not_allowed("GET")
        if path.lower() == "admin/warmup":
            await self._host.warm_up()
            return Response()
        name = path.lower().removeprefix("admin/host/")
        if (answer := await self._host_api.answer(method, name)) is not None:
            return answer
        try:
            return await self._below(method, path, headers, body, base)
        except ConfigError as error:
            return _bad(str(error))

    async def _below(
        self, method: str, path: str, headers: Mapping[str, str], body: Body, base: str
    ) -> Response:
        if match := _KEYS.fullmatch(path):
            return await self._keys.host(method, match[1], match[2], body)
        match = _FUNCTION.fullmatch(path)
        if match is None:
            return NOT_FOUND
        name, rest = match[1], match[2] or ""
        if rest == "/status":
            return self._function_status(name)
        plan = self._plan(name)
        if plan is None:
            return NOT_FOUND
        if rest:
            key = rest.removeprefix("/keys").removeprefix("/") or None
            return await self._keys.function(method, plan.function.name, key, body)
        if method == "POST":
            return await self._trigger(plan, headers, body, base)
        if method not in {"GET", "HEAD"}:
            return _not_allowed("GET, POST")
        return _json(self._describe(plan.function, base))

    def _plan(self, name: str) -> Plan | None:
        """The plan of a function, whatever the case of its name."""
        wanted = name.lower()
        return next((p for n, p in self._host.plans.items() if n.lower() == wanted), None)

    def _status(self) -> dict[str, Any]:
        return {
            "id": self._host.root.name,
            "state": "Offline" if self._host.offline.answer is not None else "Running",
            "version": __version__,
            "versionDetails": f"hubbub {__version__}",
            "instanceId": str(os.getpid()),
            "processUptime": round((time.monotonic() - self._started) * 1000),
            "errors": [str(refusal) for refusal in self._host.refused],
        }

    def _function_status(self, name: str) -> Response:
        """What is wrong with a function, also with one that is not run."""
        errors = [r.reason for r in self._host.refused if r.name.lower() == name.lower()]
        if errors:
            return _json({"errors": errors})
        return NOT_FOUND if self._plan(name) is None else _json({})

    def _describe(self, function: Function, base: str) -> dict[str, Any]:
        info = next(i for i in self._host.listing(base) if i.name == function.name)
        return {
            "name": function.name,
            "href": f"{base}/admin/functions/{function.name}",
            "invoke_url_template": info.url or None,
            "language": "python",
            "config": {"name": function.name, **function.declared},
            "test_data": "",
            "isDisabled": False,
            "isDirect": True,
            "isProxy": False,
        }

    async def _trigger(
        self, plan: Plan, headers: Mapping[str, str], body: Body, base: str
    ) -> Response:
        """Run a function in the background, whatever its trigger is.

        The content type is asked for so that a web page cannot do it without a preflight.
        """
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            return _bad("Send JSON with the header Content-Type: application/json.")
        try:
            given = json.loads(await body())
        except (ValueError, RecursionError):
            given = None
        if not isinstance(given, dict):
            return _bad('The body must be a JSON object such as {"input": "text"}.')
        text = next((value for name, value in given.items() if name.lower() == "input"), None)
        if not isinstance(text, str):
            text = "" if text is None else json.dumps(text)
        value, data = _trigger_value(plan, text, f"{base}/admin/functions/{plan.function.name}")
        self._host.run_in_background(plan, value, data)
        return _ACCEPTED


def _trigger_value(plan: Plan, text: str, url: str) -> tuple[Any, BindingData]:
    """What a function gets that is started by hand with the input `text`."""
    kind = plan.function.trigger.type
    if kind == "timerTrigger":
        return timer_request(), Values({})
    if kind == "warmupTrigger":
        return warmup_context(), Values({})
    members = _members(text)
    if kind != "httpTrigger":
        return text, Values(members)
    call = HttpCall(
        method=str(members.get("method", "POST")).upper(),
        url=lambda: str(members.get("url", url)),
        headers=_texts(members.get("headers")),
        query=_texts(members.get("query")),
        route=_texts(members.get("params")),
        body=_body(members, text),
    )
    types = plan.function.web_types
    return call.request() if types is None else types.rebuild(call), HttpData(call)


def _members(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _body(members: dict[str, Any], text: str) -> bytes:
    """The `body` of an input that describes a whole request, else the input itself."""
    if "body" not in members or not {"method", "url", "headers", "query"} & set(members):
        return text.encode()
    body = members["body"]
    return (body if isinstance(body, str) else json.dumps(body)).encode()


def _texts(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {str(name).lower(): str(text) for name, text in value.items()}


def _json(value: Any, status: int = 200) -> Response:
    kind = (b"content-type", b"application/json; charset=utf-8")
    return Response(status, (kind,), json.dumps(value).encode())


def _bad(reason: str) -> Response:
    return Response(400, ((b"content-type", b"text/plain; charset=utf-8"),), reason.encode())


def _not_allowed(methods: str) -> Response:
    return Response(405, ((b"allow", methods.encode()),))
