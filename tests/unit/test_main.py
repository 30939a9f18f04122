"""`python -m relay_runner` is the program."""

from __future__ import annotations

import subprocess
import sys


def test_the_module_runs_and_its_exit_code_is_the_command_s() -> None:
    ours = [sys.executable, "-m", "relay_runner"]
    done = subprocess.run([*ours, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("relay-runner ")
    assert subprocess.run([*ours, "send"], capture_output=True, check=False).returncode == 2
