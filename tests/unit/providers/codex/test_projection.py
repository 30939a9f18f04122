from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relay_runner.errors import ProviderNotReady
from relay_runner.providers.base import LaunchSpec
from relay_runner.providers.codex import projection
from tests.contract.providers import launch_spec

CUSTOM = 'model_provider = "mine"\n[model_providers.mine]\nname = "mine"\nbase_url = "http://127.0.0.1:1/v1"\n'
SECRET = '{"tokens": "sk-very-secret"}'


@pytest.fixture
def spec(tmp_path: Path) -> LaunchSpec:
    (tmp_path / "mounted").mkdir()
    return launch_spec(tmp_path, isolated_home=True, secrets=tmp_path / "mounted")


def put(spec: LaunchSpec, **files: str) -> None:
    assert spec.secrets is not None
    for name, text in files.items():
        (spec.secrets / {"auth": "auth.json", "config": "config.toml"}[name]).write_text(text)


def home(spec: LaunchSpec) -> Path:
    return spec.agent_dir / projection.HOME


def test_both_files_are_copied_private_into_a_private_home(spec: LaunchSpec) -> None:
    put(spec, auth=SECRET, config=CUSTOM)
    assert spec.secrets is not None
    for file in spec.secrets.iterdir():
        file.chmod(0o444)
    spec.secrets.chmod(0o555)
    projection.check(spec)
    projection.project(spec)
    assert home(spec).stat().st_mode & 0o777 == 0o700
    for name, text in (("auth.json", SECRET), ("config.toml", CUSTOM)):
        assert (home(spec) / name).read_text() == text
        assert (home(spec) / name).stat().st_mode & 0o777 == 0o600
    assert projection.isolated(spec).environ["CODEX_HOME"] == str(home(spec))


def test_what_codex_renewed_is_kept_until_its_source_changes(spec: LaunchSpec) -> None:
    put(spec, auth="1", config=CUSTOM)
    projection.project(spec)
    (home(spec) / "auth.json").write_text("renewed")
    projection.project(spec)
    assert (home(spec) / "auth.json").read_text() == "renewed"
    put(spec, auth="2")
    projection.project(spec)
    assert (home(spec) / "auth.json").read_text() == "2"
    assert spec.secrets is not None
    (spec.secrets / "auth.json").unlink()
    projection.project(spec)
    assert not (home(spec) / "auth.json").exists()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "config.toml is missing"),
        ({"auth": SECRET}, "config.toml is missing"),
        ({"config": ""}, "auth.json is missing"),
        ({"config": CUSTOM + 'env_key = "MINE_KEY"\n'}, "MINE_KEY"),
        ({"config": CUSTOM}, None),
        ({"config": "", "auth": SECRET}, None),
    ],
)
def test_what_is_missing_blocks_the_start_and_no_value_or_path_is_shown(
    spec: LaunchSpec, files: dict[str, str], said: str | None
) -> None:
    put(spec, **files)
    if said is None:
        projection.check(spec)
        return
    with pytest.raises(ProviderNotReady, match=said) as refused:
        projection.check(spec)
    text = str(refused.value)
    assert text.startswith("blocked: ") and str(spec.agent_dir.parent) not in text and "sk-very-secret" not in text
    assert "mounted (depth " in text


def test_a_folder_that_is_not_there_blocks_the_start(spec: LaunchSpec, tmp_path: Path) -> None:
    with pytest.raises(ProviderNotReady, match="is not there"):
        projection.check(replace(spec, secrets=tmp_path / "none"))


def test_without_a_folder_of_secrets_the_users_own_home_is_copied(spec: LaunchSpec) -> None:
    users = Path(spec.environ["HOME"]) / ".codex"
    users.mkdir()
    (users / "auth.json").write_text(SECRET)
    spec = replace(spec, secrets=None)
    projection.check(spec)
    projection.project(spec)
    assert (home(spec) / "auth.json").read_text() == SECRET
    assert not (home(spec) / "config.toml").exists()


def test_the_users_own_home_is_left_alone_where_it_is_used(spec: LaunchSpec) -> None:
    spec = replace(spec, isolated_home=False, secrets=None)
    projection.project(spec)
    assert (projection.isolated(spec), home(spec).exists()) == (spec, False)
    assert projection.describe(spec)["kind"] == "host"


def test_what_others_may_know_holds_no_value_and_no_path(spec: LaunchSpec) -> None:
    put(spec, config=CUSTOM + 'env_key = "MINE_KEY"\n', auth=SECRET)
    projection.project(spec)
    environ = {**spec.environ, "MINE_KEY": "sk-very-secret"}
    told: dict[str, Any] = projection.describe(projection.isolated(replace(spec, environ=environ)))
    assert (told["kind"], told["files"]) == ("isolated", {"auth.json": True, "config.toml": True})
    assert told["environment"] == {"OPENAI_API_KEY": False, "CODEX_API_KEY": False, "MINE_KEY": True}
    assert "sk-very-secret" not in str(told) and str(spec.agent_dir) not in str(told)


def test_a_redacted_path_keeps_its_last_name_its_depth_and_twelve_digits() -> None:
    assert projection.redacted(Path("/run/secrets/codex")) == "codex (depth 3, sha256 32e33a5af77d)"
    assert projection.redacted(Path("/run/secrets/other")) != projection.redacted(Path("/run/elsewhere/other"))
