from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from relay_runner.config import AgentPaths
from relay_runner.providers.claude import hiding, launch
from tests.contract.providers import launch_spec


def test_rules_name_the_secret_files_and_the_sandbox_hides_all_but_what_the_agent_needs(tmp_path: Path) -> None:
    made, token = launch_spec(tmp_path), tmp_path / "token"
    token.write_text("t")
    agent_dir = tmp_path / "state" / "agents" / "cc"
    agent_dir.mkdir(parents=True)
    spec = replace(made, agent_dir=agent_dir, hidden=(tmp_path / "state", token, tmp_path / "work"))
    (tmp_path / "work").mkdir()
    settings = launch.settings_of(spec)
    paths = AgentPaths(agent_dir)
    rules = settings["permissions"]["deny"]
    for path in (
        f"{tmp_path}/state/relay.*",
        f"{tmp_path}/state/agents/*/*.json",
        f"{tmp_path}/state/agents/*/journal.db*",
        f"{tmp_path}/token",
        f"{tmp_path}/work/**",
    ):
        assert f"Read(/{path})" in rules
    assert not [rule for rule in rules if "inside" in rule or rule.startswith(f"Read(/{tmp_path}/state/**")]
    assert settings["sandbox"]["filesystem"] == {
        "denyRead": [str(place) for place in spec.hidden],
        "allowRead": [str(paths.bin), str(paths.attachments)],
    }
    assert settings["sandbox"]["network"] == {"allowedDomains": ["127.0.0.1"]}, "its hooks reach the runner"
    assert "enabled" not in settings["sandbox"], "whether there is one is the user's choice"


def test_where_nothing_is_hidden_nothing_is_said(tmp_path: Path) -> None:
    settings: dict[str, object] = {}
    hiding.hide(settings, launch_spec(tmp_path))
    assert settings == {}
