"""Profiles on the real programs: what the report says is applied, the model and the disk show."""

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
from tests.fake_models.anthropic import FakeAnthropic
from tests.fake_models.responses import FakeResponses
from tests.harness import Home, home, until

MCP = str(Path(__file__).parents[1] / "fake_models" / "mcp_server.py")
EVERYTHING = """\
name = "strict"
base = "below"
skills = ["skills"]
plugins = ["plugin"]
[relay]
context = false
broad = false
[instructions]
repo = false
global = false
system = "@system.md"
append = ["APPENDED-SECOND"]
[mcp]
mode = "only"
[mcp.servers.mine]
command = "{python}"
args = ["{mcp}", "mine", "{root}/mcp-mine"]
[hooks]
mode = "none"
[permissions]
allow = ["Bash(mkdir allowed)"]
deny = ["WebFetch"]
"""


def skill(folder: Path, name: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "SKILL.md").write_text(f"---\nname: {name}\ndescription: DESCRIBED-{name}\n---\nbody\n")


def rendered(place: Home) -> None:
    """Write a profile that asks for everything, on a base, into the user's folder of profiles."""
    folder = place.state / "profiles"
    folder.mkdir(parents=True)
    (folder / "below.toml").write_text('[instructions]\nappend = ["APPENDED-FIRST"]\nsystem = "NEVER-SEEN"\n')
    (folder / "strict.toml").write_text(EVERYTHING.format(python=sys.executable, mcp=MCP, root=place.root))
    (folder / "system.md").write_text("SYSTEM-OF-THE-PROFILE")
    skill(folder / "skills", "tidy")
    (folder / "plugin" / ".claude-plugin").mkdir(parents=True)
    (folder / "plugin" / ".claude-plugin" / "plugin.json").write_text('{"name": "extra", "version": "1.0.0"}')
    skill(folder / "plugin" / "skills", "plugged")


def projection(place: Home, agent: str) -> dict[str, str]:
    meta: dict[str, Any] = place.get(f"/api/v1/agents/{agent}")["meta"]
    assert meta["profile"]["name"] == "strict"
    return {one["key"]: one["fate"] for one in meta["profile"]["projection"]}


@pytest.fixture
def claude(tmp_path: Path, anthropic: FakeAnthropic) -> Iterator[Home]:
    """A user with instructions, hooks and MCP servers of their own, in a project that has them, too."""
    with home(tmp_path, claude_environ(claude_home(tmp_path / "user"), anthropic)) as place:
        own = tmp_path / "user" / ".claude"
        own.mkdir(exist_ok=True)
        for folder, who in ((own, "USER"), (place.work, "PROJECT")):
            (folder / "CLAUDE.md").write_text(f"INSTRUCTIONS-OF-{who}")
        hook = {"type": "command", "command": f"touch {tmp_path}/hook-ran"}
        (own / "settings.json").write_text(json.dumps({"hooks": {"UserPromptSubmit": [{"hooks": [hook]}]}}))
        server = {"command": sys.executable, "args": [MCP, "theirs", f"{tmp_path}/mcp-theirs"]}
        (place.work / ".mcp.json").write_text(json.dumps({"mcpServers": {"theirs": server}}))
        yield place


@pytest.mark.claude
@pytest.mark.slow
def test_claude_code_without_a_profile_has_what_the_user_has(claude: Home, anthropic: FakeAnthropic) -> None:
    claude.start("cc", "claude", "--trust-folder", "--system-prompt-append", "APPENDED-BY-FLAG")
    claude.settled(claude.send("cc", "SAY:x"))
    shown = json.dumps(anthropic.requests[-1].body)
    for word in ("INSTRUCTIONS-OF-USER", "INSTRUCTIONS-OF-PROJECT", "APPENDED-BY-FLAG", "relay"):
        assert word in shown
    assert (claude.root / "hook-ran").exists()
    until("the project's MCP server runs", lambda: (claude.root / "mcp-theirs").exists())


@pytest.mark.claude
@pytest.mark.slow
def test_claude_code_is_set_up_as_its_profile_says(claude: Home, anthropic: FakeAnthropic) -> None:
    rendered(claude)
    claude.start("cc", "claude", "--trust-folder", "--profile", "strict", "--system-prompt-append", "APPENDED-LAST")
    assert claude.settled(claude.send("cc", "RUN:mkdir allowed\nSAY:x"))["result"] == "x"
    assert (claude.work / "allowed").is_dir()
    until("its MCP server runs", lambda: (claude.root / "mcp-mine").exists())
    shown = json.dumps(anthropic.requests[-1].body)
    words = ("SYSTEM-OF-THE-PROFILE", "APPENDED-FIRST", "APPENDED-SECOND", "APPENDED-LAST")
    assert [shown.index(word) for word in words] == sorted(shown.index(word) for word in words)
    assert "DESCRIBED-tidy" in shown and "DESCRIBED-plugged" in shown
    for word in ("INSTRUCTIONS-OF", "NEVER-SEEN", "read-message"):
        assert word not in shown
    tools = {tool["name"] for tool in anthropic.requests[-1].body["tools"]}
    assert "Bash" in tools and "WebFetch" not in tools
    assert not (claude.root / "hook-ran").exists() and not (claude.root / "mcp-theirs").exists()
    fates = projection(claude, "cc")
    assert {key for key, fate in fates.items() if fate != "applied"} == {"relay.context", "hooks.mode"}
    # `broad = false`: nobody reaches it but by its name.
    assert "nobody" in claude.json("send", "tag:claude", "x", check=2)["error"]["code"]


