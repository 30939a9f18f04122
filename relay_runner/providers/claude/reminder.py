"""What the model still owes is put to it before its turn ends: by the Stop hook's additional context (2.1.197).

The turn then goes on without a new prompt, and its end is the Stop after that one. The program stops asking after eight
such Stops in a row; the runner reminds of a message once, so that a turn never comes near that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relay_runner.protocol.envelope import defuse, sanitise
from relay_runner.providers.base import Owed

HOOK = "Stop"


async def before_the_end(owed: Owed, nonces: tuple[str, ...]) -> Mapping[str, Any] | None:
    """Return what to answer to a Stop so that the turn goes on, None where it may end."""
    text = await owed(nonces) if nonces else None
    if not text:
        return None
    return {"hookSpecificOutput": {"hookEventName": HOOK, "additionalContext": defuse(sanitise(text))}}
