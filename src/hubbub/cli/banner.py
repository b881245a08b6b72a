"""What a person sees when something has started."""

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["STOP", "function_lines", "service_lines"]

STOP: Final = "Press Ctrl-C to stop."
_CONNECTION_STRING: Final = """\
  is the connection string: the value of AzureSignalRConnectionString in local.settings.json, or
  in a shell, in quotes: export AzureSignalRConnectionString='…'
"""
_PASSING_KEY: Final = """\
  The access key is another one at the next start, unless --data FOLDER keeps it.
"""
_NO_UPSTREAM: Final = """\
  It has no upstream: what clients send is refused, and no app hears of them. A settings.json in
  this folder says where the app is; `hubbub upstream init` writes one.
"""


def service_lines(facts: Mapping[str, Any]) -> str:
    """The service's address, the connection strings to paste, and what is not right."""
    lines = [f"Service on {facts['url']}\n", f"  {facts['connectionString']}\n", _CONNECTION_STRING]
    if facts["remoteConnectionString"] is not None:
        lines += ["  From other machines:\n", f"  {facts['remoteConnectionString']}\n"]
    if facts["hasPassingKey"]:
        lines.append(_PASSING_KEY)
    if not facts["hasUpstream"]:
        lines.append(_NO_UPSTREAM)
    lines += [f"  Metrics: {page}\n" for page in facts.get("metrics", ())]
    return "\n".join(lines)


def function_lines(facts: Mapping[str, Any]) -> str:
    """The functions with methods and URLs, as `func start` lists them, then what is not right."""
    functions = facts["functions"]
    width = max((len(function["name"]) for function in functions), default=0)
    lines = [f"Functions on {facts['url']}", ""]
    for function in functions:
        methods = f"[{','.join(function['methods'])}] " if function["methods"] else ""
        where = function["url"] or f"{function['trigger']} {function['detail']}".rstrip()
        lines.append(f"  {function['name']:{width}}  {methods}{where}".rstrip())
    if any(_is_page(function) for function in functions):
        lines += ["", f"  Open {_front_page(facts)} in a browser."]
    if facts.get("keys"):
        lines += ["", f"  Keys are asked for; they are in {facts['keys']}"]
    if facts["warnings"]:
        lines += ["", *(f"  ! {warning}" for warning in facts["warnings"])]
    return "\n".join([*lines, ""])


def _front_page(facts: Mapping[str, Any]) -> str:
    """What to open first: the app's index, else the host's own page, which links what there is."""
    pages = [function for function in facts["functions"] if _is_page(function)]
    index = [page["url"] for page in pages if page["name"].lower() == "index"]
    return str(index[0] if index else facts["url"])


def _is_page(function: Mapping[str, Any]) -> bool:
    """Whether a browser can open a function: it answers GET, at an address without parameters."""
    methods = function["methods"] or ["GET"]
    return bool(function["url"]) and "GET" in methods and "{" not in function["url"]
