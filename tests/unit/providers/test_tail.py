"""Following a JSON Lines file that somebody else writes."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from relay_runner.errors import ProviderError
from relay_runner.providers.tail import Follower, JsonLines, scan

pytestmark = pytest.mark.anyio


def append(file: Path, text: str | bytes) -> None:
    with file.open("ab") as opened:
        opened.write(text.encode() if isinstance(text, str) else text)


def test_each_line_comes_once(tmp_path: Path) -> None:
    file = tmp_path / "f"
    lines = JsonLines(file)
    assert list(lines.read()) == []
    append(file, '{"a": 1}\n[2]\n')
    assert list(lines.read()) == [{"a": 1}, [2]]
    assert list(lines.read()) == []
    append(file, "3\n")
    assert list(lines.read()) == [3]


def test_a_line_comes_when_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "f"
    lines = JsonLines(file)
    whole = '{"text": "ünd 🦊 \u2028"}\n'.encode()
    for index in range(len(whole) - 1):
        append(file, whole[index : index + 1])
        assert list(lines.read()) == []
        assert not lines.grown()
    append(file, whole[-1:])
    assert lines.grown()
    assert list(lines.read()) == [{"text": "ünd 🦊 \u2028"}]


def test_what_is_not_json_is_skipped_and_counted(tmp_path: Path) -> None:
    file = tmp_path / "f"
    append(file, b'{"torn": \n\n\xff\xfe\n1\n')
    lines = JsonLines(file)
    assert list(lines.read()) == [1]
    assert lines.skipped == 2


def test_lines_longer_than_a_chunk_come_whole(tmp_path: Path) -> None:
    file = tmp_path / "f"
    append(file, '"' + "x" * 3_000_000 + '"\n1\n')
    assert [len(str(value)) for value in JsonLines(file).read()] == [3_000_000, 1]


def test_a_truncated_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "f"
    append(file, "1\n2\n")
    lines = JsonLines(file)
    assert list(lines.read()) == [1, 2]
    file.write_text("3\n")
    assert lines.grown()
    assert list(lines.read()) == [3]
    assert lines.restarts == 1


def test_a_replaced_file_is_read_from_its_start(tmp_path: Path) -> None:
    file = tmp_path / "f"
    append(file, "1\n")
    lines = JsonLines(file)
    assert list(lines.read()) == [1]
    append(tmp_path / "new", "4\n5\n6\n")
    (tmp_path / "new").replace(file)
    assert list(lines.read()) == [4, 5, 6]


def test_only_what_is_new_is_read_from_the_end(tmp_path: Path) -> None:
    file = tmp_path / "f"
    append(file, "1\n2")
    lines = JsonLines(file, at_end=True)
    assert list(lines.read()) == []
    append(file, "2\n3\n")
    assert list(lines.read()) == [22, 3]
    assert list(JsonLines(tmp_path / "none", at_end=True).read()) == []


def test_a_reader_that_stops_early_loses_nothing(tmp_path: Path) -> None:
    file = tmp_path / "f"
    append(file, "1\n2\n3\n4")
    lines = JsonLines(file)
    for value in lines.read():
        if value == 2:
            break
    append(file, "4\n")
    assert list(lines.read()) == [3, 44]


def test_a_search_decodes_only_what_it_looks_for(tmp_path: Path) -> None:
    file = tmp_path / "f"
    append(file, 'not json\n{"nonce": "abc"}\n{"nonce": "def"}\n')
    assert list(scan(file, containing=b"abc")) == [{"nonce": "abc"}]
    assert list(scan(tmp_path / "none", containing=b"abc")) == []


async def test_a_follower_tells_what_is_added(tmp_path: Path) -> None:
    file = tmp_path / "f"
    follower = Follower(JsonLines(file), fast_s=0.001, slow_s=0.01)
    batches = follower.batches()
    async with asyncio.timeout(20):
        append(file, "1\n2\n")
        assert await anext(batches) == [1, 2]
        append(file, "3\n")
        assert await anext(batches) == [3]
    await batches.aclose()


async def test_a_nudge_wakes_a_follower_that_rests(tmp_path: Path) -> None:
    file = tmp_path / "f"
    follower = Follower(JsonLines(file), fast_s=3600, slow_s=3600)
    batches = follower.batches()
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        first = group.create_task(anext(batches))
        await asyncio.sleep(0)
        append(file, "1\n")
        follower.nudge()
        assert await first == [1]
    await batches.aclose()


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    file = tmp_path / "f"
    append(file, "1\n2\n")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    reading = JsonLines(file).read()
    next(reading)
    reading.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_file_that_cannot_be_read_is_said_and_read_later(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    file.mkdir()
    lines = JsonLines(file)
    with pytest.raises(ProviderError, match=str(file)):
        list(lines.read())
    with pytest.raises(ProviderError):
        JsonLines(file, at_end=True)
    file.rmdir()
    file.write_text("1\n")
    assert lines.grown()
    assert list(lines.read()) == [1]
    assert not JsonLines(file / "below").grown()
    assert list(JsonLines(file / "below").read()) == []


def test_a_line_with_half_a_character_in_it_is_read(tmp_path: Path) -> None:
    """As JavaScript writes it that cut a long output where it liked."""
    file = tmp_path / "log"
    file.write_bytes(rb'{"output": "cut \ud83d"}' + b"\n")
    lines = JsonLines(file)
    assert (list(lines.read()), lines.skipped) == ([{"output": "cut ?"}], 0)
