"""Every regular expression of the package is linear: a mebibyte of the worst text for it costs no more than reading it.

One that is not would let a single message, line of output or file stop the runner for hours. They are found by walking
the package, so that a new one is tested by being there.
"""

from __future__ import annotations

import ast
import importlib
import itertools
import pkgutil
import re
import re._constants as ops  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import relay_runner

PACKAGE = Path(relay_runner.__file__).parent
MEBIBYTE = 1024 * 1024
LIMIT_S = 1.0
"""In processor time; what is linear takes a tenth of it, what is quadratic an hour."""
MANY = 64
"""A repetition of more than this counts as one without end."""


def modules() -> Iterator[Any]:
    for found in pkgutil.walk_packages([str(PACKAGE)], "relay_runner."):
        if not found.name.endswith("__main__") and "_plugins" not in found.name:
            yield importlib.import_module(found.name)


def patterns() -> dict[str, re.Pattern[Any]]:
    """Return every compiled pattern that a module of the package holds, by its place."""
    found: dict[str, re.Pattern[Any]] = {}
    for module in modules():
        for name, value in vars(module).items():
            for number, pattern in enumerate(held(value)):
                if pattern not in found.values():
                    found[f"{module.__name__.removeprefix('relay_runner.')}.{name}[{number}]"] = pattern
    return found


def held(value: object) -> Iterator[re.Pattern[Any]]:
    """Return the patterns in a value, however deep in containers."""
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, dict):
        yield from itertools.chain.from_iterable(map(held, (*value, *value.values())))
    elif isinstance(value, list | tuple | set | frozenset):
        yield from itertools.chain.from_iterable(map(held, value))


PATTERNS = patterns()


def methods(place: str) -> set[str]:
    """Return how a pattern is used; one that stands in a table is searched with."""
    module, _, name = place.rpartition("[")[0].rpartition(".")
    file = PACKAGE / f"{module.replace('.', '/')}.py"
    file = file if file.exists() else PACKAGE / module.replace(".", "/") / "__init__.py"
    used = set(re.findall(rf"\b{re.escape(name)}\.(match|fullmatch)\(", file.read_text()))
    others = re.findall(rf"\b{re.escape(name)}\.(search|sub|findall|finditer|split|subn|scanner)\(", file.read_text())
    return {"search"} if others or not used else used


def example(tree: Any) -> str:
    """Return a short text that a parsed pattern takes, as far as it is easily told."""
    return "".join(_one(op, value) for op, value in tree)


def _one(op: Any, value: Any) -> str:
    if op is ops.LITERAL:
        return chr(value)
    if op is ops.IN:
        return _member(value)
    if op in (ops.ANY, ops.NOT_LITERAL):
        return "a" if value != ord("a") else "b"
    if op is ops.BRANCH:
        return example(value[1][0])
    if op is ops.SUBPATTERN:
        return example(value[3])
    if op is ops.ATOMIC_GROUP:
        return example(value)
    if op in REPEATS:
        return example(value[2]) * max(value[0], 1)
    return ""


def _member(members: Any) -> str:
    taken = [
        chr(one[1]) if one[0] is ops.LITERAL else chr(one[1][0])
        for one in members
        if one[0] in (ops.LITERAL, ops.RANGE)
    ]
    if members[0][0] is ops.NEGATE:
        return next(letter for letter in "a0 -\x01\u00e9" if letter not in taken)
    category = {ops.CATEGORY_DIGIT: "1", ops.CATEGORY_SPACE: " ", ops.CATEGORY_WORD: "a"}
    return taken[0] if taken else next((category.get(one[1], "!") for one in members), "a")


REPEATS = (ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT)


