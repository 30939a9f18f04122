"""The relay's own command line."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from relay_runner.pipes import Heard
from relay_runner.server import __main__ as module
from relay_runner.server.__main__ import log_handler, main

WAIT_S = 30.0


def test_a_home_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    assert "--home" in capsys.readouterr().err


def test_an_error_is_one_line_and_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["--home", str(tmp_path / "file" / "home")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("relay-runner: ") and error.count("\n") == 1


def test_a_relay_does_not_load_what_only_commands_need() -> None:
    code = "import sys, relay_runner.server.serve; print([m for m in ('typer', 'rich', 'httpx', 'libtmux') if m in sys.modules])"  # noqa: E501
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=WAIT_S, check=True)
    assert found.stdout.strip() == "[]"


def test_the_log_of_a_relay_in_the_background_is_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOG_BYTES", 100)
    file = tmp_path / "relay.log"
    handler = log_handler(True, file)
    try:
        assert not file.exists()
        for _ in range(9):
            handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "x" * 60, None, None))
    finally:
        handler.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["relay.log", "relay.log.1", "relay.log.2"]
    assert file.stat().st_size <= 100
    assert type(log_handler(False, file)) is Heard
