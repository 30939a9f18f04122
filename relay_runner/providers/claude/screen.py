"""What Claude Code (2.1.197, 2.1.332) shows: the input row, dialogs, and its last words. Screens are data here.

The input row starts with the prompt sign in the first column; rows of the history have it too, followed by a plain
space and text, but only the last one above the rule is the input row. In a dialog the sign is indented or followed by
a number, and the input row is gone: then no Enter may be pressed, it would approve what is preselected.

An empty input row may show a hint (`Try "..."`, `Resend your message to try again`), and there are more of them with
every version. They are told from a draft by how they are drawn: from the cursor on, dim, the first letter reversed.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from relay_runner.terminal.base import Screen, Style

_RULE = re.compile(r"^─{10,}")
_BORDER = re.compile(r"^─{3,}")
"""The rules around the box; one may say how much of a long text is scrolled away."""
_INPUT = re.compile(r"^\u276f(?:\u00a0|$)")
_TEXT_COLUMN = 2

_DIALOGS = (
    (re.compile(r"Do you trust the files in this folder|Is this a project you created or one you trust"), "folder"),
    (re.compile(r"Detected a custom API key in your environment"), "key"),
    (re.compile(r"Choose the text style that looks best|Let's get started"), "onboarding"),
    (re.compile(r"Select login method|Not logged in"), "login"),
    (re.compile(r"New MCP server found|MCP servers? (?:found )?in \.mcp\.json"), "mcp"),
    (re.compile(r"Allow external CLAUDE\.md file imports"), "imports"),
    (re.compile(r"Bypass Permissions mode"), "bypass"),
    (re.compile(r"Settings (?:Warning|Error)"), "settings"),
)
TRUST_MEANS = "its hooks, status line and .mcp.json servers then run as you"
_ASKS = {
    "folder": (
        "Claude Code asks whether this folder is trusted",
        f"run `claude` here once, or start with --trust-folder: {TRUST_MEANS}",
    ),
    "key": ("Claude Code asks whether it may use ANTHROPIC_API_KEY", "run `claude` once and answer"),
    "onboarding": ("Claude Code was never set up here", "run `claude` once"),
    "login": ("Claude Code is not logged in", "run `claude` once"),
    "mcp": (
        "Claude Code asks about the servers in .mcp.json",
        f"run `claude` here once, or start with --trust-folder: {TRUST_MEANS}",
    ),
    "imports": ("Claude Code asks about imports in CLAUDE.md", "run `claude` here once"),
    "bypass": ("Claude Code asks whether to bypass permissions", "run `claude` once and answer"),
    "settings": ("Claude Code complains about a settings file", "run `claude` here once"),
}
_LAST_WORDS = (
    (re.compile(r"No conversation found with session ID: ?(\S*)"), "it has no conversation {0} in this folder"),
    (re.compile(r"Session ID (\S+) is already in use"), "its session {0} is already in use"),
    (re.compile(r"cannot be used with root/sudo"), "it refuses to bypass permissions as root"),
    (re.compile(r"Unable to connect to Anthropic services"), "it cannot reach Anthropic's services"),
    (re.compile(r"error: (unknown option .+|option .+)"), "it does not know an argument: {0}"),
    (re.compile(r"(Invalid API key[^\n]*)"), "{0}"),
    (re.compile(r"Error: ([^\n]+)"), "{0}"),
)
NO_CONVERSATION = re.compile(r"No conversation found with session ID")


@dataclass(frozen=True, slots=True)
class InputRow:
    """What stands in the input box."""

    text: str
    """The box's first line; empty when nothing stands there but a hint."""
    draft: bool
    """Whether a person has typed something."""
    more: tuple[str, ...] = ()
    """The lines of the box below the first."""


@dataclass(frozen=True, slots=True)
class StartDialog:
    """A first-run dialog: nothing goes in before a person has answered it."""

    asks: str
    """What it is about."""
    hint: str
    """What a person can do when nobody is at that terminal."""


def input_row(screen: Screen) -> InputRow | None:
    """Return the input box, or None when it is not on the screen."""
    for number in range(len(screen.lines) - 1, 0, -1):
        if _INPUT.match(screen.lines[number]) and _RULE.match(screen.lines[number - 1]):
            text = _typed(screen, number).rstrip()
            more = _below(screen, number)
            return InputRow(text, bool(text or more), more)
    return None


def box(screen: Screen) -> str:
    """Return what the input box shows, also of a text whose beginning is scrolled away; "" where there is none.

    A long text scrolls in its box (2.1.332), or the box grows over the whole screen (2.1.197): then its upper rule is
    gone, and only the cursor tells it from what stands above a dialog.
    """
    borders = [number for number, line in enumerate(screen.lines) if _BORDER.match(line)]
    if not borders:
        return ""
    top, bottom = (borders[-2], borders[-1]) if len(borders) > 1 else (-1, borders[-1])
    if top < 0 and not 0 <= screen.cursor[1] < bottom:
        return ""
    return "\n".join(screen.lines[top + 1 : bottom])


def start_dialog(screen: Screen) -> StartDialog | None:
    """Return the first-run dialog that is on the screen."""
    for pattern, name in _DIALOGS:
        if pattern.search(screen.text):
            return StartDialog(*_ASKS[name])
    return None


def last_words(screen: Screen | None) -> str | None:
    """Return what the program said before it ended, in our words where we know it."""
    if screen is None:
        return None
    text = screen.text
    for pattern, words in _LAST_WORDS:
        if match := pattern.search(text):
            return words.format(*match.groups())
    return None


def _typed(screen: Screen, number: int) -> str:
    """Return what was typed into a row: all that is not drawn as a hint, which begins at the cursor."""
    line, styles = screen.lines[number], screen.style(number)
    column, row = screen.cursor
    start = _place(line, column)
    hint = [style for letter, style in zip(line[start:], styles[start:], strict=True) if letter.strip()]
    # The program draws its own cursor over the first letter: reversed, and not dim.
    dim = bool(hint) and all(style & Style.DIM for style in hint[1:]) and (len(hint) > 1 or bool(hint[0] & Style.DIM))
    if row == number and dim and hint[0] & (Style.DIM | Style.REVERSE):
        line = line[:start]
    return line[_TEXT_COLUMN:]


def _place(line: str, column: int) -> int:
    """Return which character of a line stands in a column of the terminal."""
    reached = 0
    for place, letter in enumerate(line):
        if reached >= column:
            return place
        reached += 0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
    return len(line)


def _below(screen: Screen, number: int) -> tuple[str, ...]:
    """Return the lines of the box below its first; none where all of them are empty."""
    rows = screen.lines[number + 1 :]
    end = next((place for place, line in enumerate(rows) if _RULE.match(line)), 1)
    return rows[:end] if any(line.strip() for line in rows[:end]) else ()
