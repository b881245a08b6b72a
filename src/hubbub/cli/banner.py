"""What a person sees when something has started."""

from collections.abc import Mapping
from typing import Any

__all__ = ["function_lines", "service_lines"]


def service_lines(url: str, connection_string: str) -> str:
    """The service's address and the connection string to paste."""
    return (
        f"Service on {url}\n\n"
        f"  {connection_string}\n\n"
        "  is the connection string, for AzureSignalRConnectionString in local.settings.json.\n"
    )


def function_lines(facts: Mapping[str, Any]) -> str:
    """The functions with methods and URLs, as `func start` lists them, then what is not right."""
    functions = facts["functions"]
    width = max((len(function["name"]) for function in functions), default=0)
    lines = [f"Functions on {facts['url']}", ""]
    for function in functions:
        methods = f"[{','.join(function['methods'])}] " if function["methods"] else ""
        where = function["url"] or f"{function['trigger']} {function['detail']}".rstrip()
        lines.append(f"  {function['name']:{width}}  {methods}{where}".rstrip())
    if facts.get("keys"):
        lines += ["", f"  Keys are asked for; they are in {facts['keys']}"]
    if facts["warnings"]:
        lines += ["", *(f"  ! {warning}" for warning in facts["warnings"])]
    return "\n".join([*lines, ""])
