"""This machine's relay by the command line: a real one, started, asked, restarted and ended."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay_runner import config
from relay_runner.cli import app, loop
from relay_runner.relay import embedded


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[config.Paths]:
    monkeypatch.setenv(config.HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.delenv(config.INSIDE_VARIABLE, raising=False)
    paths = config.paths()
    yield paths
    loop.run(embedded.stop(paths))


def test_a_whole_life(paths: config.Paths, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str, code: int = 0) -> str:
        assert app.run(["relay", *words]) == code
        return capsys.readouterr().out

    assert run("status", code=1).startswith("the relay does not run")
    assert run("stop") == "the relay did not run\n"
    assert not paths.relay_json.exists()
    url = run("restart").split()[-1]
    found = json.loads(run("status", "--json"))
    assert (found["running"], found["url"], found["embedded"]) == (True, url, True)
    assert found["pid"] and found["health"]["status"] == "ok"
    assert run("status").startswith(f"the relay runs at {url} (pid {found['pid']})\n  status:     ok\n")
    said = run("status")
    assert f"  relay id:   {found['health']['relayId']}\n" in said and re.search(r"  up:         for \d+s\n", said)
    assert run("restart").split()[-1] == url
    assert run("stop") == "the relay has ended\n"
    assert json.loads(run("status", "--json", code=1))["running"] is False


def test_a_configured_relay_that_is_gone_is_told(
    paths: config.Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RELAY_RUNNER_URL", "http://127.0.0.1:9")
    assert app.run(["relay", "status"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "127.0.0.1:9" in err


@pytest.mark.parametrize("word", ["serve", "status", "stop", "restart"])
def test_an_agent_keeps_its_hands_off(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(config.INSIDE_VARIABLE, "s")
    assert app.run(["relay", word]) == 2
