"""`@path` in a message that is not the user's own: Claude Code would attach that file without asking anybody.

Seen on 2.1.197 for a paste and for the background hook alike: any `@` after a blank that names a file puts the file
into the conversation, `@agent-x` asks for a subagent, `@server:uri` reads a resource. That is a person's right, not a
peer's, so such a mention gets a backslash in front. Decorators, handles and mail addresses stay as they are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

# The program's own patterns: a blank or CJK punctuation, then @ and a quoted name or a word.
_MENTION = re.compile(r'(?:^|(?<=[\s\u3002\u3001\uFF1F\uFF01]))@(?:"([^"]+)"|(\S+))')
_AGENT = re.compile(r"agent-[\w:.@-]+")
_RESOURCE = re.compile(r"\S+:\S+")
_MAX_CHARS = 4096


def defuse_mentions(text: str, folders: Iterable[Path]) -> str:
    """Return `text` with a backslash before every mention that would bring something in from these folders."""
    places = tuple(folders)

    def escaped(match: re.Match[str]) -> str:
        quoted, word = match.group(1), match.group(2)
        brings = _quoted_brings(quoted, places) if quoted is not None else _word_brings(word, places)
        return f"\\{match.group(0)}" if brings else match.group(0)

    return _MENTION.sub(escaped, text)


def _quoted_brings(name: str, folders: tuple[Path, ...]) -> bool:
    return name.endswith(" (agent)") or _exists(name, folders)


def _word_brings(word: str, folders: tuple[Path, ...]) -> bool:
    if _AGENT.match(word) or _RESOURCE.match(word):
        return True
    # The program cuts at a word's end (in ASCII), so a full stop or a bracket after the name does not hide it.
    return _exists(word, folders) or _exists(re.sub(r"\W+$", "", word, flags=re.ASCII), folders)


def _exists(name: str, folders: tuple[Path, ...]) -> bool:
    if len(name) > _MAX_CHARS or "\0" in name:
        return False
    for spelled in {name, name.partition("#")[0]} - {""}:
        path = os.path.expanduser(spelled)  # noqa: PTH111
        if any(os.path.lexists(folder / path) for folder in folders):
            return True
    return False
