"""Every promise of the runner is kept by a test: `promises.toml` says which, and this says that the test is there."""

from __future__ import annotations

import ast
import tomllib
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
TABLE = tomllib.loads((TESTS / "promises.toml").read_text(encoding="utf-8"))
ROWS = [pytest.param(row["test"], id=f"{kind}: {row['name']}") for kind, rows in TABLE.items() for row in rows]
MISTAKES = 16


@cache
def functions(file: Path) -> frozenset[str]:
    """Return the tests of a file."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in found if node.name.startswith("test_"))


@pytest.mark.parametrize("tests", ROWS)
def test_a_promise_names_tests_that_exist(tests: list[str]) -> None:
    assert tests
    for test in tests:
        file, _, name = test.partition("::")
        assert (TESTS / file).is_file(), f"there is no {file}"
        assert name in functions(TESTS / file), f"there is no {name} in {file}"


def test_no_promise_stands_twice_and_every_mistake_is_there() -> None:
    for rows in TABLE.values():
        names = [row["name"] for row in rows]
        assert len(set(names)) == len(names)
    assert [row["number"] for row in TABLE["mistake"]] == list(range(1, MISTAKES + 1))
