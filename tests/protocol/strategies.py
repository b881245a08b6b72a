"""Generators of what the wire carries, and of what looks like it and is not."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from hubbub.protocol.codec import Codec
from hubbub.protocol.messages import (
    Ack,
    CancelInvocation,
    Close,
    Completion,
    Invocation,
    Message,
    Ping,
    Sequence,
    StreamInvocation,
    StreamItem,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
# What both encodings can say: 64 bits, no NaN, text for keys.
values: SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
headers = st.dictionaries(texts, texts, max_size=3)
stream_ids = st.lists(texts, max_size=3).map(tuple)
sequence_ids = st.integers(0, 2**63 - 1)

# What the members of a JSON record are called, and values most of which are wrong for most of them.
NAMES = ("type", "headers", "invocationId", "target", "arguments", "streamIds", "item", "result",
         "error", "allowReconnect", "sequenceId", "protocol", "version", "other")  # fmt: skip
TYPES = (*range(-1, 12), 2**70, -(2**70), 1.5, "1", "", None, True, [], [1], {}, {"type": 1})
wrong_values = st.sampled_from(TYPES) | values | st.integers()
wrong_objects = st.dictionaries(st.sampled_from(NAMES), wrong_values, max_size=6)
typed_objects = st.builds(
    lambda kind, members: {"type": kind, **members},
    st.sampled_from(TYPES),
    st.dictionaries(st.sampled_from(NAMES[1:]), wrong_values, max_size=6),
)


def messages(codec: Codec) -> SearchStrategy[Message]:
    """Every message that can be encoded, with arguments in the bytes of `codec`."""
    raw = values.map(codec.encode_value)
    arguments = st.lists(values, max_size=3).map(codec.encode_value)
    return st.one_of(
        st.builds(
            Invocation,
            target=texts,
            arguments=arguments,
            invocation_id=st.none() | ids,
            headers=headers,
            stream_ids=stream_ids,
        ),
        st.builds(
            StreamInvocation,
            target=texts,
            arguments=arguments,
            invocation_id=texts,
            headers=headers,
            stream_ids=stream_ids,
        ),
        st.builds(StreamItem, invocation_id=texts, item=raw, headers=headers),
        st.builds(Completion, invocation_id=texts, headers=headers),
        st.builds(Completion, invocation_id=texts, result=raw, headers=headers),
        st.builds(Completion, invocation_id=texts, error=texts, headers=headers),
        st.builds(CancelInvocation, invocation_id=texts, headers=headers),
        st.just(Ping()),
        st.builds(Close, error=st.none() | texts, allow_reconnect=st.booleans()),
        st.builds(Ack, sequence_ids),
        st.builds(Sequence, sequence_ids),
    )


@st.composite
def cut(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """`data` in pieces, cut anywhere; some of them may be empty."""
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
