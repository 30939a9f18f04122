"""Foreign text that no program and no model may obey: its tags and its mentions are made plain text.

By structure, never by a list of names. A tag is a `<`, however it is spelled, before a name of several words
(`system-reminder`, `tool_use_error`, `ns:call`) or before one that is not plain ASCII (look-alike letters, zero-width
characters): it gets a backslash behind its `<`. `<div>`, `List<String>` and `a < b` are code and stay.

A mention is a sign before a name. Which names mean something is another program's business and changes with each
release, so the sign itself goes: `@` becomes the full-width letter that looks like it. Claude Code (2.1.332) does the
same to text of others that it shows.
"""

from __future__ import annotations

import re

WIDE = {sign: chr(ord(sign) + 0xFEE0) for sign in "@$/"}
"""What stands for a sign that a program takes for a mention: its full-width form."""

# Linear: what is looked at behind one opening holds no other, and no quantifier gives anything back.
_OPENING = re.compile(
    "[<\uff1c\ufe64\u2039\u276e\u276c\u27e8\u2329\u3008\u1438\u02c2]|&(?:lt|LT|#0*+60|#[xX]0*+3[cC]);"
)
_SPACE = r"[ \t-\r\x1c-\x1f]"
_GAP = r"[ \t-\r\x1c-\x1f/!?]*+"
# Words joined by a hyphen or one colon; `std::string` and `n-1` are code.
_JOINED = r"[A-Za-z_](?:[A-Za-z0-9_]|::|[-:]++(?![A-Za-z_]))*+[-:]++[A-Za-z_]"
# Words joined by an underscore are a tag, too, unless they are a type (`Vec<my_type>`) or compared (`a < max_len`).
_SNAKE = r"[A-Za-z](?:[A-Za-z0-9:-]|_++(?![A-Za-z0-9]))*+_++[A-Za-z0-9]"
_ENDS = rf"[A-Za-z0-9_:-]*+(?:{_SPACE}*+/?>|{_SPACE}++[A-Za-z0-9_:-]++{_SPACE}*+=)"
_TAG = re.compile(
    rf"{_GAP}{_JOINED}|{_SPACE}*+[/!?]{_GAP}{_SNAKE}|{_SPACE}++{_SNAKE}{_ENDS}|(?<![A-Za-z0-9_]<){_SNAKE}"
    # A name in other letters than ASCII's is taken for another spelling.
    rf"|(?<=<){_GAP}[A-Za-z0-9_:-]*+[^\x00-\x7f]"
)


def defuse(text: str) -> str:
    """Return `text` with a backslash behind the `<` of each tag that a program or a model could obey."""
    # One step of Python for each opening: a thread that does this to a megabyte of them lets the event loop run.
    ends = [end for end in (opening.end() for opening in _OPENING.finditer(text)) if _TAG.match(text, end)]
    if not ends:
        return text
    return "\\".join(text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True))


def widen(text: str, signs: str = "@") -> str:
    """Return `text` with these signs in their full-width form, so that nothing in it is a mention."""
    for sign in signs:
        text = text.replace(sign, WIDE[sign])
    return text
