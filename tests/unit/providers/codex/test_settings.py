from __future__ import annotations

from typing import Any

import pytest

from relay_runner.providers.codex import settings
from relay_runner.providers.codex.launch import MODES


def named(profile: str) -> dict[str, str]:
    return {"id": profile}


def mode_of(given: dict[str, Any], started: str) -> str | None:
    profile = named(given["permissions"]) if "permissions" in given else None
    return settings.approval_mode(given["approvalPolicy"], given.get("sandboxPolicy", {"type": "x"}), profile, started)


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_comes_back_as_what_it_was(mode: str) -> None:
    assert mode_of(settings.of_mode(mode), mode) == mode


@pytest.mark.parametrize(
    ("policy", "sandbox", "profile", "mode"),
    [
        ("never", "danger-full-access", None, "bypass"),
        ("untrusted", {"type": "dangerFullAccess"}, None, "untrusted, danger-full-access"),
        ("never", {"type": "externalSandbox"}, None, "never, externalSandbox"),
        ("never", {"type": "workspaceWrite"}, None, "never, workspaceWrite"),
        ("never", {"type": "workspaceWrite"}, named(":workspace"), "never, :workspace"),
        ("never", {"type": "workspaceWrite"}, named("relay-runner-workspace"), "auto"),
        ({"granular": {}}, {"type": "readOnly"}, named("relay-runner-read-only"), "granular, read-only"),
        (None, {"type": "readOnly"}, None, None),
        ("never", None, None, None),
    ],
)
def test_what_we_have_no_word_for_is_told_in_theirs(policy: Any, sandbox: Any, profile: Any, mode: str | None) -> None:
    assert settings.approval_mode(policy, sandbox, profile, "ask") == mode


def test_only_what_was_started_read_only_is_called_so() -> None:
    given = settings.of_mode("read-only")
    assert mode_of(given, "auto") == "never, read-only"
    assert mode_of(given, "read-only") == "read-only"


def test_what_is_told_of_settings() -> None:
    given = {"model": "m", "effort": "high", "cwd": "/x", "approvalPolicy": "never", "sandboxPolicy": {"type": "x"}}
    told = settings.told(given, "ask")
    assert told == {"model": "m", "effort": "high", "approvalMode": "never, x", "cwd": "/x"}
    given["activePermissionProfile"] = named("relay-runner-workspace")
    assert settings.told(given, "ask")["approvalMode"] == "auto"
