"""What every provider tells its model when a session goes on in a new program."""

from __future__ import annotations

NOTICE = (
    "<restart-notice>\nYour program was restarted, and this session goes on in the new one. Commands that you left "
    "running have ended; a turn that was going on then was cut off. Nothing is asked of you: look at the state of "
    "things again before you rely on what you remember of it.\n</restart-notice>"
)
