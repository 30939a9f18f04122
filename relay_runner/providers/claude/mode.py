"""The permission mode that Claude Code is really in: asked for at the start, and told by its hooks from then on.

2.1.332 begins in `auto` where nothing is asked for, and a person changes the mode by a key: what is reported of the
agent is what its program says, not what it was started with. An agent that may only read has no tool that writes in any
mode, and stays one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from relay_runner.providers.base import Event, Learnt
from relay_runner.providers.claude.launch import PERMISSION_MODES
from relay_runner.providers.claude.profile import READ_ONLY

log = logging.getLogger(__name__)

APPROVAL_MODES = {mode: name for name, mode in PERMISSION_MODES.items() if name != READ_ONLY}


class Mode:
    """The mode of one process, in our words; one that has none of ours is told in the program's."""

    def __init__(self, asked: str) -> None:
        self._asked = self._now = asked

    def hook(self, payload: Mapping[str, Any]) -> list[Event]:
        """Take what a hook of the main conversation says."""
        told = payload.get("permission_mode")
        if not isinstance(told, str) or not told or payload.get("agent_id") or self._asked == READ_ONLY:
            return []
        mode = APPROVAL_MODES.get(told, told)
        if mode == self._now:
            return []
        log.warning("Claude Code is in approval mode %s, but was started in %s", mode, self._asked)
        self._now = mode
        return [Learnt({"approvalMode": mode})]