def pumps(tree: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """Return each part that may be repeated without end, with a text that leads to it."""
    for op, value in tree:
        if op in REPEATS:
            if value[1] is ops.MAXREPEAT or value[1] > MANY:
                yield before, example(value[2]) or "a"
            yield from pumps(value[2], before)
        elif op is ops.SUBPATTERN:
            yield from pumps(value[3], before)
        elif op is ops.BRANCH:
            for branch in value[1]:
                yield from pumps(branch, before)
        elif op in (ops.ASSERT, ops.ASSERT_NOT):
            yield from pumps(value[1], before)
        elif op is ops.ATOMIC_GROUP:
            yield from pumps(value, before)
        before += _one(op, value)


def letters(tree: Any) -> set[str]:
    """Return a letter of each kind that the pattern knows."""
    return set("a1 \n<") | set(example(tree)) | {part[-1] for _, part in pumps(tree)}


def attacks(pattern: re.Pattern[Any], size: int) -> Iterator[str]:
    """Return the texts of this size in which a pattern has most to look at in vain."""
    tree = parser.parse(
        pattern.pattern, pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else pattern.flags
    )
    for letter in letters(tree):
        yield letter * size
    for before, part in {*pumps(tree), ("", example(tree) or "a")}:
        whole = before + part
        for end in ("\x00", "!"):
            yield before + part * (size // len(part)) + end
        yield whole * (size // len(whole))
        block = before + part * 512
        yield block * (size // len(block) or 1)
        yield (before + part * (size // 2 // len(part))) + "\x00" + part * (size // 2 // len(part)) + "\x00"


@pytest.mark.parametrize("place", list(PATTERNS))
@pytest.mark.timeout(120)
def test_it_is_linear(place: str) -> None:
    pattern = PATTERNS[place]
    for method in methods(place):
        worst = 0
        for size in (512, 4096, 32 * 1024):  # a bad one is seen long before it takes an hour
            took = [_took(pattern, method, text) for text in attacks(pattern, size)]
            worst = took.index(max(took))
        _took(pattern, method, list(attacks(pattern, MEBIBYTE))[worst])


def _took(pattern: re.Pattern[Any], method: str, text: str) -> float:
    """Return the processor time that a pattern spends on a text; fail where that is too much."""
    took = _search(pattern, method, text.encode() if isinstance(pattern.pattern, bytes) else text)
    told = f"{took:.2f} s for {len(text)} of {text[:30]!r} by {method}: {pattern.pattern!r}"
    assert took < LIMIT_S * max(0.05, len(text) / MEBIBYTE), told
    return took


def _search(pattern: re.Pattern[Any], method: str, text: Any) -> float:
    before = time.process_time()
    if method == "search":
        # Past the first match, as `sub` and `findall` do.
        for _ in zip(pattern.finditer(text), range(10_000), strict=False):
            pass
    else:
        getattr(pattern, method)(text)
    return time.process_time() - before


def test_every_pattern_stands_at_the_top_of_its_module() -> None:
    """Where a test finds it; what is made of foreign text would be a pattern that a stranger writes."""
    strays = []
    for file in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        inside = {
            id(node)
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for node in ast.walk(function)
        }
        for node in ast.walk(tree):
            if _is_call_of_re(node) and (id(node) in inside or node.func.attr != "compile"):  # type: ignore[attr-defined]
                strays.append(f"{file.relative_to(PACKAGE)}:{node.lineno}")  # type: ignore[attr-defined]
    assert strays == []


def _is_call_of_re(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="re"), attr=attr)):
            return attr != "escape"
    return False


@pytest.mark.parametrize("bad", [r"<(?=\s*/?\s*(?:a|b)\b)", r"\d+x", r"x*y", r"'(.*)'\?", r"a(.*)b\n"])
def test_the_worst_text_is_found(bad: str) -> None:
    """Else the test above would prove nothing."""
    pattern = re.compile(bad)
    small, large = (max(_search(pattern, "search", text) for text in attacks(pattern, size)) for size in (512, 4096))
    assert large > 20 * small, "eight times the text takes more than eight times as long"
