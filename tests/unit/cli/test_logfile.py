"""A log's end, and what is added to it, across its rotation."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from relay_runner.cli import logfile


def test_the_last_lines_reach_into_the_rotated_file(tmp_path: Path) -> None:
    log = tmp_path / "runner.log"
    assert list(logfile.read(log, 5)) == []
    log.with_name("runner.log.1").write_text("a\nb\nc\n")
    log.write_bytes(b"d\n\xff\nunfinished")
    assert list(logfile.read(log, 3)) == ["c", "d", "\ufffd", "unfinished"]
    assert list(logfile.read(log, 1)) == ["\ufffd", "unfinished"]
    assert list(logfile.read(log, 0)) == []


def test_following_a_log_across_its_rotation(tmp_path: Path) -> None:
    log = tmp_path / "runner.log"
    log.write_text("old\n")

    def first_half() -> None:
        with log.open("a") as stream:
            stream.write("half ")

    def second_half() -> None:
        with log.open("a") as stream:
            stream.write("line\nlast of the old\n")
        log.rename(log.with_name("runner.log.1"))
        log.write_text("first of the new\n")

    steps = iter([first_half, second_half])
    with closing(logfile.read(log, 1, follow=True, sleep=lambda _: next(steps)())) as lines:
        assert [next(lines) for _ in range(4)] == ["old", "half line", "last of the old", "first of the new"]


def test_following_a_log_that_is_not_there_yet(tmp_path: Path) -> None:
    log = tmp_path / "runner.log"
    steps = iter([lambda: None, lambda: log.write_text("hello\n")])
    with closing(logfile.read(log, 5, follow=True, sleep=lambda _: next(steps)())) as lines:
        assert next(lines) == "hello"
