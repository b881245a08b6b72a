"""The OpenAPI document and the reference: true of the service, and of each other."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
import schemathesis
import uvloop
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.service.running import Running, Service

from hubbub.service.openapi import openapi_document
from hubbub.service.operations.table import OPERATIONS
from hubbub.service.reference import rest_reference
from hubbub.service.settings import ServiceSettings

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT: dict[str, Any] = json.loads(openapi_document())


def test_the_reference_in_docs_is_the_one_that_the_table_gives() -> None:
    found = (DOCS / "rest-api.md").read_text(encoding="utf-8")

    assert found == rest_reference(), "run: python -m hubbub.service.reference > docs/rest-api.md"


def test_the_reference_has_every_operation_and_every_error() -> None:
    text = rest_reference()

    for operation in OPERATIONS:
        assert f"`{', '.join(operation.methods)} {operation.path}`" in text
        for status, code in operation.errors:
            assert f"{status} `{code}`" in text


async def test_the_document_is_served_to_everybody(service: Service) -> None:
    answer = await service.request("GET", "/api/swagger")

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json == DOCUMENT


def test_every_operation_is_in_the_document_under_a_name_of_its_own() -> None:
    found = {
        (method.upper(), path.removeprefix("/api/hubs/{hub}")): described["operationId"]
        for path, methods in DOCUMENT["paths"].items()
        for method, described in methods.items()
        if path.startswith("/api/hubs/")
    }

    assert set(found) == {(method, each.path) for each in OPERATIONS for method in each.methods}
    assert len(set(found.values())) == len(found)


class ServiceThread:
    """A service in a thread of its own: what tests it here waits without an event loop."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._run()), daemon=True)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with Running(ServiceSettings(invoke_timeout=0.05)) as self.service:
            for user in ("0", "a"):
                await self.service.connect("a", user)
            self._ready.set()
            await self._stop.wait()

    def __enter__(self) -> Service:
        self._thread.start()
        assert self._ready.wait(20)
        return self.service

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    with ServiceThread() as service:
        yield service


@pytest.fixture(scope="module")
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False  # what the environment says of proxies takes long to look up
        yield session


@schemathesis.serializer("application/x-msgpack")
def serialize_msgpack(_: Any, value: Any) -> bytes:
    """A generated value as MessagePack; what MessagePack has not, as JSON, which it is not."""
    try:
        return msgspec.msgpack.encode(value)
    except (TypeError, OverflowError, UnicodeEncodeError):
        return json.dumps(value, default=str).encode()


schema = schemathesis.openapi.from_dict(DOCUMENT)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    ignored_auth,
]
# A path that is longer makes a token, which holds it too, that is refused before it is looked at.
LONGEST_PATH = 2000  # bytes


IDS = [each["operationId"] for methods in DOCUMENT["paths"].values() for each in methods.values()]


def examination(operation_id: str) -> Any:
    """A test of one operation: as a function of its own it has a node id of its own."""

    @schema.include(operation_id=operation_id).parametrize()
    @settings(
        max_examples=4,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def examine(running: Service, http: requests.Session, case: Any) -> None:
        if len(case.formatted_path) > LONGEST_PATH:
            return
        token = running.rest_token(case.formatted_path)

        case.call_and_validate(
            base_url=running.url,
            headers={"Authorization": f"Bearer {token}"},
            session=http,
            checks=CHECKS,
        )

    return examine


for operation_id in IDS:
    globals()[f"test_the_service_does_what_its_document_says_of_{operation_id}"] = examination(
        operation_id
    )
