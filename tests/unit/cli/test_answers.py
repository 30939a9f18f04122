from __future__ import annotations

import pytest

from relay_runner.cli import answers
from relay_runner.cli.exits import Exit


def test_any_answer_is_readable_and_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    answers.anything("bob", {})
    answers.anything(
        "bob",
        {
            "exitCode": 3,
            "nothing": None,
            "output": "two\nlines\x1b[1m\n",
            "map": {"a": {"b": 1}},
            "list": [{"x": 1, "y": None}, {"x": "z\x07", "y": [2]}],
            "names": ["a", "b"],
        },
    )
    assert capsys.readouterr().out.splitlines() == [
        "bob: done",
        "exit code: 3",
        "nothing: -",
        "output:",
        "two",
        "lines[1m",
        "map:",
        '  a: {"b": 1}',
        "X  Y",
        "1  -",
        "z  [2]",
        "names: a, b",
    ]


def test_limits_that_nobody_knows_are_said_to_be_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    answers.limits("bob", {"limits": None, "reason": "not logged in"})
    assert "no limits are known: not logged in" in capsys.readouterr().err
    answers.limits("bob", {"limits": {"primary": {"usedPercent": 5, "resetsAt": 1_800_000_000}, "planType": "pro"}})
    assert "primary" in capsys.readouterr().out


def test_a_turn_has_the_exit_code_of_its_outcome(capsys: pytest.CaptureFixture[str]) -> None:
    assert answers.turn("bob", {"outcome": "completed", "result": "fine"}) is Exit.OK
    assert answers.turn("bob", {"outcome": "interrupted"}) is Exit.INTERRUPTED
    assert answers.turn("bob", {"outcome": "failed", "reason": "why"}) is Exit.FAILED
    assert capsys.readouterr() == ("fine\n", "relay-runner: bob: interrupted\nrelay-runner: bob: why\n")


def test_what_has_no_answer_of_the_program_is_empty() -> None:
    assert answers.provider_result({"result": {"reason": "x"}}) == {}
