"""Reading what tmux answers about a pane, and how a program says in what style it draws."""

from __future__ import annotations

import re

from relay_runner.terminal.base import Screen, Style

# One line of `display-message` in front of the rows of `capture-pane`; the title comes last, it may hold anything.
FIELDS = "#{pane_dead}|#{pane_in_mode}|#{cursor_x}|#{cursor_y}|#{pane_title}"
# What `capture-pane -e` puts between the characters: a style, a link (from tmux 3.4 on), another character set.
_BETWEEN = re.compile(r"\x1b\[(?P<style>[0-9;:]*)m|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x0e\x0f]")
_ON = {2: Style.DIM, 7: Style.REVERSE}
_OFF = {0: Style.DIM | Style.REVERSE, 22: Style.DIM, 27: Style.REVERSE}
_COLOURS = {38: {"5": 2, "2": 4}, 48: {"5": 2, "2": 4}, 58: {"5": 2, "2": 4}}
"""How many numbers a colour takes after its own, by the one that follows; none of them is a style."""


def parse_capture(text: str) -> Screen:
    """Return the screen that `display-message -p FIELDS ; capture-pane -e -p` printed."""
    head, _, body = text.partition("\n")
    dead, in_mode, column, row, title = head.split("|", 4)
    lines, styles, style = [], [], Style(0)
    for printed in body.removesuffix("\n").split("\n"):  # tmux goes on with the style of the row above
        line, drawn, style = _row(printed, style)
        lines.append(line)
        styles.append(drawn)
    return Screen(
        lines=tuple(lines),
        title=title,
        cursor=(int(column), int(row)),
        # tmux counts the modes that a pane is in: more than one is still "in mode".
        in_mode=in_mode not in ("", "0"),
        dead=dead == "1",
        styles=tuple(styles),
    )


def restyled(style: Style, numbers: str) -> Style:
    """Return the style after a select-graphic-rendition sequence with these numbers."""
    words = numbers.split(";")
    place = 0
    while place < len(words):
        word = words[place]  # `38:5:1` is one word: the numbers of a colour that no semicolon cuts off
        number = int(word) if word.isdigit() else 0 if not word else -1
        style = (style & ~_OFF.get(number, Style(0))) | _ON.get(number, Style(0))
        follows = words[place + 1] if place + 1 < len(words) else ""
        place += 1 + _COLOURS.get(number, {}).get(follows, 0)
    return style


def _row(printed: str, style: Style) -> tuple[str, bytes, Style]:
    """Return a row's characters, how each is drawn, and the style that goes on."""
    line, drawn, place = "", bytearray(), 0
    for between in _BETWEEN.finditer(printed):
        piece = printed[place : between.start()]
        line, place = line + piece, between.end()
        drawn += bytes([style]) * len(piece)
        if (numbers := between["style"]) is not None:
            style = restyled(style, numbers)
    line += printed[place:]
    drawn += bytes([style]) * (len(line) - len(drawn))
    line = line.rstrip()
    return line, bytes(drawn[: len(line)]).rstrip(b"\0"), style
