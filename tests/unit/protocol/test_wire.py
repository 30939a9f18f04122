"""How values become bytes, and what is not one of them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_runner.errors import ProtocolError
from relay_runner.protocol.messages import Delivery, Message, MessageQuery, NewMessage, State, Timing
from relay_runner.protocol.wire import admit, convert, decode, decode_each, decode_foreign, encode

messages = st.builds(
    NewMessage,
    to=st.text(max_size=20),
    body=st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
    subject=st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    timing=st.sampled_from(Timing),
    claimable=st.booleans(),
    reply_to=st.none() | st.integers(min_value=1, max_value=2**53),
    ttl_s=st.floats(min_value=0, max_value=1e9),
)


@given(messages)
def test_every_message_comes_back_as_it_was(new: NewMessage) -> None:
    assert decode(encode(new), NewMessage) == new


def test_every_field_is_written_and_names_are_camel_case() -> None:
    written = json.loads(encode(NewMessage(to="bob", body="x", reply_to=3)))
    assert written["replyTo"] == 3 and written["subject"] is None and written["replyRequired"] is False
    assert len(written) == len(NewMessage.__struct_fields__)


def test_unknown_fields_are_ignored() -> None:
    assert decode('{"to":"bob","body":"x","mood":"fine"}', NewMessage) == NewMessage(to="bob", body="x")


@pytest.mark.parametrize(
    "data", ["", "{", "[]", '{"to":"bob"}', '{"to":"bob","body":5}', '{"to":"b","body":"x","timing":"now"}', b"\xff"]
)
def test_what_does_not_fit_is_a_protocol_error_that_names_the_type(data: str | bytes) -> None:
    with pytest.raises(ProtocolError, match="NewMessage"):
        decode(data, NewMessage)


def test_plain_containers_are_converted() -> None:
    query = convert({"recipient": "agent:bob", "states": ["dead"], "oldestFirst": True}, MessageQuery)
    assert query == MessageQuery(recipient="agent:bob", states=(State.DEAD,), oldest_first=True)
    with pytest.raises(ProtocolError, match="MessageQuery"):
        convert({"limit": "many"}, MessageQuery)


def test_values_are_frozen() -> None:
    delivery = Delivery(message_id=1, recipient=None)
    with pytest.raises(AttributeError):
        delivery.state = State.DONE  # type: ignore[misc]


@pytest.mark.parametrize(
    ("written", "means"),
    [
        (rb'"cut \ud83d"', "cut ?"),
        (rb'"cut \ud83d here"', "cut ? here"),
        (rb'"\uDE00 the other half"', "? the other half"),
        (rb'"\ud83d\ud83d\ude00"', "?\U0001f600"),
        (rb'"\ud83d\ude00 whole, and \\ud83d no escape, \ude00"', "\U0001f600 whole, and \\ud83d no escape, ?"),
        (rb'{"a": ["\ud83d", 1]}', {"a": ["?", 1]}),
    ],
)
def test_half_a_character_of_a_foreign_program_is_a_question_mark(written: bytes, means: object) -> None:
    assert decode_foreign(written) == means


@given(st.recursive(st.text() | st.integers(-(2**53), 2**53), lambda inner: st.lists(inner, max_size=3)))
def test_what_a_foreign_program_writes_is_read_as_it_is(value: object) -> None:
    def mended(value: object) -> object:
        if isinstance(value, str):
            return "".join("?" if "\ud800" <= one <= "\udfff" else one for one in value)
        return [mended(one) for one in value] if isinstance(value, list) else value

    # Two halves that are written one after the other are a character to every reader: of them nothing is to be mended.
    text = json.dumps(value)
    assert decode_foreign(text.encode()) == mended(json.loads(text))


@pytest.mark.parametrize("data", [b"", b"{", rb'"\ud83d', b"\xff", rb'"\u12"'])
def test_what_is_no_json_is_an_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_foreign(data)


def test_what_is_no_text_is_an_error_in_one_line() -> None:
    """As a folder's name may be, where its bytes are no UTF-8."""
    with pytest.raises(ProtocolError, match=r"a folder\\udcff"):
        encode({"cwd": "/tmp/a folder\udcff"})


@pytest.mark.parametrize("depth", [100, 975, 100_000])
def test_what_is_nested_too_deep_is_an_error_and_no_traceback(depth: int) -> None:
    text = b'{"to":"a","body":"b","payload":{"a":' + b"[" * depth + b"]" * depth + b"}}"
    with pytest.raises(ProtocolError):
        admit(text, NewMessage)
    if depth > 1000:
        for read in (decode_foreign, lambda data: decode(data, NewMessage)):
            with pytest.raises(ProtocolError):
                read(text)
    value: object = 1
    for _ in range(depth):
        value = [value]
    if depth > 1000:
        with pytest.raises(ProtocolError):
            encode(value)


def test_one_bad_element_spoils_no_other() -> None:
    good = encode(Message(id=1, sender="a", to="b", body="c", created_at=0.0, expires_at=1.0))
    found, errors = decode_each(b"[" + good + b',[],{"id":"x"},' + good + b"]", Message)
    assert [one.id for one in found] == [1, 1] and len(errors) == 2
    assert decode_each(b"[]", Message) == ([], [])
    with pytest.raises(ProtocolError):
        decode_each(b"{}", Message)
