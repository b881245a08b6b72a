"""Fixtures for hubs: a service that records what it is asked."""

from collections.abc import AsyncIterator

import pytest
from tests.client.recording import Recorder


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    """A service that accepts every call and remembers it."""
    async with Recorder() as running:
        yield running
