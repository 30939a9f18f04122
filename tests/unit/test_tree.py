"""Every module that holds logic has its test file, at the same place under tests/unit."""

from __future__ import annotations

import ast
from pathlib import Path

import relay_runner

PACKAGE = Path(relay_runner.__file__).parent
TESTS = Path(__file__).parent
ELSEWHERE = {
    # Interfaces and frozen values only: nothing to run.
    "providers/base/exchange.py",
    "providers/base/interfaces.py",
    "providers/base/tools.py",
    "relay/base.py",
    "terminal/base.py",
    "runner/options.py",
}


def holds_logic(module: Path) -> bool:
    """Say whether a module has a function with a body that decides, loops, calls or computes."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return any(not _is_declaration(function) for function in functions)


def _is_declaration(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in function.body)


def test_every_module_has_its_test_file() -> None:
    missing = [
        str(module.relative_to(PACKAGE))
        for module in sorted(PACKAGE.rglob("*.py"))
        if "_plugins" not in module.parts
        and str(module.relative_to(PACKAGE)) not in ELSEWHERE
        and holds_logic(module)
        and not (TESTS / module.relative_to(PACKAGE).parent / f"test_{module.stem.strip('_')}.py").exists()
    ]
    assert missing == []


def test_every_test_file_has_its_module() -> None:
    stray = [
        str(test.relative_to(TESTS))
        for test in sorted(TESTS.rglob("test_*.py"))
        if test.name != "test_tree.py" and not _modules_of(test)
    ]
    assert stray == []


def _modules_of(test: Path) -> list[Path]:
    folder = PACKAGE / test.relative_to(TESTS).parent
    name = test.stem.removeprefix("test_")
    return [path for path in (folder / f"{name}.py", folder / f"__{name}__.py", folder / name) if path.exists()]
