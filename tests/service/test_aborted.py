"""Clients that abort a request just when it is answered, which is no defect of the service."""

from collections.abc import Callable

import aiohttp
import pytest
from starlette.types import Scope, Send
from tests.service.conftest import Start

from hubbub.service.calls import Answer


@pytest.mark.parametrize("path", ["/api/hubs/chat/users", "/client/negotiate?hub=chat"])
async def test_a_client_that_aborts_is_no_error_of_the_service(
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    path: str,
) -> None:
    service = await start()
    send_answer: Callable[..., object] = Answer.send
    aborted: list[str] = []

    async def abort_and_send(answer: Answer, scope: Scope, send: Send) -> None:
        if not aborted:
            aborted.append(scope["path"])
            send.__self__.transport.abort()  # type: ignore[attr-defined]
        await send_answer(answer, scope, send)  # type: ignore[misc]

    monkeypatch.setattr(Answer, "send", abort_and_send)
    with pytest.raises(aiohttp.ClientError):
        await service.http.patch(service.url + path)
    async with service.http.patch(service.url + path) as response:
        assert response.status in {401, 405}
    assert aborted == [path.partition("?")[0]]
    assert caplog.records == []
