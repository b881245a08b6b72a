"""Answers of many records: read whole, and without holding the loop."""

import asyncio

import pytest

from hubbub.protocol.codec import CODECS
from hubbub.protocol.messages import Completion, Invocation
from hubbub.service.upstream.answer import check_answer
from hubbub.service.upstream.outcome import Kind, Outcome

LIMIT = 1_000_000
PROTOCOL = pytest.mark.parametrize("protocol", ["json", "messagepack"])


def answer(protocol: str, *, calls: int, cut: int = 0) -> Outcome:
    codec = CODECS[protocol]
    call = codec.encode(Invocation(target="x" * 91, arguments=codec.encode_value([])))
    body = call * calls + codec.encode(Completion(invocation_id="1"))
    return Outcome(kind=Kind.ANSWERED, status=200, body=body[: len(body) - cut])


@PROTOCOL
async def test_an_answer_of_many_records_lets_others_in(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubbub.service.slices._SECONDS", -1)
    outcome = answer(protocol, calls=2000)
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    others = asyncio.create_task(turn())
    checked, messages = await check_answer(outcome, "1", CODECS[protocol], LIMIT)
    others.cancel()

    assert checked is outcome
    assert len(messages) == 2001
    assert messages[-1] == Completion(invocation_id="1")
    assert turns >= len(outcome.body) // 16_384


@PROTOCOL
async def test_an_answer_of_many_records_that_ends_within_one_is_none(protocol: str) -> None:
    outcome = answer(protocol, calls=2000, cut=1)
    checked, messages = await check_answer(outcome, "1", CODECS[protocol], LIMIT)

    assert (checked.kind, messages) == (Kind.UNUSABLE, [])
    assert "is the framing missing?" in checked.detail
