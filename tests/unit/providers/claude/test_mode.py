"""The approval mode that is reported is the one that the program is in."""

from __future__ import annotations

import logging

import pytest

from relay_runner.providers.base import Learnt
from relay_runner.providers.claude.launch import PERMISSION_MODES
from relay_runner.providers.claude.mode import Mode


@pytest.mark.parametrize(("asked", "told"), list(PERMISSION_MODES.items()))
def test_what_was_asked_for_is_no_news(asked: str, told: str) -> None:
    assert Mode(asked).hook({"permission_mode": told}) == []


def test_another_mode_is_told_once_and_so_is_the_way_back(caplog: pytest.LogCaptureFixture) -> None:
    mode = Mode("ask")
    with caplog.at_level(logging.WARNING):
        assert mode.hook({"permission_mode": "auto"}) == [Learnt({"approvalMode": "auto"})]
    assert "in approval mode auto, but was started in ask" in caplog.text
    assert mode.hook({"permission_mode": "auto"}) == []
    assert mode.hook({"permission_mode": "plan"}) == [Learnt({"approvalMode": "plan"})]
    assert mode.hook({"permission_mode": "default"}) == [Learnt({"approvalMode": "ask"})]


@pytest.mark.parametrize(
    "payload", [{}, {"permission_mode": None}, {"permission_mode": 7}, {"permission_mode": "auto", "agent_id": "a1"}]
)
def test_what_says_nothing_of_the_main_conversation_changes_nothing(payload: dict[str, object]) -> None:
    assert Mode("ask").hook(payload) == []


def test_an_agent_that_may_only_read_stays_one() -> None:
    assert Mode("read-only").hook({"permission_mode": "bypassPermissions"}) == []
