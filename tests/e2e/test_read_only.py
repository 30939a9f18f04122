"""A read-only agent of a real program: what it reports is what is enforced, whatever its model tries."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.claude import claude_environ, claude_home
from tests.claude import model as anthropic  # noqa: F401 - a fixture
from tests.codex import codex_environ, codex_home
from tests.codex import model as responses  # noqa: F401 - a fixture
from tests.fake_models.anthropic import FakeAnthropic, blocks
from tests.fake_models.responses import FakeResponses
from tests.harness import Home, home

NO_TOOL = "No such tool available"
MCP = str(Path(__file__).parents[1] / "fake_models" / "mcp_server.py")


def rights(place: Home, agent: str) -> dict[str, Any]:
    found: dict[str, Any] = place.get(f"/api/v1/agents/{agent}")["meta"]["providerCapabilities"]["session"]
    return found


def content(place: Home) -> dict[str, str]:
    """Return every file of the agent's folder with what is in it."""
    return {str(file): file.read_text() for file in place.work.rglob("*") if file.is_file()}


def runs(folder: Path, name: str) -> dict[str, Any]:
    """Return a hook of the repository that leaves a trace when it runs."""
    return {"hooks": [{"type": "command", "command": f"touch {folder}/ran-{name}"}]}


@pytest.fixture
def claude(tmp_path: Path, anthropic: FakeAnthropic) -> Iterator[Home]:
    with home(tmp_path, claude_environ(claude_home(tmp_path / "user"), anthropic)) as place:
        skill = place.work / ".claude" / "skills" / "sly"
        skill.mkdir(parents=True)
        (skill / "SKILL.md").write_text("---\nname: sly\ndescription: d\n---\nNow: !`touch by-skill`\n")
        ran = {name: [runs(tmp_path, name)] for name in ("SessionStart", "UserPromptSubmit", "Stop", "SessionEnd")}
        line = {"type": "command", "command": f"touch {tmp_path}/ran-status-line"}
        settings = json.dumps({"hooks": ran, "statusLine": line, "apiKeyHelper": f"touch {tmp_path}/ran-helper"})
        for name in ("settings.json", "settings.local.json"):
            (place.work / ".claude" / name).write_text(settings)
        (place.work / "CLAUDE.md").write_text("What the repository wants.")
        server = {"command": sys.executable, "args": [MCP, "scribbler", str(tmp_path / "started")]}
        (place.work / ".mcp.json").write_text(json.dumps({"mcpServers": {"scribbler": server}}))
        (place.work / "notes.ipynb").write_text('{"cells": []}')
        (place.work / "kept.txt").write_text("kept as it is")
        yield place


@pytest.mark.claude
@pytest.mark.slow
def test_claude_code_reads_and_writes_nothing(claude: Home, anthropic: FakeAnthropic) -> None:
    before = content(claude)
    claude.start("cc", "claude", "--trust-folder", "--approval-mode", "read-only")
    assert rights(claude, "cc") == {"files": "read", "shell": "none"}
    kept, made = str(claude.work / "kept.txt"), str(claude.work / "made.txt")
    read = claude.settled(claude.send("cc", f"TOOL:Read {json.dumps({'file_path': kept})}"))
    assert "kept as it is" in read["result"]
    tries: list[tuple[str, dict[str, Any]]] = [
        ("Bash", {"command": f"touch {made}"}),
        ("Write", {"file_path": made, "content": "x"}),
        ("Edit", {"file_path": kept, "old_string": "kept", "new_string": "lost"}),
        ("NotebookEdit", {"notebook_path": str(claude.work / "notes.ipynb"), "new_source": "x", "edit_mode": "insert"}),
        ("EnterWorktree", {}),
        ("mcp__scribbler__scribble", {"path": made}),
        ("SendMessage", {"to": "another", "message": f"touch {made}", "summary": "s"}),
        ("ListAgents", {}),
        ("CronCreate", {"cron": "* * * * *", "prompt": f"touch {made}", "durable": True}),
    ]
    steps = "\n".join(f"TOOL:{tool} {json.dumps(arguments)}" for tool, arguments in tries)
    claude.settled(claude.send("cc", steps))
    told = [text for _, kind, text in blocks(anthropic.requests[-1].messages) if kind == "tool_result"][1:]
    missing = [name for name, text in zip((name for name, _ in tries), told, strict=True) if NO_TOOL in text]
    assert missing == [name for name, _ in tries], told
    claude.settled(claude.send("cc", f"TASK:RUN=touch {made}"))
    refused = [text for request in anthropic.requests[-3:] for _, kind, text in blocks(request.messages)]
    assert any(f"{NO_TOOL}: Bash" in text for text in refused), "a subagent has the tools of its parent"
    assert claude.settled(claude.send("cc", 'TOOL:Skill {"skill": "sly"}'))["state"] == "done"
    assert content(claude) == before and not list(claude.root.glob("ran-*")) + list(claude.root.glob("started"))
    assert "Settings Warning" not in claude.screen("cc") and "read CLAUDE.md" in str(anthropic.requests[0].messages)
    offered = {tool["name"] for tool in anthropic.requests[-1].body["tools"]}
    assert {"Read", "Grep", "Glob"} <= offered and not {name for name in offered if name.startswith("mcp__")}


@pytest.mark.codex
@pytest.mark.slow
def test_codex_runs_commands_that_write_nothing(tmp_path: Path, responses: FakeResponses) -> None:
    with home(tmp_path, codex_environ(codex_home(tmp_path / "user", responses))) as place:
        with (tmp_path / "user" / ".codex" / "config.toml").open("a") as config:
            words = json.dumps([MCP, "scribbler", str(tmp_path / "started")])
            config.write(f"\n[mcp_servers.scribbler]\ncommand = {json.dumps(sys.executable)}\nargs = {words}\n")
        (place.work / "kept.txt").write_text("kept as it is")
        before = content(place)
        place.start("cx", "codex", "--approval-mode", "read-only")
        assert rights(place, "cx") == {"files": "read", "shell": "sandboxed"}
        assert "kept as it is" in place.settled(place.send("cx", "RUN:cat kept.txt"))["result"]
        for command in ("touch made.txt", f"touch {tmp_path}/made.txt", "rm kept.txt", "echo lost > kept.txt"):
            told = place.settled(place.send("cx", f"RUN:{command}"))["result"]
            assert "Read-only file system" in told, told
        escaped = place.settled(place.send("cx", "ASK:touch made.txt"))
        assert escaped["state"] == "done"
        patch = "*** Begin Patch\n*** Add File: made.txt\n+x\n*** End Patch\n"
        place.settled(place.send("cx", f"TOOL:apply_patch {json.dumps({'input': patch})}"))
        assert content(place) == before and not (tmp_path / "made.txt").exists()
        assert not (tmp_path / "started").exists(), "an MCP server runs outside of the sandbox"


def test_programs_that_cannot_be_held_to_it_are_refused(tmp_path: Path) -> None:
    with home(tmp_path) as place:
        for provider, args in (("generic", ("--", "python3", "-i")), ("demo", ())):
            runner = place.start("a", provider, "--approval-mode", "read-only", *args, wait=False)
            assert runner.wait(30) == 1 and "read-only" in place.log("a")
