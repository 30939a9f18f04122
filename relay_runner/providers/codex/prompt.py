"""How one message is put: what turn/start and turn/steer are given of it.

An operator speaks as the user. What another agent wrote stands beside the prompt as untrusted context, which reaches
the model as a tool's output, as far as that carries it whole; else in the prompt, in its envelope.

The server's own durable queue (`thread/queue/add`) is not used: it takes plain input only (0.169.0), so that another
agent's words would stand as the user's, and it does not recognise a message that is added twice. What waits, waits in
our journal.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from relay_runner.providers.base import Submission
from relay_runner.providers.codex.mentions import defuse_mentions, mentions

CONTEXT_KEY = "relay_message"
CONTEXT_BYTES = 4000
"""What 0.169.0 takes as additional context; out of the middle of a longer one it cuts (measured)."""


def given(submission: Submission, *, context: bool, skills: Collection[str] | None = ()) -> dict[str, Any]:
    """Return the message's part of the parameters; `context` says whether the server takes any beside the prompt.

    `skills` are those that a mention could bring in; see `defuse_mentions`.
    """
    text = submission.text
    params: dict[str, Any] = {"clientUserMessageId": submission.nonce}
    if _stands_beside(submission, context=context):
        params["additionalContext"] = untrusted(text)
        text = f"Message {submission.message.id} from {submission.message.sender} is in the {CONTEXT_KEY} above."
    elif not submission.operator:
        text = defuse_mentions(text, skills)
    return {**params, "input": [{"type": "text", "text": text}]}


def may_mention(submission: Submission, *, context: bool) -> bool:
    """Say whether another agent's message goes into the prompt, and might mention a skill there."""
    beside = submission.operator or _stands_beside(submission, context=context)
    return not beside and mentions(submission.text)


def _stands_beside(submission: Submission, *, context: bool) -> bool:
    return context and not submission.operator and len(submission.text.encode()) <= CONTEXT_BYTES


def untrusted(text: str) -> dict[str, Any]:
    """Return `text` as context that nobody vouches for."""
    return {CONTEXT_KEY: {"kind": "untrusted", "name": CONTEXT_KEY, "value": text}}
