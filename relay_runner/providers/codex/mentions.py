"""`$skill` in a message that is not the user's own: Codex would put that skill before the model as the user's words.

Seen on 0.169.0 for a prompt, and not for what stands beside it: `$name` of a skill anywhere in the text, and a link
like `[$any](path)` to one; links bring apps and plugins in, too. That is a person's right, not a peer's, so such a
mention gets a backslash behind its sign. A `$variable` that names no skill stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Collection

_LINK = re.compile(r"\[([$@])(?=[\w:-]+\]\s*\()", re.ASCII)
_ANY = re.compile(r"\$(?=[A-Za-z0-9_])")


def mentions(text: str) -> bool:
    """Say whether anything in the text could be one."""
    return _LINK.search(text) is not None or _ANY.search(text) is not None


def defuse_mentions(text: str, skills: Collection[str] | None) -> str:
    """Return `text` with a backslash in every mention of these skills; None: nobody knows which there are."""
    text = _LINK.sub(r"[\1\\", text)
    if skills is None:
        return _ANY.sub(r"$\\", text)
    if not skills:
        return text
    named = "|".join(re.escape(name) for name in sorted(skills, key=len, reverse=True))
    return re.sub(rf"\$(?={named})", r"$\\", text)
