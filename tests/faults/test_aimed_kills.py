"""Kill the real programs between every two records that they write of a message: not doubled, not false, not lost.

Each boundary once for each program in the version that this run drives. By hand, many times and a little later than
each record, too:

    RELAY_RUNNER_TEST_AIMED_KILLS=200 ./scripts/test --log-cli-level=INFO tests/faults/test_aimed_kills.py
"""

from __future__ import annotations

import json
import logging
import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.claude import claude_environ, claude_home
from tests.codex import codex_environ, codex_home
from tests.fake_models.anthropic import FakeAnthropic
from tests.fake_models.responses import FakeResponses
from tests.faults.aimed import HOOKS, Files, Range, sender
from tests.harness import home

log = logging.getLogger(__name__)

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("RELAY_RUNNER_TEST_AIMED_KILLS", "0"))
"""How many kills; 0: each boundary once."""
SEED = int(os.environ.get("RELAY_RUNNER_TEST_AIMED_SEED", "1"))
LATER_S = 0.4
LIMIT_S = 600 + 30 * KILLS


def shoot(range_: Range, boundaries: int, *senders: Callable[[str], int]) -> None:
    """Kill at each boundary once, or as often as was asked for, at any of them and some time after it."""
    chance = random.Random(SEED)
    aims = [(at, 0.0) for at in range(1, boundaries + 1)]
    if KILLS:
        aims = [(chance.randint(1, boundaries), chance.choice((0.0, chance.uniform(0, LATER_S)))) for _ in range(KILLS)]
    for number, (at, late_s) in enumerate(aims):
        range_.shoot(senders[number % len(senders)], at, late_s)
    range_.judge()
    log.info("%s", range_.report())
    assert not [fault for shot in range_.shots for fault in shot.faults], range_.report()
    assert sum(bool(shot.last) for shot in range_.shots) > len(range_.shots) / 2, range_.report()
    unknown = sum(shot.ended == "unknown" for shot in range_.shots)
    assert unknown <= len(range_.shots) // 2, range_.report()


@pytest.mark.codex
@pytest.mark.timeout(LIMIT_S)
def test_codex_is_killed_between_any_two_records(tmp_path: Path) -> None:
    with FakeResponses() as model, home(tmp_path, codex_environ(codex_home(tmp_path / "user", model))) as place:

        def start() -> subprocess.Popen[bytes]:
            return place.start("cx", "codex", "--approval-mode", "bypass", wait=False)

        place.start("bob", "demo")
        files = Files(tmp_path / "user", ".codex/sessions/*/*/*/*.jsonl")
        shoot(
            Range(place, model, "cx", start, files),
            14,
            sender(place, "cx"),
            sender(place.inside("bob"), "cx"),
        )


@pytest.mark.claude
@pytest.mark.timeout(LIMIT_S)
def test_claude_is_killed_between_any_two_records(tmp_path: Path) -> None:
    user = claude_home(tmp_path / "user")
    write_hooks_down(user)
    with FakeAnthropic() as model, home(tmp_path, claude_environ(user, model)) as place:

        def start() -> subprocess.Popen[bytes]:
            return place.start("cc", "claude", "--trust-folder", "--approval-mode", "bypass", wait=False)

        place.start("bob", "demo")
        files = Files(user, ".claude/projects/*/*.jsonl", HOOKS, states=".claude/sessions/*.json")
        shoot(
            Range(place, model, "cc", start, files),
            16,
            sender(place, "cc"),
            sender(place.inside("bob"), "cc"),
        )


def write_hooks_down(user: Path) -> None:
    """Let the user have hooks that leave a line in a file."""
    hooks = {
        event: [{"hooks": [{"type": "command", "command": f"echo hook {event} >> {user / HOOKS}"}]}]
        for event in ("UserPromptSubmit", "PreToolUse", "PostToolUse", "Stop", "StopFailure")
    }
    (user / ".claude").mkdir(exist_ok=True)
    (user / ".claude" / "settings.json").write_text(json.dumps({"hooks": hooks}))
