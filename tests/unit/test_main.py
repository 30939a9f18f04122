"""`python -m relay_runner` is the program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_the_module_runs_and_its_exit_code_is_the_command_s() -> None:
    ours = [sys.executable, "-m", "relay_runner"]
    done = subprocess.run([*ours, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("relay-runner ")
    assert subprocess.run([*ours, "send"], capture_output=True, check=False).returncode == 2


OLD = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C", "LANG": ""}
"""An environment in which Python reads and writes ASCII, as it would Latin-1 by another LANG."""


def test_an_old_locale_garbles_no_word_and_breaks_nothing(tmp_path: Path) -> None:
    environ = {**os.environ, **OLD, "RELAY_RUNNER_HOME": str(tmp_path / "\u00e9\U0001f98a")}
    ours = [sys.executable, "-m", "relay_runner"]
    done = subprocess.run([*ours, "start", "d\u00e9mo\U0001f98a"], capture_output=True, env=environ, check=False)
    assert done.returncode == 2
    # Shown as far as the terminal can: as escapes, and one for each character that was typed.
    assert b"d\\xe9mo\\U0001f98a" in done.stderr and b"Traceback" not in done.stderr


def test_what_needs_no_folder_works_in_one_that_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    environ = {**os.environ, "RELAY_RUNNER_HOME": str(tmp_path / "home")}
    script = f"mkdir '{gone}' && cd '{gone}' && rmdir '{gone}' && exec \"$0\" -P -m relay_runner \"$@\""
    for words, said in (
        (["ps"], "no agents"),
        (["doctor"], "the current folder no longer exists"),
        (["permissions"], "nobody asks anything"),
        (["kill", "nobody"], "nobody"),
        (["start", "demo", "--headless"], "the current folder no longer exists: change to one that exists"),
    ):
        command = ["sh", "-c", script, sys.executable, *words]
        done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
        told = done.stdout + done.stderr
        assert said in told and "Traceback" not in told and "the system says no" not in told, (words, told)
    subprocess.run(
        [sys.executable, "-m", "relay_runner", "relay", "stop"], env=environ, capture_output=True, check=False
    )
