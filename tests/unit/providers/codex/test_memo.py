from __future__ import annotations

from pathlib import Path

from relay_runner.providers.codex.memo import FILE, LOST, Memo, Stage


def test_it_is_remembered_from_one_process_to_the_next(tmp_path: Path) -> None:
    memo = Memo(tmp_path)
    assert memo.life() == {"stage": "declared"}
    memo.became(Stage.STARTING, 1.0)
    memo.became(Stage.READY, 2.0)
    memo.became(Stage.DEGRADED, 3.0, "the connection broke")
    memo.inject("i")
    memo.notice("t1")
    for number in range(LOST + 1):
        memo.lose(f"s{number}")
    again = Memo(tmp_path)
    life = again.life()
    assert (life["stage"], life["startedAt"], life["readyAt"]) == ("degraded", 1.0, 2.0)
    assert (life["error"], life["errorAt"]) == ("the connection broke", 3.0)
    assert (again.injected, again.noticed, again.lost[-1], len(again.lost)) == (["i"], "t1", f"s{LOST}", LOST)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_one_that_cannot_be_read_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{")
    memo = Memo(tmp_path)
    assert memo.became(Stage.STOPPED, 1.0) == {"stage": "stopped"}
    assert Memo(tmp_path).life() == {"stage": "stopped"}
