import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from relay_runner.config import AgentPaths
from relay_runner.protocol.agents import Auth
from relay_runner.protocol.control import ControlEndpoint
from relay_runner.runner import environment
from relay_runner.runner.options import RunnerOptions

CONTROL = ControlEndpoint(url="http://127.0.0.1:21000", port=21000, secret="s3cret", provider_session_id="p1")


def _environ(base: dict[str, str], tmp_path: Path, **options: object) -> dict[str, str]:
    made = RunnerOptions(agent_id="bob", provider="demo", cwd=tmp_path, **options)  # type: ignore[arg-type]
    return environment.of_provider(base, made, "r1", CONTROL, AgentPaths(tmp_path))


def test_the_program_finds_the_control_server_and_never_the_relays_token(tmp_path: Path) -> None:
    environ = _environ({"PATH": "/usr/bin", "RELAY_RUNNER_TOKEN": "the relay's own"}, tmp_path)
    assert (environ["AGENT_RELAY_URL"], environ["AGENT_RELAY_TOKEN"]) == (CONTROL.url, "s3cret")
    assert (environ["AGENT_RELAY_ID"], environ["AGENT_RELAY_PROVIDER_SESSION_ID"]) == ("bob", "p1")
    assert environ["PATH"] == f"{tmp_path}/inside/bin:/usr/bin"
    assert "the relay's own" not in environ.values()


def test_of_the_token_it_is_told_what_is_no_secret(tmp_path: Path) -> None:
    made = RunnerOptions(agent_id="bob", provider="demo", cwd=tmp_path)
    auth = Auth(profile_id="provider-agent", jti="j1", subject="agent:bob", expires_at=1234.5)
    environ = environment.of_provider({}, made, "r1", CONTROL, AgentPaths(tmp_path), auth)
    found = [environ[f"AGENT_RELAY_TOKEN_{name}"] for name in ("JTI", "PROFILE", "EXPIRES_AT")]
    assert found == ["j1", "provider-agent", "1234"]


def test_nothing_of_an_enclosing_agent_gets_through(tmp_path: Path) -> None:
    outer = {
        "AGENT_RELAY_ID": "outer",
        "AGENT_RELAY_X": "1",
        "CLAUDECODE": "1",
        "CLAUDE_CODE_CHILD_SESSION": "1",
        "TMUX": "t",
    }
    environ = _environ({**outer, "KEPT": "yes"}, tmp_path)
    assert environ["AGENT_RELAY_ID"] == "bob" and environ["KEPT"] == "yes"
    assert not {"AGENT_RELAY_X", "CLAUDECODE", "CLAUDE_CODE_CHILD_SESSION", "TMUX"} & environ.keys()


def test_the_providers_own_settings_are_added(tmp_path: Path) -> None:
    assert _environ({}, tmp_path, env={"HTTPS_PROXY": "http://p"})["HTTPS_PROXY"] == "http://p"


def test_no_proxy_stands_between_a_program_and_its_hooks(tmp_path: Path) -> None:
    base, more = {"ALL_PROXY": "socks5://p", "no_proxy": "corp.example"}, {"HTTPS_PROXY": "http://p", "NO_PROXY": "x"}
    environ = _environ(base, tmp_path, env=more)
    assert environ["HTTPS_PROXY"] == "http://p"
    assert environ["NO_PROXY"] == environ["no_proxy"] == "x,corp.example,127.0.0.1,localhost,::1"


def test_a_program_gets_its_own_keys_and_no_other_model_s() -> None:
    environ = {"ANTHROPIC_API_KEY": "a", "OPENAI_API_KEY": "o", "GITHUB_TOKEN": "g", "PATH": "/bin"}
    found = environment.without_foreign(environ, {"ANTHROPIC_API_KEY"})
    assert found == {"ANTHROPIC_API_KEY": "a", "GITHUB_TOKEN": "g", "PATH": "/bin"}


def test_the_private_relay_runner_works_and_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    environment.write_programs(folder, {"hello": (sys.executable, "-c", "print('it''s here')")})
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    environ = {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    version = subprocess.run(["relay-runner", "version"], env=environ, capture_output=True, text=True, timeout=30)
    assert version.returncode == 0 and version.stdout.startswith("relay-runner")
    hello = subprocess.run(["hello"], env=environ, capture_output=True, text=True, timeout=30)
    assert hello.stdout == "its here\n"


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=1, max_size=40).filter(lambda word: b"\0" not in word))
def test_any_word_reaches_a_program_as_it_is(word: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        environment.write_programs(Path(folder), {"echoes": ("printf", "%s|", os.fsdecode(word))})
        said = subprocess.run([Path(folder) / "echoes", word], capture_output=True, check=True).stdout
    assert said == word + b"|" + word + b"|"


def test_programs_that_cannot_be_run_are_told(tmp_path: Path) -> None:
    environment.write_programs(tmp_path / "bin", {"more": ("true",)})
    assert environment.unrunnable(tmp_path / "bin") is None
    (tmp_path / "bin" / "more").chmod(0o600)  # to the system the same as a folder that is mounted noexec
    assert "cannot run programs" in str(environment.unrunnable(tmp_path / "bin"))
