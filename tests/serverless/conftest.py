"""Fixtures for hubs: a service that records what it is asked, and the host for whole apps."""

from collections.abc import AsyncIterator

import pytest
from tests.client.recording import Recorder
from tests.functions.conftest import _clean_imports, load, service

__all__ = ["_clean_imports", "load", "recorder", "service"]


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    """A service that accepts every call and remembers it."""
    async with Recorder() as running:
        yield running
