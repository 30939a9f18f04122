"""Foreign text for people: nothing in it hides, moves or reorders what they read, and what is cut says how much.

A permission that looks harmless is the worst thing that a person can be shown: `pytest -q # then\\nrm -rf ~` is two
commands, and the second must not come as a part of the first one's comment, behind a cut, or the wrong way round.
"""

from __future__ import annotations

import re
from collections.abc import Callable

NEWLINE = " \u23ce "
"""What stands for a newline in one line."""
TITLE_CHARS = 200
SLACK = 2048

# What moves or erases (C0, DEL, C1), reorders (bidi controls), or cannot be seen (zero-width, tags), and lone halves of
# characters. Joiners stay: Persian words and many emoji are written with them.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def visible(text: str, limit: int | None = None) -> str:
    """Return `text` with what hides or reorders written out, its middle cut where it is longer than `limit`."""
    return _within(text, limit, _written_out, "\n\u2026 [{} characters cut] \u2026\n")


def visible_line(text: str, limit: int = TITLE_CHARS) -> str:
    """Return `text` as one line of at most `limit` characters; its newlines are shown, and its end is in view."""
    return _within(text, limit, _one_line, " \u2026[{} cut]\u2026 ")


def _one_line(text: str) -> str:
    lines = [" ".join(line.split()) for line in _written_out(text).strip().split("\n")]
    return NEWLINE.join(filter(None, lines))


def _written_out(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def _within(text: str, limit: int | None, shown: Callable[[str], str], mark: str) -> str:
    """Return at most `limit` characters: both ends of a longer text around a mark that says how many are missing."""
    if limit is None:
        return shown(text)
    # Of a text that is far too long only the ends are looked at: a megabyte of hidden characters takes a second.
    long = len(text) > 2 * limit + SLACK
    head, tail = (shown(text[: limit + SLACK // 2]), shown(text[-limit - SLACK // 2 :])) if long else (shown(text), "")
    if not long and len(head) <= limit:
        return head
    tail = tail if long else head
    room = limit - len(mark.format(max(len(text), len(head))))
    if room < 2:
        return f"{head[: max(0, limit - 1)]}\u2026"[:limit]
    left, right = head[: room - room // 2], tail[-(room // 2) :]
    missing = (len(text) if long else len(head)) - len(left) - len(right)
    return f"{left}{mark.format(max(1, missing))}{right}"
