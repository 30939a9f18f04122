"""The exit codes are those of the documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay_runner import errors
from relay_runner.cli import exits

README = Path(__file__).parents[3] / "README.md"


def test_the_numbers_never_change() -> None:
    assert {one.name: one.value for one in exits.Exit} == {
        "OK": 0,
        "FAILED": 1,
        "USAGE": 2,
        "TIMED_OUT": 3,
        "UNKNOWN": 4,
        "INTERRUPTED": 5,
    }


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("x"), 2),
        (errors.RelayUnavailable("x"), 1),
        (errors.RelayNotFound("x"), 2),
        (errors.RelayNotFound("x", code="file-gone"), 1),
        (errors.RelayRefused("x", status=422), 2),
        (errors.RelayRefused("x", status=409), 1),
        (errors.ProviderNotFound("x"), 1),
    ],
)
def test_an_error_ends_with_its_code(error: errors.RelayRunnerError, code: int) -> None:
    assert exits.of_error(error) == code


@pytest.mark.parametrize("code", list(exits.Exit))
def test_every_code_is_explained_in_help_and_readme(code: exits.Exit) -> None:
    assert f"\n  {code.value}  " in exits.EPILOG
    assert f"| {code.value} |" in README.read_text(encoding="utf-8")
