"""The editor that Claude Code is given: it puts a message into the input row, or becomes the user's own editor.

Standard library only, and small: it is started by Ctrl-G, ours or a person's. Ours comes with an offer in the agent's
folder, which is claimed by renaming it, so one press takes it once. A file that already holds a person's draft is left
as it is. Without an offer the person pressed the key, and gets the editor that they would have had.

    runner  editor-offer                                  writes the message, then presses Ctrl-G
    here    editor-offer -> editor-taken                  claimed: nothing is in the input row yet
            editor-taken -> editor-done | editor-refused  the message is in Claude Code's file | a draft was there
    runner  editor-offer -> editor-withdrawn              nobody claimed it in time: the press that may still come
    here    editor-withdrawn removed                      opens no editor at which nobody sits
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time

OFFER, TAKEN, DONE, REFUSED, WITHDRAWN = (
    f"editor-{name}" for name in ("offer", "taken", "done", "refused", "withdrawn")
)
FRESH_S = 120.0
"""An older offer is a dead runner's."""
OWN_VISUAL = "AGENT_RELAY_VISUAL"
FALLBACKS = ("code", "vi", "nano")
"""What Claude Code takes where nothing is set (2.1.332)."""
WAITING = {"code": ["code", "-w"], "subl": ["subl", "--wait"]}


def claim(folder: str, name: str, to: str | None) -> bool:
    """Rename a file of the runner's, or remove it; say whether it was there and fresh."""
    path = os.path.join(folder, name)  # noqa: PTH118
    try:
        age_s = time.time() - os.stat(path).st_mtime  # noqa: PTH116
        if to is None or age_s > FRESH_S:
            os.unlink(path)  # noqa: PTH108
        else:
            os.rename(path, os.path.join(folder, to))  # noqa: PTH104, PTH118
    except FileNotFoundError:
        return False
    return age_s <= FRESH_S


def put(folder: str, file: str) -> None:
    """Write the claimed message into Claude Code's file, unless a person's draft stands there."""
    taken = os.path.join(folder, TAKEN)  # noqa: PTH118
    with open(taken, encoding="utf-8") as offer:  # noqa: PTH123
        message = json.load(offer)
    with open(file, encoding="utf-8", errors="replace") as draft:  # noqa: PTH123
        there = draft.read()
    free = not there.strip() or f'nonce="{message["nonce"]}"' in there
    if free:
        with open(file, "w", encoding="utf-8", newline="") as row:  # noqa: PTH123
            row.write(message["text"])
    os.rename(taken, os.path.join(folder, DONE if free else REFUSED))  # noqa: PTH104, PTH118


def own_editor(environ: dict[str, str]) -> list[str] | None:
    """Return the user's own editor, as Claude Code would have chosen it."""
    for chosen in (environ.get(OWN_VISUAL, ""), environ.get("EDITOR", "")):
        if words := chosen.split():
            return WAITING.get(chosen.strip(), words)
    found = next((name for name in FALLBACKS if shutil.which(name)), None)
    return WAITING.get(found, [found]) if found is not None else None


def main(arguments: list[str]) -> int:
    """Take the offer, or become the user's editor."""
    folder = os.environ.get("AGENT_RELAY_CONTEXT_STATE_DIR")
    if folder is not None and len(arguments) == 1 and "CLAUDECODE" not in os.environ:  # that is a command's editor
        if claim(folder, OFFER, TAKEN):
            put(folder, arguments[0])
            return 0
        if claim(folder, WITHDRAWN, None):
            return 0
    environ = dict(os.environ)
    command = own_editor(environ)
    if command is None:
        sys.stderr.write("no editor configured: set EDITOR\n")
        return 1
    own = environ.pop(OWN_VISUAL, "")
    environ.pop("VISUAL", None)
    if own:
        environ["VISUAL"] = own
    try:
        os.execvpe(command[0], [*command, *arguments], environ)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
