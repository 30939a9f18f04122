"""How one message is put: what turn/start and turn/steer are given of it.

An operator speaks as the user. What another agent wrote stands beside the prompt as untrusted context, which reaches
the model as a tool's output, as far as that carries it whole; else in the prompt, in its envelope.
"""

from __future__ import annotations

from typing import Any

from relay_runner.providers.base import Submission

CONTEXT_KEY = "relay_message"
CONTEXT_BYTES = 4000
"""What 0.169.0 takes as additional context; out of the middle of a longer one it cuts (measured)."""


def given(submission: Submission, *, context: bool) -> dict[str, Any]:
    """Return the message's part of the parameters; `context` says whether the server takes any beside the prompt."""
    text = submission.text
    params: dict[str, Any] = {"clientUserMessageId": submission.nonce}
    if context and not submission.operator and len(text.encode()) <= CONTEXT_BYTES:
        params["additionalContext"] = untrusted(text)
        text = f"Message {submission.message.id} from {submission.message.sender} is in the {CONTEXT_KEY} above."
    return {**params, "input": [{"type": "text", "text": text}]}


def untrusted(text: str) -> dict[str, Any]:
    """Return `text` as context that nobody vouches for."""
    return {CONTEXT_KEY: {"kind": "untrusted", "name": CONTEXT_KEY, "value": text}}
