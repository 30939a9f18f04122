"""Reading what tmux answers about a pane."""

from __future__ import annotations

from relay_runner.terminal.base import Screen

# One line of `display-message` in front of the rows of `capture-pane`; the title comes last, it may hold anything.
FIELDS = "#{pane_dead}|#{pane_in_mode}|#{cursor_x}|#{cursor_y}|#{pane_title}"


def parse_capture(text: str) -> Screen:
    """Return the screen that `display-message -p FIELDS ; capture-pane -p` printed."""
    head, _, body = text.partition("\n")
    dead, in_mode, column, row, title = head.split("|", 4)
    lines = tuple(line.rstrip() for line in body.removesuffix("\n").split("\n"))
    # tmux counts the modes that a pane is in: more than one is still "in mode".
    return Screen(
        lines=lines, title=title, cursor=(int(column), int(row)), in_mode=in_mode not in ("", "0"), dead=dead == "1"
    )
