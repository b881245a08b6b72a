"""Stands in for App Service Authentication on your own machine. Azure brings the real one.

A small proxy before the app: it asks for a name, remembers it in a cookie, and adds the headers
that the platform adds. It asks for no password and is of no use but for trying things out.

    python signin.py --app http://localhost:7071 --port 8000
"""

import argparse
import asyncio
import base64
import contextlib
import html
import json
import secrets
from collections.abc import Mapping

import aiohttp
from aiohttp import web

COOKIE = "AppServiceAuthSession"
# What a client sends under these names is not passed on: only the platform says who somebody is.
OURS = ("x-ms-client-principal", "x-ms-token-")
# They concern one connection, or are made anew.
PASSED_OVER = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}
FORM = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Sign in</title>
<style>
  body {{ display: grid; place-content: center; height: 90vh }}
  body {{ font: 1.1rem/1.5 system-ui, sans-serif }}
  form {{ display: grid; gap: 1rem }} input, button {{ font: inherit; padding: 0.4rem 0.7rem }}
</style>
<form method="post"><h1>Sign in</h1>
<input name="name" aria-label="Name" placeholder="Any name" maxlength="40" required autofocus>
<label><input type="checkbox" name="admin"> as an administrator</label>
<input type="hidden" name="next" value="{next}">
<button>Sign in</button></form></html>"""


class SignIn:
    """The people who have signed in, by their cookies, and the app behind."""

    def __init__(self, app: str) -> None:
        self._app = app.rstrip("/")
        self._people: dict[str, tuple[str, bool]] = {}

    def routes(self) -> list[web.RouteDef]:
        """The platform's own addresses, and everything else for the app."""
        return [
            web.get("/.auth/login/{provider}", self.form),
            web.post("/.auth/login/{provider}", self.enter),
            web.get("/.auth/me", self.me),
            web.get("/.auth/logout", self.leave),
            web.route("*", "/{path:.*}", self.forward),
        ]

    async def form(self, request: web.Request) -> web.Response:
        """Ask for a name."""
        target = html.escape(_local(request.query.get("post_login_redirect_uri", "/")))
        return web.Response(text=FORM.format(next=target), content_type="text/html")

    async def enter(self, request: web.Request) -> web.Response:
        """Remember the name."""
        given = await request.post()
        name = str(given.get("name", "")).strip()
        if not name or not name.isprintable():
            return web.Response(status=400, text="A name is missing.")
        cookie = secrets.token_urlsafe(24)
        self._people[cookie] = (name, "admin" in given)
        target = _local(str(given.get("next", "/")))
        answer = web.Response(status=302, headers={"Location": target})
        answer.set_cookie(COOKIE, cookie, httponly=True, samesite="Lax")
        return answer

    async def me(self, request: web.Request) -> web.Response:
        """Say who has signed in; an empty list is nobody."""
        name, is_admin = self._who(request)
        if not name:
            return web.json_response([])
        claims = _claims(name, is_admin)
        return web.json_response([{"provider_name": "aad", "user_id": name, "user_claims": claims}])

    async def leave(self, request: web.Request) -> web.Response:
        """Forget somebody."""
        self._people.pop(request.cookies.get(COOKIE, ""), None)
        target = _local(request.query.get("post_logout_redirect_uri", "/"))
        answer = web.Response(status=302, headers={"Location": target})
        answer.del_cookie(COOKIE)
        return answer

    async def forward(self, request: web.Request) -> web.Response:
        """Pass a request on to the app, with the headers that say who asks."""
        headers = _passed_on(request.headers) | _principal(*self._who(request))
        headers |= {"X-Forwarded-Host": request.host, "X-Forwarded-Proto": request.scheme}
        url = self._app + request.raw_path
        async with (
            aiohttp.ClientSession(auto_decompress=False) as client,
            client.request(
                request.method,
                url,
                headers=headers,
                data=await request.read(),
                allow_redirects=False,
            ) as answer,
        ):
            body = await answer.read()
            return web.Response(status=answer.status, body=body, headers=_passed_on(answer.headers))

    def _who(self, request: web.Request) -> tuple[str, bool]:
        return self._people.get(request.cookies.get(COOKIE, ""), ("", False))


def _claims(name: str, is_admin: bool) -> list[dict[str, str]]:
    claims = [{"typ": "name", "val": name}]
    return [*claims, {"typ": "roles", "val": "admin"}] if is_admin else claims


def _principal(name: str, is_admin: bool) -> dict[str, str]:
    """The headers of App Service Authentication; none for nobody."""
    if not name:
        return {}
    principal = {
        "auth_typ": "aad",
        "claims": _claims(name, is_admin),
        "name_typ": "name",
        "role_typ": "roles",
    }
    return {
        "X-MS-CLIENT-PRINCIPAL": base64.b64encode(json.dumps(principal).encode()).decode(),
        "X-MS-CLIENT-PRINCIPAL-ID": name,
        "X-MS-CLIENT-PRINCIPAL-NAME": name,
        "X-MS-CLIENT-PRINCIPAL-IDP": "aad",
    }


def _passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in headers.items()
        if name.lower() not in PASSED_OVER and not name.lower().startswith(OURS)
    }


def _local(target: str) -> str:
    """An address on this server: nobody is sent elsewhere after signing in."""
    is_local = target.startswith("/") and not target.startswith(("//", "/\\"))
    return target if is_local and target.isprintable() else "/"


async def serve(app: str, port: int) -> None:
    """Run the proxy, say where it is, and go on until this is cancelled."""
    site = web.Application()
    site.add_routes(SignIn(app).routes())
    runner = web.AppRunner(site, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        print(f"http://localhost:{runner.addresses[0][1]}/api/index", flush=True)
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def main() -> None:
    """Run the proxy until it is interrupted."""
    parser = argparse.ArgumentParser(description="Sign in before a function app, on this machine.")
    parser.add_argument("--app", default="http://localhost:7071", help="where the app is")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(options.app, options.port))


if __name__ == "__main__":
    main()
