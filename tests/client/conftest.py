"""Fixtures for clients: a real service in the test's event loop, and one that records requests."""

from collections.abc import AsyncIterator

import pytest
from tests.client.recording import Recorder
from tests.service.running import Running, Service

from hubbub.client.management import HubContext, ServiceClient
from hubbub.service.settings import ServiceSettings


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """A service with default settings."""
    async with Running(ServiceSettings()) as running:
        yield running


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    """A server that records what it is asked and answers what a test wants."""
    async with Recorder() as running:
        yield running


@pytest.fixture
async def recorded(recorder: Recorder) -> AsyncIterator[HubContext]:
    """The hub Chat of the recording server."""
    async with ServiceClient(recorder.connection_string) as client:
        yield client.hub("Chat")
