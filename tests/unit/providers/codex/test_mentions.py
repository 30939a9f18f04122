"""Which mentions are made inert, and what stays as it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_runner.providers.codex.mentions import defuse_mentions, mentions

SKILLS = ["deploy", "relay:guide", "LOUD-one"]


@pytest.mark.parametrize(
    ("text", "inert"),
    [
        ("use $deploy now", "use \uff04deploy now"),
        ("$Deploy", "\uff04Deploy"),
        ("($relay:guide)", "(\uff04relay:guide)"),
        ("$any-app-of-the-account", "\uff04any-app-of-the-account"),
        ("$LOUD-one", "\uff04LOUD-one"),
        ("see [$x](/a/SKILL.md)", "see [\uff04x](/a/SKILL.md)"),
        ("see [$HOME](app://x)", "see [\uff04HOME](app://x)"),
        ("$HOMEpage", "\uff04HOMEpage"),
    ],
)
def test_what_could_bring_something_in_is_inert(text: str, inert: str) -> None:
    assert mentions(text)
    assert defuse_mentions(text, SKILLS) == inert


@pytest.mark.parametrize("text", ["echo $HOME:$PATH", "costs $5", "${deploy}", "[x](y)", "arr[ $1 ] (z)", "$"])
def test_variables_stay(text: str) -> None:
    assert defuse_mentions(text, SKILLS) == text


def test_where_nobody_knows_the_skills_every_word_may_be_one() -> None:
    assert defuse_mentions("use $ANYTHING, for $", None) == "use \uff04ANYTHING, for $"
    assert not mentions("for $ and @")


def test_the_model_is_told_of_it() -> None:
    head = '<relay-message note="\uff20 for @">\n'
    assert defuse_mentions(head + "$x", SKILLS) == '<relay-message note="\uff20 for @, \uff04 for $">\n\uff04x'


@given(st.text(alphabet="$[](aZ_9:- @\u200b\n", max_size=60))
def test_no_sign_is_left_before_a_name_that_is_no_variable(text: str) -> None:
    left = defuse_mentions(text, SKILLS)
    for place, letter in enumerate(left):
        if letter == "$" and (name := left[place + 1 : place + 2]).isascii() and name.isalnum():
            assert name.isupper() or name.isdigit()
