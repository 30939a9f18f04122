"""What a person configured."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay_runner import config
from relay_runner.config import Paths, project
from relay_runner.errors import ConfigError


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return config.paths({"RELAY_RUNNER_HOME": str(tmp_path / "home")})


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_nothing_configured_gives_the_defaults(tmp_path: Path, paths: Paths) -> None:
    assert config.load(paths, tmp_path, {}) == config.Settings()


def test_environment_over_user(tmp_path: Path, paths: Paths) -> None:
    write(paths.config_file, 'provider = "claude"\nmodel = "m1"\neffort = "low"\n[providers.claude]\nargs = ["-v"]\n')
    write(tmp_path / "project" / ".relay-runner.toml", 'approval_mode = "read-only"\n')
    deep = tmp_path / "project" / "a" / "b"
    deep.mkdir(parents=True)
    settings = config.load(paths, deep, {"RELAY_RUNNER_PROVIDER": "generic", "RELAY_RUNNER_URL": "http://x"})
    assert (settings.provider, settings.model, settings.effort) == ("generic", "m1", "low")
    assert settings.approval_mode == "read-only", "of the nearest parent that has a file"
    assert settings.relay_url == "http://x"
    assert settings.of("claude").args == ("-v",)
    assert settings.of("other") == config.ProviderSettings()


@pytest.mark.parametrize(
    "text",
    [
        'relay_url = "http://evil"',
        'relay_token = "x"',
        'relay_token_file = "x"',
        '[providers.claude]\ncommand = ["rm"]',
    ],
)
def test_a_project_cannot_choose_what_runs_or_where_messages_go(tmp_path: Path, paths: Paths, text: str) -> None:
    write(tmp_path / ".relay-runner.toml", text)
    with pytest.raises(ConfigError, match="is not allowed in"):
        config.load(paths, tmp_path, {})


@pytest.mark.parametrize("mode", ["accept-edits", "auto", "bypass", "yolo"])
def test_a_project_cannot_allow_more_than_the_person(tmp_path: Path, paths: Paths, mode: str) -> None:
    write(tmp_path / ".relay-runner.toml", f'approval_mode = "{mode}"')
    with pytest.raises(ConfigError, match=f"approval_mode '{mode}' is not allowed in .*: use ask or read-only there"):
        config.load(paths, tmp_path, {})


@pytest.mark.parametrize(
    ("user", "project", "mode"),
    [("auto", "ask", "ask"), ("bypass", "read-only", "read-only"), ("read-only", "ask", "read-only")],
)
def test_a_project_can_narrow(tmp_path: Path, paths: Paths, user: str, project: str, mode: str) -> None:
    write(paths.config_file, f'approval_mode = "{user}"')
    write(tmp_path / ".relay-runner.toml", f'approval_mode = "{project}"')
    assert config.load(paths, tmp_path, {}).approval_mode == mode


def test_a_stranger_s_file_in_a_parent_is_passed_over_with_a_note(
    tmp_path: Path, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, work = tmp_path / "shared" / ".relay-runner.toml", tmp_path / "shared" / "work"
    work.mkdir(parents=True)
    write(tmp_path / ".relay-runner.toml", 'approval_mode = "read-only"')
    write(file, "this is no TOML [")
    own = tmp_path.stat().st_uid
    monkeypatch.setattr(project, "_owners", lambda path: {4242} if path == file else {own})
    settings = config.load(paths, work, {})
    assert settings.notes == (f"ignored {file}: it belongs to another user",)
    assert settings.approval_mode == "read-only", "the next one above is ours"


def test_only_what_narrows_is_taken_of_a_project(tmp_path: Path, paths: Paths) -> None:
    write(paths.config_file, 'model = "mine"\ntags = ["mine"]\n')
    file = tmp_path / ".relay-runner.toml"
    write(
        file, 'provider = "generic"\nmodel = "dear"\neffort = "max"\ntags = ["prod"]\npermission_deadline_s = 0.001\n'
    )
    settings = config.load(paths, tmp_path, {})
    assert (settings.provider, settings.model, settings.effort, settings.tags) == (None, "mine", None, ("mine",))
    assert settings.permission_deadline_s == config.Settings().permission_deadline_s
    (note,) = settings.notes
    assert note.startswith(f"{file}: ignored provider, model, effort, tags, permission_deadline_s;")


@pytest.mark.parametrize(
    ("user", "asked", "taken"), [(None, 120, 120), (None, 59, 540), (None, 1000, 540), (90, 80, 80), (90, 100, 90)]
)
def test_a_project_s_deadline_is_shorter_but_leaves_time_to_answer(
    tmp_path: Path, paths: Paths, user: int | None, asked: int, taken: int
) -> None:
    write(paths.config_file, f"permission_deadline_s = {user}" if user else "")
    write(tmp_path / ".relay-runner.toml", f"permission_deadline_s = {asked}")
    assert config.load(paths, tmp_path, {}).permission_deadline_s == taken


def test_notes_are_no_setting(tmp_path: Path, paths: Paths) -> None:
    write(paths.config_file, 'notes = ["x"]')
    with pytest.raises(ConfigError, match="unknown key 'notes'"):
        config.load(paths, tmp_path, {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("colour = 3", "unknown key 'colour'"),
        ("provider = 3", "config.toml"),
        ("provider = ", "cannot read .*: mend the file"),
        ("[limits]\nleast_s = -1", r"limits\.least_s in .*config\.toml is wrong: expected `float` > 0"),
        ('approval_mode = "yolo"', "approval_mode 'yolo' is unknown"),
        ("permission_deadline_s = 0", "permission_deadline_s must be above 0"),
        ("permission_deadline_s = 1e9", "permission_deadline_s must be above 0"),
        ("[providers.claude]\nargs = 3", "config.toml"),
        ("[budget.agent]\nturn = 3", "turn"),
        ("[budget.agent]\nturns = -1", "config.toml"),
        ("[limits]\nleast_s = 0", "config.toml"),
    ],
)
def test_a_wrong_file_is_named_with_its_mistake(tmp_path: Path, paths: Paths, text: str, said: str) -> None:
    write(paths.config_file, text)
    with pytest.raises(ConfigError, match=said):
        config.load(paths, tmp_path, {})


def test_a_lease_has_a_sane_length_and_is_the_users_business(tmp_path: Path, paths: Paths) -> None:
    write(paths.config_file, "lease_s = 30")
    assert config.load(paths, None, {}).lease_s == 30.0
    for bad in ("0", "-1", "nan", "1e9"):
        write(paths.config_file, f"lease_s = {bad}")
        with pytest.raises(ConfigError, match="lease_s"):
            config.load(paths, None, {})
    paths.config_file.unlink()
    write(tmp_path / ".relay-runner.toml", "lease_s = 1")
    with pytest.raises(ConfigError, match="is not allowed"):
        config.load(paths, tmp_path, {})


def test_the_largest_attachment_is_the_person_s_to_say(tmp_path: Path, paths: Paths) -> None:
    assert config.load(paths, None, {}).max_attachment_bytes == 25 * 1024 * 1024
    write(paths.config_file, "max_attachment_mib = 0.5")
    assert config.load(paths, None, {}).max_attachment_bytes == 512 * 1024
    for bad in ("0", "-1", "5000", '"x"', "nan"):
        write(paths.config_file, f"max_attachment_mib = {bad}")
        with pytest.raises(ConfigError, match="max_attachment_mib"):
            config.load(paths, None, {})
    write(paths.config_file, "")
    write(tmp_path / ".relay-runner.toml", "max_attachment_mib = 1")
    with pytest.raises(ConfigError, match="is not allowed"):
        config.load(paths, tmp_path, {})


def test_a_token_may_stand_in_a_file_that_is_read_every_time(tmp_path: Path) -> None:
    where = Paths(state=tmp_path, config=tmp_path)
    file = tmp_path / "token"
    file.write_text("first\n")
    environ = {"RELAY_RUNNER_TOKEN_FILE": str(file)}
    assert config.load(where, tmp_path, environ).relay_token == "first"
    file.write_text("second\n")
    (tmp_path / "config.toml").write_text('relay_token = "in the settings"\n')
    assert config.load(where, tmp_path, environ).relay_token == "second"
    assert config.load(where, tmp_path, {**environ, "RELAY_RUNNER_TOKEN": "given"}).relay_token == "given"
    (tmp_path / "config.toml").write_text(f'relay_token_file = "{file}"\n')
    assert config.load(where, tmp_path, {}).relay_token == "second"
    file.unlink()
    with pytest.raises(ConfigError, match=r"cannot read the relay's token in \S+ \([^\[]+\): write it there"):
        config.load(where, tmp_path, {})
