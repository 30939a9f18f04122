"""Where the log goes, what is left out, what may never stand in it."""

from __future__ import annotations

import io
import logging
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from relay_runner import log

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZ2VudDpib2IifQ.c2lnbmF0dXJlLXRoYXQtaXMtbG9uZw"


@pytest.fixture
def clean_root() -> Iterator[logging.Logger]:
    """Give the root logger without handlers and put back what pytest had there."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers = []
    yield root
    for handler in root.handlers:
        handler.close()
    root.handlers, root.level = before, level


@pytest.mark.parametrize(
    ("said", "logged"),
    [
        ("Authorization: Bearer abcdef0123456789", "Authorization: Bearer [redacted]"),
        (f"token {JWT} renewed", "token [redacted] renewed"),
        ("key sk-ant-api03-AAAABBBBCCCC is wrong", "key [redacted] is wrong"),
        ("the bearer of news", "the bearer of news"),
        ("a task-list, risk-free", "a task-list, risk-free"),
    ],
)
def test_secrets_are_blacked_out(said: str, logged: str) -> None:
    assert log.redact(said) == logged


def test_a_registered_secret_is_blacked_out_and_a_short_one_is_not() -> None:
    log.hide("the-control-secret")
    log.hide("ab")
    assert log.redact("said the-control-secret about") == "said [redacted] about"


def test_tracebacks_are_redacted_and_control_characters_stripped(tmp_path: Path, clean_root: logging.Logger) -> None:
    file = tmp_path / "runner.log"
    log.setup(file, stderr=False)
    try:
        raise ValueError(f"bad {JWT}")
    except ValueError:
        clean_root.exception("from a peer: \x1b[2J\x07 end")
    text = file.read_text()
    assert JWT not in text and "ValueError: bad [redacted]" in text
    assert "\x1b" not in text and "\x07" not in text and "from a peer: [2J end" in text


def test_no_text_forges_a_line(tmp_path: Path, clean_root: logging.Logger) -> None:
    file = tmp_path / "runner.log"
    log.setup(file, stderr=False)
    clean_root.warning("a hook\n2026-01-01 00:00:00,000 ERROR   root: forged\u202e by %s", "x\r\n2026 ERROR")
    lines = file.read_text().splitlines()
    assert [line[:4] for line in lines[1:]] == ["    ", "    "] and "\\u202e" in lines[1] and "WARNING" in lines[0]


def test_the_file_is_private_from_its_first_byte(tmp_path: Path, clean_root: logging.Logger) -> None:
    file = tmp_path / "agents" / "bob" / "runner.log"
    log.setup(file, stderr=False)
    clean_root.info("hello")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().endswith("root: hello\n")


def test_a_full_file_is_rotated(tmp_path: Path, clean_root: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "MAX_BYTES", 400)
    file = tmp_path / "runner.log"
    log.setup(file, stderr=False)
    for number in range(20):
        clean_root.info("line %d of the log", number)
    assert "line 19" in file.read_text()
    assert file.with_name("runner.log.1").exists()
    assert stat.S_IMODE(file.with_name("runner.log.1").stat().st_mode) == 0o600


def test_stderr_is_for_headless_only(
    tmp_path: Path, clean_root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    log.setup(tmp_path / "runner.log", stderr=False)
    clean_root.warning("one")
    log.setup()
    clean_root.warning("two")
    assert capsys.readouterr().err.endswith("root: two\n")
    assert "one" in (tmp_path / "runner.log").read_text()


def test_the_same_error_comes_once_in_five_minutes_and_says_how_often() -> None:
    now = [0.0]
    repeats = log.Repeats(clock=lambda: now[0])

    def heard(text: str, level: int = logging.ERROR) -> str | None:
        record = logging.LogRecord("relay", level, __file__, 1, "%s", (text,), None)
        return record.getMessage() if repeats.filter(record) else None

    assert heard("no relay") == "no relay"
    assert heard("no relay") is None
    assert heard("no disk") == "no disk"
    assert heard("no relay", logging.INFO) == "no relay"
    now[0] = log.REPEAT_S - 1
    assert heard("no relay") is None
    now[0] = log.REPEAT_S
    assert heard("no relay") == "no relay (2 more times since)"
    assert heard("no relay") is None


def test_what_repeats_is_forgotten_at_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "MAX_REMEMBERED", 3)
    repeats = log.Repeats(clock=lambda: 0.0)
    for number in range(10):
        record = logging.LogRecord("relay", logging.ERROR, __file__, 1, f"error {number}", (), None)
        assert repeats.filter(record)
    assert len(repeats._seen) == 3


SCRIPT = """
import sys, logging, pathlib
from relay_runner import log
log.setup(pathlib.Path(sys.argv[1]))
logging.getLogger("here").warning("said once")
"""


def says(file: Path, stderr: IO[bytes] | int) -> subprocess.CompletedProcess[bytes]:
    """Run a headless process that logs to `file` and to its stderr."""
    return subprocess.run([sys.executable, "-c", SCRIPT, str(file)], stderr=stderr, check=True)


def test_a_stderr_that_is_a_file_is_the_log_and_the_same_is_not_kept_twice(tmp_path: Path) -> None:
    file = tmp_path / "agent" / "runner.log"
    for life in ("first", "second"):
        with (tmp_path / life).open("wb") as stderr:
            says(file, stderr)
        assert file.is_symlink() and file.resolve() == tmp_path / life
        assert file.read_text().count("said once") == 1


def test_after_such_a_life_the_log_is_a_file_of_its_own_again(tmp_path: Path) -> None:
    file, old = tmp_path / "runner.log", tmp_path / "old"
    old.write_text("")
    file.symlink_to(old)
    assert says(file, subprocess.PIPE).stderr.count(b"said once") == 1
    assert not file.is_symlink() and file.read_text().count("said once") == 1 and old.read_text() == ""


def test_a_stderr_that_is_shared_with_the_spawner_is_not_the_agents_log(tmp_path: Path) -> None:
    file, shared = tmp_path / "runner.log", tmp_path / "shared"
    spawner = "import subprocess, sys; subprocess.run(sys.argv[1:], check=True)"
    with shared.open("wb") as stderr:
        words = [sys.executable, "-c", spawner, sys.executable, "-c", SCRIPT, str(file)]
        subprocess.run(words, stderr=stderr, check=True)
    assert not file.is_symlink() and "said once" in file.read_text() and "said once" in shared.read_text()


def test_a_line_that_a_full_disk_does_not_take_is_left_out(
    tmp_path: Path, clean_root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    log.setup(tmp_path / "runner.log", stderr=False)
    (handler,) = clean_root.handlers
    assert isinstance(handler, log.PrivateFile)
    own = handler.stream
    handler.stream = io.TextIOWrapper(io.FileIO("/dev/full", "w"), write_through=True)
    clean_root.warning("lost")
    handler.stream.close()
    handler.stream = own
    clean_root.warning("kept")
    assert (tmp_path / "runner.log").read_text().count("\n") == 1
    assert capsys.readouterr().err == ""
