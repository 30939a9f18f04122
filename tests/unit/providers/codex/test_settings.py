from __future__ import annotations

from typing import Any

import pytest

from relay_runner.providers.codex import settings
from relay_runner.providers.codex.launch import MODES


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_comes_back_as_what_it_was(mode: str) -> None:
    given = settings.of_mode(mode)
    assert settings.approval_mode(given["approvalPolicy"], given["sandboxPolicy"], mode) == mode


@pytest.mark.parametrize(
    ("policy", "sandbox", "mode"),
    [
        ("never", "danger-full-access", "bypass"),
        ("untrusted", {"type": "dangerFullAccess"}, "untrusted, danger-full-access"),
        ("never", {"type": "externalSandbox"}, "never, externalSandbox"),
        ({"granular": {}}, {"type": "readOnly"}, "granular, read-only"),
        (None, {"type": "readOnly"}, None),
        ("never", None, None),
    ],
)
def test_what_we_have_no_word_for_is_told_in_theirs(policy: Any, sandbox: Any, mode: str | None) -> None:
    assert settings.approval_mode(policy, sandbox, "ask") == mode


def test_only_what_was_started_read_only_is_called_so() -> None:
    given = settings.of_mode("read-only")
    policy, sandbox = given["approvalPolicy"], given["sandboxPolicy"]
    assert settings.approval_mode(policy, sandbox, "auto") == "never, read-only"
    assert settings.approval_mode(policy, sandbox, "read-only") == "read-only"


def test_what_is_told_of_settings() -> None:
    given = {"model": "m", "effort": "high", "cwd": "/x", "approvalPolicy": "never", "sandboxPolicy": {"type": "x"}}
    told = settings.told(given, "ask")
    assert told == {"model": "m", "effort": "high", "approvalMode": "never, x", "cwd": "/x"}
