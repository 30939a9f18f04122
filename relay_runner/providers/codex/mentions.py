"""`$skill` in a message that is not the user's own: Codex would put that skill before the model as the user's words.

Seen on 0.169.0 and 0.171.0 for a prompt, and not for what stands beside it: `$name` of a skill or an app anywhere in
the text, and a link like `[$any](path)` to one; links with `@` bring plugins in (the envelope has no `@` in a peer's
text). That is a person's right, not a peer's, so such a sign becomes the full-width one. Which names mean something is
the program's business: only `$HOME` and the like stay, unless a skill is called so.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from relay_runner.protocol.envelope import noting
from relay_runner.protocol.inert import WIDE

_MENTION = re.compile(r"(\[)?\$(?=[A-Za-z0-9_])(?=([A-Z0-9_]{1,64}(?![A-Za-z]))?)")


def mentions(text: str) -> bool:
    """Say whether anything in the text could be one."""
    return _MENTION.search(text) is not None


def defuse_mentions(text: str, skills: Collection[str] | None) -> str:
    """Return an envelope in which nothing is a mention; None: nobody knows which skills there are."""

    def inert(found: re.Match[str]) -> str:
        link, variable = found.groups()
        stays = (
            skills is not None and link is None and variable and not any(name.startswith(variable) for name in skills)
        )
        return found.group(0) if stays else found.group(0).replace("$", WIDE["$"])

    changed = _MENTION.sub(inert, text)
    return text if changed == text else noting(changed, "$")
