import stat
from pathlib import Path

from relay_runner.providers.claude.asks import Ask
from relay_runner.providers.claude.memory import KEPT_GRANTS, Kept, Memory, read, write


def test_what_is_kept_comes_back_and_is_private(tmp_path: Path) -> None:
    file = tmp_path / "m"
    ask = Ask("Bash", {"command": "mkdir x"}, "s", "a1", "general-purpose")
    memory = Memory("p1", (Kept.of("q1", ask),), ("k1",))
    write(file, memory)
    assert read(file) == memory and read(file).open[0].ask == ask
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_newest_grants_stay(tmp_path: Path) -> None:
    file = tmp_path / "m"
    write(file, Memory("p1", (), tuple(str(number) for number in range(KEPT_GRANTS + 2))))
    assert read(file).granted[0] == "2" and len(read(file).granted) == KEPT_GRANTS


def test_a_file_that_is_missing_or_broken_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "m"
    assert read(file) == Memory("")
    file.write_text("{torn")
    assert read(file) == Memory("")
