"""What the demo agent draws: plain lines above, and one status or input line at the bottom."""

from __future__ import annotations

import os
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager

PROMPT = "demo> "
SPINNER = "|/-\\"


@contextmanager
def raw_terminal(descriptor: int) -> Iterator[None]:
    """Take every key as it comes, ask for bracketed pastes, and put the terminal back at the end."""
    before = termios.tcgetattr(descriptor)
    mode = termios.tcgetattr(descriptor)
    mode[0] &= ~(termios.ICRNL | termios.INLCR | termios.IXON)
    mode[3] &= ~(termios.ICANON | termios.ECHO | termios.ISIG | termios.IEXTEN)
    termios.tcsetattr(descriptor, termios.TCSADRAIN, mode)
    print_out("\x1b[?2004h")
    try:
        yield
    finally:
        print_out("\x1b[?2004l")
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def print_out(text: str) -> None:
    """Write to the terminal at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


class Screen:
    """Lines that scroll, and the line at the bottom that is drawn again and again."""

    def __init__(self, agent: str) -> None:
        self.agent = agent

    def line(self, text: str = "") -> None:
        """Show a line above the bottom line."""
        print_out("\r\x1b[K" + "".join(_plain(part) + "\r\n" for part in text.split("\n")))

    def input(self, draft: str) -> None:
        """Draw the input line; a long draft shows its end."""
        shown = _plain(draft.replace("\n", "⏎"))
        room = max(10, _width() - len(PROMPT) - 2)
        self._bottom(PROMPT + (shown if len(shown) <= room else "…" + shown[-room + 1 :]), "idle")

    def working(self, what: str, step: int) -> None:
        """Draw the line that says what is being done."""
        self._bottom(f"{SPINNER[step % len(SPINNER)]} {_plain(what)} (Esc stops it)"[: _width() - 1], "busy")

    def question(self, text: str) -> None:
        """Draw a permission question."""
        self._bottom(f"{_plain(text)} "[: _width() - 1], "waiting")

    def _bottom(self, text: str, state: str) -> None:
        print_out(f"\x1b]2;{_plain(self.agent)}: {state}\x07\r\x1b[K{text}")


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _width() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except OSError:
        return 80
