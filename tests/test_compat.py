"""The compatibility page: which versions are meant, what counts as failed, and what the page says."""

from __future__ import annotations

import pytest

from tests.compat import page, suites, versions
from tests.compat.suites import Counts
from tests.programs import DEFAULT

REPORT = """<testsuites><testsuite>
<testcase classname="tests.one" name="test_a"/>
<testcase classname="tests.one" name="test_b"><failure message="no">text</failure></testcase>
<testcase classname="tests.one" name="test_c"><error message="teardown">text</error></testcase>
<testcase classname="tests.one" name="test_d"><skipped message="cannot"/></testcase>
</testsuite></testsuites>"""


def test_a_test_that_could_not_be_set_up_has_failed() -> None:
    assert suites.counted(REPORT) == Counts(1, 2, 1, ("tests.one::test_b", "tests.one::test_c"))


def test_every_default_is_pinned_and_the_others_are_the_rest() -> None:
    pins = versions.pins()
    driven = [(package, version) for package, version in DEFAULT.items() if package in suites.PROVIDERS]
    assert set(driven) <= set(pins)
    assert sorted([*driven, *versions.others()]) == sorted(pins)


def test_every_pin_was_tried_and_something_is_known_of_it() -> None:
    for package, version in versions.pins():
        assert page.KNOWN[package].known(version), f"say in providers/ what is known of {package} {version}"


def test_words_name_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "latest", lambda package: f"{len(package)}.0")
    assert versions.meant(["claude@1.2", "codex@3.4", "codex@latest"]) == [
        ("claude-code", "1.2"), ("codex", "3.4"), ("codex", "5.0")
    ]  # fmt: skip
    assert versions.meant(["latest"]) == [("claude-code", "11.0"), ("codex", "5.0")]
    assert versions.meant([]) == []


@pytest.mark.parametrize("word", ["claude", "claude@", "@1.2", "gemini@1.2", "newest", ""])
def test_a_word_that_names_none_is_told(word: str) -> None:
    with pytest.raises(versions.Wrong, match="names no version: write latest, or claude@1"):
        versions.meant([word])


def test_the_page_says_what_was_found_and_what_is_known() -> None:
    results: page.Results = {}
    page.note(results, "codex", "0.171.0", "2026-01-02", {"main job": Counts(19, 1, 2, ("tests.x::test_y",))})
    text = page.render(results)
    assert "| 0.171.0" in text and "| 19 / 1 / 2 |  |  |  | 2026-01-02 |" in text
    assert "- 0.171.0 failed: `tests.x::test_y`." in text
    assert f"- 2.1.197: {page.KNOWN['claude-code'].known('2.1.197')}." in text
