"""The part of the admin API about the host itself: drain and resume, restart, configuration.

Who may ask is checked before.
"""

import json
from typing import TYPE_CHECKING, Any

from hubbub.functions.response import Response
from hubbub.functions.timespan import format_seconds

if TYPE_CHECKING:
    from hubbub.functions.host import Host

_METHODS = {
    "drain": "POST",
    "drain/status": "GET",
    "resume": "POST",
    "restart": "POST",
    "synctriggers": "POST",
    "config": "GET",
}
_UNSUPERVISED = (
    "Nobody would start this process again. Run the app with `hubbub host` or `hubbub start`."
)


class HostApi:
    """Answers requests about one host."""

    def __init__(self, host: "Host") -> None:
        self._host = host

    async def answer(self, method: str, name: str) -> Response | None:
        """The answer to `/admin/host/NAME`, or None where there is no such address."""
        wanted = _METHODS.get(name)
        if wanted is None:
            return None
        if method != wanted and (method, wanted) != ("HEAD", "GET"):
            return Response(405, ((b"allow", wanted.encode()),))
        if name == "drain":
            await self._host.pause()
            return Response(202)
        if name == "resume":
            await self._host.resume()
            return _json({"state": "Running"})
        if name == "restart":
            return Response(200) if self._host.restart() else _text(501, _UNSUPERVISED)
        if name == "drain/status":
            return _json(self._drain_status())
        return _json({"status": "success"} if name == "synctriggers" else self._config())

    def _drain_status(self) -> dict[str, Any]:
        return {
            "state": self._host.drain_state,
            "outstandingInvocations": self._host.invoker.running,
            "outstandingRetries": self._host.invoker.waiting,
        }

    def _config(self) -> dict[str, Any]:
        """The settings in force, as host.json would have them."""
        settings = self._host.settings
        timeout = settings.function_timeout
        return {
            "version": "2.0",
            "functionTimeout": "-1" if timeout is None else format_seconds(timeout),
            "functions": sorted(settings.functions or ()),
            "watchDirectories": list(settings.watched_directories),
            "watchFiles": list(settings.watched_files),
            "logging": {"logLevel": dict(settings.log_levels)},
            "retry": dict(settings.retry),
            "extensions": {
                "http": {
                    "routePrefix": settings.route_prefix,
                    "maxOutstandingRequests": _limit(settings.max_outstanding_requests),
                    "maxConcurrentRequests": _limit(settings.max_concurrent_requests),
                    "customHeaders": dict(settings.custom_headers),
                    "hsts": {"isEnabled": settings.hsts is not None},
                }
            },
        }


def _limit(number: int | None) -> int:
    return -1 if number is None else number


def _json(value: Any) -> Response:
    kind = (b"content-type", b"application/json; charset=utf-8")
    return Response(200, (kind,), json.dumps(value).encode())


def _text(status: int, reason: str) -> Response:
    return Response(status, ((b"content-type", b"text/plain; charset=utf-8"),), reason.encode())
