"""What becomes of a function when the service that has told it of something waits no more."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from tests.functions.apps import call
from tests.functions.test_webhook import SETTINGS, URL, headers, message

from hubbub.functions.host import Host

Load = Callable[..., Host]
APP = """
import asyncio
import stage_of_test as stage

@app.generic_trigger(arg_name="context", type="signalRTrigger", hubName="Chat",
    category="messages", event="say")
async def listen(context):
    stage.begun.set()
    try:
        await stage.gate.wait()
    except asyncio.CancelledError:
        stage.notes.append("cancelled")
        raise
    stage.notes.append("done")
    return "result"
"""


@pytest.fixture
def host(load: Load, stage: Any) -> Host:
    stage.begun, stage.gate, stage.notes = asyncio.Event(), asyncio.Event(), []
    return load(APP, SETTINGS)


async def test_the_function_of_a_stream_is_cancelled_when_the_service_leaves(
    host: Host, stage: Any, log: pytest.LogCaptureFixture
) -> None:
    gone = asyncio.Event()
    given = headers(X_Hubbub_Stream_Id="7")
    asked = asyncio.ensure_future(
        call(host, "POST", URL, headers=given, body=message(id_="7"), gone=gone)
    )
    await stage.begun.wait()

    gone.set()
    with pytest.raises(ValueError, match="not enough values"):  # nothing was answered
        await asked

    assert stage.notes == ["cancelled"]
    lines = [record for record in log.records if "Executed 'Functions.listen'" in record.message]
    assert [(line.levelno, "(Cancelled, " in line.message) for line in lines] == [
        (logging.INFO, True)
    ]
    assert "Traceback" not in log.text


async def test_the_function_of_a_stream_is_answered_where_the_service_stays(
    host: Host, stage: Any
) -> None:
    stage.gate.set()

    given = headers(X_Hubbub_Stream_Id="7")
    answer = await call(host, "POST", URL, headers=given, body=message(id_="7"))

    assert answer.body == b'{"type":3,"invocationId":"7","result":"result"}\x1e'


async def test_any_other_function_goes_on_when_the_service_leaves(host: Host, stage: Any) -> None:
    gone = asyncio.Event()
    asked = asyncio.ensure_future(
        call(host, "POST", URL, headers=headers(), body=message(id_="7"), gone=gone)
    )
    await stage.begun.wait()

    gone.set()
    stage.gate.set()
    await asked

    assert stage.notes == ["done"]