@pytest.mark.claude
@pytest.mark.slow
def test_claude_code_in_a_home_of_its_own(claude: Home, anthropic: FakeAnthropic) -> None:
    file = claude.work / "apart.toml"
    file.write_text('home = "isolated"\n')
    claude.environ["ANTHROPIC_AUTH_TOKEN"] = "fake"
    claude.start("cc", "claude", "--trust-folder", "--profile", "apart.toml")
    assert claude.settled(claude.send("cc", "SAY:x"))["result"] == "x"
    shown = json.dumps(anthropic.requests[-1].body)
    assert "INSTRUCTIONS-OF-PROJECT" in shown and "INSTRUCTIONS-OF-USER" not in shown
    assert not (claude.root / "hook-ran").exists()
    own = claude.state / "agents" / "cc" / "claude-home"
    assert own.stat().st_mode & 0o777 == 0o700 and list(own.glob("projects/*/*.jsonl"))
    session = claude.file("cc", "info.json")["sessionId"]
    claude.run("restart", "cc")
    assert claude.settled(claude.send("cc", "SAY:again"))["result"] == "again"
    assert claude.file("cc", "info.json")["sessionId"] == session


@pytest.mark.codex
@pytest.mark.slow
def test_codex_is_set_up_as_its_profile_says(tmp_path: Path, responses: FakeResponses) -> None:
    with home(tmp_path, codex_environ(codex_home(tmp_path / "user", responses))) as place:
        own = tmp_path / "user" / ".codex"
        with (own / "config.toml").open("a") as config:
            words = json.dumps([MCP, "theirs", f"{tmp_path}/mcp-theirs"])
            config.write(f"\n[mcp_servers.theirs]\ncommand = {json.dumps(sys.executable)}\nargs = {words}\n")
        text = (own / "config.toml").read_text()
        (own / "config.toml").write_text('developer_instructions = "DEVELOPED-BY-USER"\n' + text)
        (place.work / "AGENTS.md").write_text("INSTRUCTIONS-OF-PROJECT")
        (place.work / ".git").mkdir()
        rendered(place)
        place.start("plain", "codex", "--trust-folder")
        place.settled(place.send("plain", "SAY:x"))
        shown = json.dumps(responses.requests[-1].body)
        assert "INSTRUCTIONS-OF-PROJECT" in shown and "DEVELOPED-BY-USER" in shown and "on a relay" in shown
        until("the user's MCP server runs", lambda: (tmp_path / "mcp-theirs").exists())
        (tmp_path / "mcp-theirs").unlink()
        place.start("cx", "codex", "--trust-folder", "--profile", "strict", "--system-prompt-append", "APPENDED-LAST")
        place.settled(place.send("cx", "SAY:x"))
        until("its MCP server runs", lambda: (tmp_path / "mcp-mine").exists())
        shown = json.dumps(responses.requests[-1].body)
        words = ("SYSTEM-OF-THE-PROFILE", "APPENDED-FIRST", "APPENDED-SECOND", "APPENDED-LAST")
        assert [shown.index(word) for word in words] == sorted(shown.index(word) for word in words)
        assert "DESCRIBED-tidy" in shown
        for word in ("INSTRUCTIONS-OF-PROJECT", "DEVELOPED-BY-USER", "on a relay", "relay-guide"):
            assert word not in shown
        assert not (tmp_path / "mcp-theirs").exists()
        fates = projection(place, "cx")
        assert {key for key, fate in fates.items() if fate != "applied"} == {
            "instructions.global", "plugins", "permissions.allow", "permissions.deny",
        }  # fmt: skip


@pytest.mark.codex
@pytest.mark.slow
def test_codex_in_a_home_of_its_own_has_none_of_the_user_s_instructions(
    tmp_path: Path, responses: FakeResponses
) -> None:
    with home(tmp_path, codex_environ(codex_home(tmp_path / "user", responses))) as place:
        (tmp_path / "user" / ".codex" / "AGENTS.md").write_text("INSTRUCTIONS-OF-USER")
        (place.work / "apart.toml").write_text('name = "strict"\nhome = "isolated"\n[instructions]\nglobal = false\n')
        place.start("cx", "codex", "--profile", "./apart.toml")
        place.settled(place.send("cx", "SAY:x"))
        assert "INSTRUCTIONS-OF-USER" not in json.dumps(responses.requests[-1].body)
        assert projection(place, "cx") == {"home": "applied", "instructions.global": "applied"}
        assert (place.state / "agents" / "cx" / "codex-home" / "config.toml").is_file()
