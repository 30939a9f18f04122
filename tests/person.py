"""A person's terminal: a tmux of its own, in which one command line runs; seen and typed into from outside."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.harness import until

PLAIN = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "LANG": "C.UTF-8", "HOME": "/nowhere"}


class Person:
    """Runs `words`; what they end with stays on the screen."""

    def __init__(
        self,
        folder: Path,
        words: Sequence[str],
        environ: Mapping[str, str] = PLAIN,
        *,
        size: tuple[int, int] = (140, 40),
    ) -> None:
        self._socket = str(folder / "person.sock")
        self._environ = environ
        columns, rows = map(str, size)
        command = f"{shlex.join(words)}; echo left with $?; cat"
        self._tmux("-f", "/dev/null", "new-session", "-d", "-s", "person", "-x", columns, "-y", rows, "--", command)

    def _tmux(self, *args: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", self._socket, *args],
            capture_output=True,
            text=True,
            timeout=20,
            env=self._environ,
            check=False,
        )
        return done.stdout

    def screen(self) -> str:
        """Return what the person sees."""
        return self._tmux("capture-pane", "-p", "-t", "person")

    def shows(self, *texts: str) -> str:
        """Wait until all of this is on the screen, and return the screen."""

        def look() -> str | None:
            screen = self.screen()
            return screen if all(text in screen for text in texts) else None

        try:
            return until(f"the person sees {texts}", look, patience_s=30)
        except AssertionError:
            raise AssertionError(self.screen()) from None

    def types(self, text: str, *keys: str) -> None:
        """Type a text, then press keys by tmux's names for them."""
        self._tmux("send-keys", "-t", "person", "-l", text)
        for key in keys:
            self._tmux("send-keys", "-t", "person", key)

    def close(self) -> None:
        """Take the terminal away, with what runs in it."""
        self._tmux("kill-server")
