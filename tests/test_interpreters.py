"""No text of others is a program: nothing of ours hands a string to a shell, SQL or markup that was put together.

`docs/untrusted-text.md` lists what interprets text, and what proves each call literal. What can be seen in the source
is held here for every module, also those to come.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import relay_runner

PACKAGE = Path(relay_runner.__file__).parent
SQL = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|ALTER TABLE|PRAGMA|CREATE)\b")
CONSTANTS = {
    # What stands in braces in a statement: names of this module's own constants, loops over literals, and conditions
    # that are literals where they are given.
    "server/store": re.compile(
        r"[A-Z_]+|', '\.join\(.*\)|','\.join\(.*\)|\w*marks\w*|where|order|condition|column|table"
    ),
    "runner/journal.py": re.compile(r"_COLUMNS|condition|kind"),
    "runner/database.py": re.compile(r"column|CHECKPOINT_PAGES|LOG_BYTES"),
}
SHELLS = {"providers/claude/hook_client.py"}
"""A status line of the user's own, which Claude Code would hand to a shell itself."""


def sources() -> Iterator[tuple[str, ast.Module]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        if "_plugins" not in file.parts:
            yield str(file.relative_to(PACKAGE)), ast.parse(file.read_text(encoding="utf-8"))


def calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_no_shell_is_given_a_command_line() -> None:
    found = [
        f"{name}:{call.lineno}"
        for name, tree in sources()
        for function, call in calls(tree)
        if function in ("os.system", "os.popen", "asyncio.create_subprocess_shell", "subprocess.getoutput")
        or any(word.arg == "shell" for word in call.keywords)
        or (name not in SHELLS and re.search(r"'(?:/bin/)?(?:ba)?sh', '-l?c'", ast.unparse(call)))
    ]
    assert found == []


def test_statements_are_made_of_our_own_words() -> None:
    """Values go in as parameters; what is put into a statement are names that stand in the source."""
    strange = []
    for name, tree in sources():
        allowed = next((words for place, words in CONSTANTS.items() if name.startswith(place)), None)
        for node in ast.walk(tree):
            if not isinstance(node, ast.JoinedStr):
                continue
            fixed = "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
            inside = [ast.unparse(part.value) for part in node.values if isinstance(part, ast.FormattedValue)]
            if SQL.search(fixed) and not all(allowed and allowed.fullmatch(words) for words in inside):
                strange.append(f"{name}:{node.lineno}: {inside}")
    assert strange == []


def test_what_is_drawn_is_no_markup() -> None:
    for name, tree in sources():
        for function, call in calls(tree):
            given = {word.arg: ast.unparse(word.value) for word in call.keywords}
            if function == "Console":
                assert given.get("markup") == "False" and given.get("emoji") == "False", f"{name}:{call.lineno}"
            elif function == "typer.Typer":
                assert given.get("rich_markup_mode") == "None", f"{name}:{call.lineno}"
            assert function not in ("Text.from_markup", "rich.print", "Text.from_ansi"), f"{name}:{call.lineno}"


def test_formats_of_time_stand_in_the_source() -> None:
    for name, tree in sources():
        for function, call in calls(tree):
            if function.endswith("strftime"):
                words = [word for word in call.args if isinstance(word, ast.Constant) and isinstance(word.value, str)]
                assert words, f"{name}:{call.lineno}"
