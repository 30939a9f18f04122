"""What a paste means to Claude Code beside its words: a person's right, not a peer's.

`@name` brings in a file, a resource or a subagent on every way in; the envelope has none in a peer's text. Of a paste
the program makes more (2.1.197 and 2.1.332): a line that is the path of an image is taken out of the text and the image
attached, without a question and before any Enter; and 2.1.332 notes every `/skill` in it as asked for by its user. So
a slash that begins a word loses its meaning there; what comes by the background hook keeps it.
"""

from __future__ import annotations

import re

from relay_runner.protocol.envelope import body_text, noting
from relay_runner.protocol.inert import WIDE
from relay_runner.providers.base import Submission

_SLASH = re.compile(r"(?<![A-Za-z0-9_/-])/")


def pasted(submission: Submission) -> str:
    """Return a message as it may be pasted: with an operator's slashes, and without a peer's before a word."""
    if submission.operator:
        return submission.text
    head, _, rest = submission.text.partition("\n")
    body = len(body_text(submission.message))
    # The frame's own slashes stay, and the paths of what is attached.
    changed = f"{_inert(head)}\n{_inert(rest[:body])}{rest[body:]}"
    return changed if changed == submission.text else noting(changed, "/")


def _inert(text: str) -> str:
    return _SLASH.sub(WIDE["/"], text)
