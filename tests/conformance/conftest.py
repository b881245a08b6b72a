"""Everything here runs on uvloop, as `hubbub service` does."""

import asyncio
from collections.abc import Callable, Mapping

import uvloop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loops to run the tests of this folder on."""
    return {"uvloop": uvloop.new_event_loop}
