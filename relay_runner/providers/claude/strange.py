"""Dialogs that no hook told of: what people are told of them, and when.

Those in which the model asks something are told after a moment; what else is open (a person's own `/config`, a message
that is held, whatever a later version shows) is told where no person is at the terminal. All of them can be cancelled
from elsewhere, and are at the deadline of a headless agent; a plain yes is offered where the dialog shows all that it
asks.
"""

from __future__ import annotations

import secrets
import time

from relay_runner.protocol.permissions import Decision, permission_id
from relay_runner.providers.base import PermissionAsked
from relay_runner.providers.claude.asks import BY_KEY
from relay_runner.providers.claude.dialog import Dialog, answerable
from relay_runner.providers.claude.pending import Pending

STRANGE_S = 2.0
"""How long a dialog that no hook told of may stand before people are told of it."""
OPENED_S = 10.0
"""The same for one in which the model asks nothing, where no person is at the terminal."""


class Strange:
    """Since when a dialog stands there that no hook told of."""

    def __init__(self, process_id: str) -> None:
        self._process_id = process_id
        self._since: float | None = None

    def over(self) -> None:
        """There is none, or it is told."""
        self._since = None

    def again(self) -> None:
        """A person is there who can see it: wait anew."""
        self._since = time.monotonic()

    def stands(self, seconds: float) -> bool:
        """Say whether it has been there for so long."""
        now = time.monotonic()
        self._since = self._since or now
        return now - self._since >= seconds

    def ask(self, dialog: Dialog | None) -> tuple[Pending, PermissionAsked]:
        """Return the question, and what the runner is told of it."""
        id = permission_id(self._process_id, secrets.token_hex(16))
        pending = Pending(id, None, dialog=dialog)
        pending.is_up()
        title = dialog.title if dialog is not None else "Claude Code shows something at its terminal"
        detail = dialog.text if dialog is not None else None
        decisions = BY_KEY if dialog is not None and answerable(dialog) else (Decision.ABORT,)
        return pending, PermissionAsked(id, "tool", title, "screen", detail=detail, decisions=decisions)
