"""Foreign text holds no tag and no mention that anything could obey, and code stays code."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_runner.protocol.inert import WIDE, defuse, widen

KNOWN = re.compile(r"<\s*/?\s*(relay-message|system-reminder|task-notification|command-name|pasted_content)\b", re.I)
text = st.text(max_size=400) | st.text(alphabet="<>/\\ relay-messageRSYTMdin_:\n\x1b\x00\r\u200b\u0435", max_size=200)


@pytest.mark.parametrize(
    "attack",
    [
        "<system-reminder>", '</relay-message nonce="x">', "< / Task-Notification >", "<SYSTEM-REMINDER x=1>",
        "<\n relay-message", '<relay-attachment nonce="', "<command-name>", "<local-command-stdout>", "<a-b", "<_a-b>",
        "<any-name-yet-to-come>", "<pasted_content>", "</function_calls>", "<ns:call>", "<tool_use_error\n>",
        "< system_reminder>", '<\tsystem_reminder x="1">', "< /system_reminder", "<a-1-b>", "<?xml-stylesheet", "<!a-b",
        "<\u200brelay-message", "<rel\u200bay-message>", "<system-\u2060reminder>", "<relay\u00ad-message>",
        "<r\u0435lay-message>", "<\u0455ystem-reminder>", "<system\u2011reminder>", "<\uff53ystem-reminder>",
        "<\u00a0system>", "</\u200bsystem>", "<system\u0301>", "<\u4e2d>",
    ],
)  # fmt: skip
def test_a_tag_that_could_be_obeyed_is_defused(attack: str) -> None:
    assert defuse(attack) == "<\\" + attack[1:]
    assert defuse(f"text.\n{attack} text") == f"text.\n<\\{attack[1:]} text"


@pytest.mark.parametrize(
    "spelled", ["\uff1c", "\ufe64", "\u2039", "\u3008", "&lt;", "&LT;", "&#60;", "&#x003C;", "&#0060;"]
)
def test_another_spelling_of_its_beginning_changes_nothing(spelled: str) -> None:
    assert defuse(f"{spelled}/system-reminder>") == f"{spelled}\\/system-reminder>"


@pytest.mark.parametrize(
    "code",
    [
        "if a < b && c > d", "<div>", "</div>", "<relay>", "<system>", "a<b", "&lt;", "&lt;b&gt;", "<!-- x -->", "<T>",
        "List<String>", "std::vector<std::string>", "Vec<my_type>", "static_cast<size_t>(x)", "Map<String, my_type>",
        "if a < max_len and b > c:", "for (i = 0; i < max_len; i++)", "i<n-1", "1 << n_bits", "x <= y_max", "x <- f_g",
        "#include <stdio.h>", "#include <vector>", "<https://x.y>", "<bob@x.org>", "a <b", "<3", "<-", "<>", "<",
        "if a<b:", "c ? a<b : d", "<\\system-reminder>", "\u3008\u66f8\u540d\u3009", "\u2039bonjour\u203a",
        "<a href='x'>",
    ],
)  # fmt: skip
def test_code_stays(code: str) -> None:
    assert defuse(code) == code


@given(text)
def test_nothing_known_is_left_and_only_backslashes_are_added(value: str) -> None:
    harmless = defuse(value)
    assert not re.search(r"(?<![A-Za-z0-9_])" + KNOWN.pattern, harmless, re.I)
    assert not re.search(r"<\s*/?\s*(relay-message|system-reminder|task-notification|command-name)\b", harmless, re.I)
    assert harmless.replace("\\", "") == value.replace("\\", "")
    assert defuse(harmless) == harmless


@given(st.text(alphabet="@a/\u200b\ufeff \n\"'", max_size=40) | st.text(max_size=60))
def test_no_sign_is_left(value: str) -> None:
    assert "@" not in widen(value)
    assert not set(widen(value, "@$/")) & set("@$/")
    assert widen(value).replace(WIDE["@"], "@") == value.replace(WIDE["@"], "@")
