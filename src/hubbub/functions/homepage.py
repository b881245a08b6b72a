"""The page at a host's own address: the functions that a browser can open, as links.

It tells nothing that the list printed at the start does not, and nothing where keys are asked for.
"""

from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from hubbub.functions.response import Response
from hubbub.functions.routes import Route

_STYLE = "font-family:system-ui;margin:4rem auto;max-width:40rem;padding:0 1rem;line-height:1.6"


def homepage(routes: Sequence[Route]) -> Response:
    """The page, with links to those of `routes` that answer GET and have no parameters."""
    links = "".join(
        f'<li><a href="/{quote(route.path)}">{escape(route.name)}</a> /{escape(route.path)}</li>'
        for route in routes
        if "{" not in route.path and (route.methods is None or "GET" in route.methods)
    )
    text = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>Hubbub</title>'
        f'<body style="{_STYLE}"><h1>Your Azure Function App is up and running.</h1>'
        "<p>It is served by Hubbub. Its functions have addresses of their own"
        f"{':' if links else '.'}</p>{f'<ul>{links}</ul>' if links else ''}"
    )
    return Response(200, ((b"content-type", b"text/html; charset=utf-8"),), text.encode())
