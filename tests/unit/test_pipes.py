"""A reader that went away ends nothing, and changes no exit code."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from relay_runner import pipes

WAIT_S = 30.0
LOGS = """
import logging, sys
from relay_runner import log
log.setup()
for number in range(3):
    logging.getLogger("x").warning("line %d", number)
sys.exit(4)
"""
NOTES = """
import sys
from relay_runner.cli import service
for _ in range(3):
    service._note("told")
sys.exit(4)
"""


def run(code: str, *, unread: bool) -> subprocess.CompletedProcess[str]:
    """Run a program whose stderr is a pipe, without a reader or with us."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return subprocess.run(
            [sys.executable, "-c", code],
            text=True,
            timeout=WAIT_S,
            check=False,
            stdout=subprocess.PIPE,
            stderr=writing if unread else subprocess.PIPE,
        )
    finally:
        os.close(writing)


@pytest.mark.parametrize("code", [LOGS, NOTES])
def test_what_nobody_reads_changes_no_exit_code(code: str) -> None:
    assert run(code, unread=True).returncode == 4
    heard = run(code, unread=False)
    assert heard.returncode == 4 and heard.stderr.count("line" if code is LOGS else "told") >= 3


def test_what_is_wrong_with_a_record_is_still_told() -> None:
    bad = "import logging\nfrom relay_runner.pipes import Heard\nlogging.basicConfig(handlers=[Heard()])\n"
    assert "not enough arguments" in run(f"{bad}logging.warning('%d %d', 1)", unread=False).stderr


def test_a_few_bytes_reach_a_reader_or_nobody() -> None:
    reading, writing = os.pipe()
    assert pipes.write(writing, b"ready") and os.read(reading, 10) == b"ready"
    os.close(reading)
    assert not pipes.write(writing, b"ready")
    os.close(writing)
    assert not pipes.write(writing, b"ready")
