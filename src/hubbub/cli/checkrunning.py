"""`hubbub doctor` on what runs: ports, the service with its key and clock, the host, upstreams.

It changes nothing anywhere: all that it asks is answered by looking.
"""

import json
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

from hubbub.cli.asking import HOST, Answer, ask, is_draining, occupant, reachable
from hubbub.cli.checksettings import Named
from hubbub.cli.finding import Finding, fine, problem
from hubbub.cli.network import listen
from hubbub.errors import ConfigError
from hubbub.functions.settings import LOCAL_FILE
from hubbub.protocol.endpoints import Endpoint
from hubbub.protocol.tokens import issue_rest_token
from hubbub.protocol.upstreamtemplate import Template
from hubbub.service.settings import is_loopback

__all__ = ["address", "host", "port", "service", "upstream"]

_MOST_SKEW: Final = 60.0  # seconds; tokens are refused from five minutes on


def address(given: str) -> Finding | None:
    """What is wrong with where programs are to listen, `None` where nothing is."""
    try:
        listen(given, 0, option="--address").close()
    except ConfigError as error:
        return problem(
            "address", str(error), f"Or correct 'Host.LocalHttpAddress' in {LOCAL_FILE}."
        )
    return None


def port(where: str, number: int, wanted: str, option: str) -> Finding:
    """Whether a port is free, or has who should have it."""
    who = occupant(where, number)
    if who is None:
        return fine("port", f"Port {number} is free for {wanted}.")
    if who == wanted:
        return fine("port", f"Port {number} has {who}, which runs.")
    return problem(
        "port",
        f"Port {number}, which {wanted} would have, is in use by {who}.",
        f"Stop it, or pass {option} with another port; 0 picks a free one.",
    )


def service(named: Named) -> Iterator[Finding]:
    """Whether the service answers, takes the key, and has the same time."""
    endpoint = named.endpoint
    try:
        health = ask(f"{endpoint.server_base}api/health", method="HEAD")
    except OSError as error:
        yield _no_service(named, error)
        return
    if is_draining(health):
        yield problem(
            "service",
            f"{endpoint.url} lets no client in any more: an operator has it drained.",
            "Start it again, or have clients sent to another node.",
        )
        return
    if health.status != 200:
        yield problem(
            "service",
            f"{endpoint.url} answers {health.status} where a service tells its health.",
            f"Look what listens there, and correct {named.where}.",
        )
        return
    yield fine("service", f"{endpoint.url} answers.")
    yield _clock(health, time.time())
    if endpoint.access_key is not None:
        yield _key(named, endpoint)


def host(where: str, number: int) -> Iterator[Finding]:
    """Whether a function host runs, and which functions it has refused."""
    who = occupant(where, number)
    url = f"http://{reachable(where)}:{number}"
    if who != HOST:
        yield fine("host", "No function host runs here; `hubbub start APP` starts one.")
        return
    yield fine("host", f"A function host answers on {url}.")
    try:
        status = json.loads(ask(f"{url}/admin/host/status").body)
        errors = status["errors"]
    except (OSError, ValueError, KeyError, TypeError):
        return  # where keys are asked for, it does not tell
    for error in errors:
        yield problem("host", str(error), "Correct the function; it is loaded again by itself.")


def upstream(template: Template) -> Finding | None:
    """Whether anybody is where a template leads, `None` where that depends on the event."""
    name = template.literal_host
    if name is None:
        return None
    address = urlsplit(template.url_template)
    where = f"{address.scheme}://{address.netloc.rpartition('@')[2]}"
    try:
        ask(f"{where}/", method="HEAD")
    except OSError as error:
        return problem(
            "upstream",
            f"{template.shown} leads to where nobody answers: {_why(error)}.",
            "Start the app, or correct UrlTemplate. `hubbub upstream check` tells more.",
        )
    return fine("upstream", f"Somebody answers at {where}.")


def _no_service(named: Named, error: OSError) -> Finding:
    url = named.endpoint.url
    is_here = is_loopback(urlsplit(url).hostname or "")
    if named.is_emulator and is_here and isinstance(error, ConnectionRefusedError):
        return fine("service", f"No service runs on {url}; `hubbub start` starts one.")
    return problem(
        "service",
        f"No service answers at {url}: {_why(error)}.",
        f"Start it, open the way to it, or correct {named.where}.",
    )


def _clock(health: Answer, now: float) -> Finding:
    text = next((value for name, value in health.headers.items() if name.lower() == "date"), None)
    try:
        skew = parsedate_to_datetime(text or "").timestamp() - now
    except ValueError:
        return fine("clock", "The service does not tell its time.")
    if abs(skew) <= _MOST_SKEW:
        return fine("clock", "The service has the time that this machine has.")
    way = "ahead of" if skew > 0 else "behind"
    return problem(
        "clock",
        f"The clock of the service is {abs(skew):.0f} seconds {way} this machine's; from 300 on "
        "tokens are refused.",
        "Set both clocks by NTP, such as `timedatectl set-ntp true`.",
    )


def _key(named: Named, endpoint: Endpoint) -> Finding:
    url = f"{endpoint.server_base}api/hubs/doctor/users/doctor"
    token = issue_rest_token(endpoint, url, now=int(time.time()))
    try:
        answer = ask(f"{url}?api-version=2024-12-01", method="HEAD", token=token)
    except OSError as error:
        return problem("key", f"The service ended the call: {_why(error)}.", "Look at its log.")
    if answer.status == 401:
        return problem(
            "key",
            f"The access key of {named.where} is none of the service's.",
            "Use the connection string that the service printed when it was started, with the key "
            "that `hubbub keys rotate` has printed since, if it has.",
        )
    return fine("key", "The service takes the access key.")


def _why(error: OSError) -> str:
    return error.strerror or str(error) or "it took too long"
