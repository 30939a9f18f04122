from __future__ import annotations

from pathlib import Path

import pytest

from relay_runner.providers.codex.home import CodexHome

CUSTOM = 'model_provider = "mine"\n[model_providers.mine]\nname = "mine"\nbase_url = "http://127.0.0.1:1/v1"\n'


def home(tmp_path: Path, config: str = "") -> CodexHome:
    (tmp_path / "config.toml").write_text(config)
    return CodexHome(tmp_path)


def test_codex_home_moves_it(tmp_path: Path) -> None:
    assert CodexHome.of({"HOME": "/home/ann"}).folder == Path("/home/ann/.codex")
    assert CodexHome.of({"HOME": "/home/ann", "CODEX_HOME": str(tmp_path)}).folder == tmp_path


def test_a_home_that_nobody_used_is_not_logged_in(tmp_path: Path) -> None:
    assert CodexHome(tmp_path / "none").missing_login({}) == "it is not logged in"
    # The program itself does not look at this variable before somebody logged in by it.
    assert CodexHome(tmp_path / "none").missing_login({"OPENAI_API_KEY": "k"}) == "it is not logged in"


def test_a_log_in_is_a_file_or_in_the_keyring(tmp_path: Path) -> None:
    assert home(tmp_path, 'cli_auth_credentials_store = "keyring"').missing_login({}) is None
    (tmp_path / "auth.json").write_text("{}")
    assert home(tmp_path).missing_login({}) is None


def test_a_provider_of_the_users_own_needs_its_variable_only(tmp_path: Path) -> None:
    assert home(tmp_path, CUSTOM).missing_login({}) is None
    with_key = home(tmp_path, CUSTOM + 'env_key = "MINE_KEY"\n')
    assert "MINE_KEY" in str(with_key.missing_login({}))
    assert with_key.missing_login({"MINE_KEY": "k"}) is None
    assert home(tmp_path, CUSTOM + "requires_openai_auth = true\n").missing_login({}) == "it is not logged in"


@pytest.mark.parametrize("text", ["not = [toml", "projects = 3"])
def test_settings_that_make_no_sense_say_nothing(tmp_path: Path, text: str) -> None:
    assert home(tmp_path, text).trust(tmp_path) is None


def test_what_the_user_decided_about_a_folder_or_one_above_it(tmp_path: Path) -> None:
    work = tmp_path / "work" / "deep"
    work.mkdir(parents=True)
    decided = home(tmp_path, f'[projects."{tmp_path.resolve() / "work"}"]\ntrust_level = "trusted"\n')
    assert decided.trust(work) == "trusted"
    assert decided.trust(tmp_path) is None


def test_the_newest_file_of_a_thread(tmp_path: Path) -> None:
    folder = tmp_path / "sessions" / "2026" / "11" / "21"
    folder.mkdir(parents=True)
    found = folder / "rollout-2026-11-21T02-00-00-abc.jsonl"
    found.write_text("")
    assert CodexHome(tmp_path).rollout("abc") == found
    assert CodexHome(tmp_path).rollout("other") is None
    (tmp_path / "archived_sessions").mkdir()
    archived = found.rename(tmp_path / "archived_sessions" / found.name)
    assert CodexHome(tmp_path).rollout("abc") == archived


def test_the_variables_that_keys_come_from(tmp_path: Path) -> None:
    assert home(tmp_path, CUSTOM + 'env_key = "MINE_KEY"\n').env_keys() == ("MINE_KEY",)
    assert home(tmp_path, "model_providers = 3").env_keys() == ()
