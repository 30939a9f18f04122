"""Which mentions are defused, and what stays as it is."""

from __future__ import annotations

import pytest

from relay_runner.providers.codex.mentions import defuse_mentions, mentions

SKILLS = ["deploy", "relay:guide"]


@pytest.mark.parametrize(
    ("text", "defused"),
    [
        ("use $deploy now", "use $\\deploy now"),
        ("$deploy", "$\\deploy"),
        ("($relay:guide)", "($\\relay:guide)"),
        ("see [$x](/a/SKILL.md)", "see [$\\x](/a/SKILL.md)"),
        ("see [@x](plugin://x)", "see [@\\x](plugin://x)"),
    ],
)
def test_what_would_bring_something_in_is_defused(text: str, defused: str) -> None:
    assert mentions(text) or "@" in text
    assert defuse_mentions(text, SKILLS) == defused


@pytest.mark.parametrize("text", ["echo $HOME", "costs $5", "${deploy}", "[x](y)", "a@b.c", "arr[$i + 1] (z)"])
def test_what_names_nothing_stays(text: str) -> None:
    assert defuse_mentions(text, SKILLS) == text


def test_where_nobody_knows_the_skills_every_word_may_be_one() -> None:
    assert defuse_mentions("use $anything, for $", None) == "use $\\anything, for $"
    assert defuse_mentions("use $anything", []) == "use $anything"
    assert not mentions("for $ and @")
