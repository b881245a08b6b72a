"""Clients that go while their requests wait for each other, which is no defect of the service."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from starlette.types import Scope, Send
from tests.service.conftest import Start
from tests.service.running import PATIENCE
from yarl import URL

from hubbub.cli.child import is_news
from hubbub.service.calls import Answer

SendAnswer = Callable[[Answer, Scope, Send], Awaitable[None]]


async def test_a_client_that_is_gone_when_it_is_answered_is_no_traceback(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    service = await start()
    send_answer: SendAnswer = Answer.send
    begun: list[Any] = []
    failed = asyncio.Event()

    async def send_and_abort(answer: Answer, scope: Scope, send: Send) -> None:
        transport = send.__self__.transport  # type: ignore[attr-defined]
        begun.append(transport)
        if len(begun) == 2:  # the third one waits for it, and hears that the client is gone
            transport.abort()
            async with asyncio.timeout(PATIENCE):
                while "closed=True" not in repr(transport):  # noqa: ASYNC110  nothing else tells
                    await asyncio.sleep(0)
        try:
            await send_answer(answer, scope, send)
        except RuntimeError:
            failed.set()
            raise

    monkeypatch.setattr(Answer, "send", send_and_abort)
    logger = logging.getLogger("uvicorn.error")
    url = URL(service.url)
    head = b"GET /api/hubs/chat/users HTTP/1.1\r\nhost: x\r\n\r\n"

    async def abort_while_others_wait() -> None:
        begun.clear()
        failed.clear()
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(head * 3)
        async with asyncio.timeout(PATIENCE):
            await failed.wait()
            with suppress(ConnectionError):
                await reader.read()
        writer.close()

    await abort_while_others_wait()
    assert "the handler is closed" in caplog.text  # which uvicorn says
    caplog.clear()
    logger.addFilter(is_news)
    try:
        await abort_while_others_wait()
        logger.error("a defect", exc_info=RuntimeError("another"))
    finally:
        logger.removeFilter(is_news)
    assert [record.message for record in caplog.records] == ["a defect"]
