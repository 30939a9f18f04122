"""The keys of the live view, in one read or in several."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay_runner.cli.dashboard.keys import Decoder, Key


def test_characters_controls_and_arrows() -> None:
    keys = Decoder().feed(b"q\x1b[A\x1bOB\x1b[B\r\x7fy\x03")
    assert keys == ["q", Key.UP, Key.DOWN, Key.DOWN, Key.ENTER, Key.BACKSPACE, "y", Key.ESCAPE]


def test_an_escape_alone_is_known_only_after_a_moment() -> None:
    decoder = Decoder()
    assert decoder.feed(b"\x1b") == [] and decoder.waits
    assert decoder.flush() == [Key.ESCAPE] and not decoder.waits
    assert decoder.feed(b"a") == ["a"]


def test_an_escape_before_a_letter_is_an_escape_and_the_letter() -> None:
    assert Decoder().feed(b"\x1bq") == [Key.ESCAPE, "q"]


def test_a_sequence_that_nobody_knows_is_no_key() -> None:
    assert Decoder().feed(b"\x1b[3~\x1b[1;5Cx\x00\x01") == ["x"]


@given(st.lists(st.sampled_from([b"\x1b[A", b"\x1b[B", b"\r", b"q", "ä".encode(), b"\x1b[200~", b"\x1bOA"])), st.data())
def test_reads_may_be_cut_anywhere(words: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(words)
    cut = data.draw(st.integers(0, len(whole)))
    decoder = Decoder()
    assert decoder.feed(whole[:cut]) + decoder.feed(whole[cut:]) == Decoder().feed(whole)
