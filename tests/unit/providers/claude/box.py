"""A terminal with a scripted Claude Code in it: an input box that takes pastes and Enters, or does not."""

from __future__ import annotations

import dataclasses
import os

from relay_runner.terminal import processes
from relay_runner.terminal.base import ExitStatus, Key, ProcessIdentity, Screen, Style

RULE = "─" * 40
PROMPT = "\u276f\u00a0"


def screen(*box: str, cursor: tuple[int, int] | None = None, above: tuple[str, ...] = ()) -> Screen:
    """Return a screen with these lines in the input box; the cursor stands at the end unless told."""
    lines = (
        *above,
        RULE,
        PROMPT + (box[0] if box else ""),
        *(f"  {line}" for line in box[1:]),
        RULE,
        "  ? for shortcuts",
    )
    row = len(above) + 1 + max(len(box) - 1, 0)
    column = 2 + (len(box[-1]) if box else 0)
    return Screen(lines=tuple(line.rstrip() for line in lines), cursor=cursor or (column, row))


def hinted(hint: str, *, drawn: bool = True) -> Screen:
    """Return a screen with a hint in its empty input box, dim as the program draws it, or like any other text."""
    plain = screen(hint, cursor=(2, 1))
    styles = bytes([0, 0, Style.REVERSE, *[Style.DIM] * (len(hint) - 1)])
    return dataclasses.replace(plain, styles=(b"", styles) if drawn else ())


class Box:
    """See the module. `entered` holds what was submitted; `pressed` every key."""

    def __init__(self, text: str = "") -> None:
        self.text = text
        self.entered: list[str] = []
        self.pressed: list[Key] = []
        self.typed: list[str] = []
        self.watched = False
        self.stashed = ""
        self.swallow = 0
        """How many Enters are lost."""
        self.keeps_draft = False
        """Whether Ctrl-S does nothing."""
        self.dialog: tuple[str, ...] | None = None
        self.dialog_at_paste: tuple[str, ...] | None = None
        """The dialog that comes up in the very moment of a paste, and takes it."""
        self.hint = ""
        """What the box shows while it is empty, drawn like any other text."""
        self.typed_before = self.typed_meanwhile = ""
        """What a person types in the very moment of a paste, before and after it."""
        self.folds = False
        """Whether what stands in the box is shown as one line that counts its newlines."""
        self.draws = True
        """Whether what stands in the box is shown at all."""
        self.broken: Exception | None = None
        """What a look at the screen fails with."""
        self.deaf: Exception | None = None
        """What a key fails with."""
        self.looks = 0
        self.living = True
        self.identity = processes.identity(os.getpid())

    @property
    def process(self) -> ProcessIdentity:
        """The process of the test itself stands in for the program."""
        assert self.identity is not None
        return self.identity

    async def paste(self, text: str, *, then: Key | None = None) -> None:
        """Put text into the box."""
        if self.dialog_at_paste is not None:
            self.dialog, text = self.dialog_at_paste, ""
        self.text += self.typed_before + text + self.typed_meanwhile
        if then is not None:
            await self.press(then)

    async def press(self, *keys: Key) -> None:
        """Do what Claude Code does with these keys."""
        if self.deaf is not None:
            raise self.deaf
        for key in keys:
            self.pressed.append(key)
            if key is Key.ENTER and self.swallow:
                self.swallow -= 1
            elif key is Key.ENTER and self.text:
                self.entered.append(self.text)
                self.text, self.stashed = self.stashed, ""
            elif key is Key.CTRL_S and not self.keeps_draft:
                self.stashed, self.text = self.text, ""
            elif key is Key.CTRL_C:
                self.text = ""
            elif key is Key.BACKSPACE:
                self.text = self.text[:-1]

    async def attended(self) -> bool:
        """Say whether a person looks."""
        return self.watched

    async def type(self, text: str) -> None:
        """Take keys: in a dialog they answer."""
        if self.deaf is not None:
            raise self.deaf
        self.typed.append(text)

    async def capture(self) -> Screen:
        """Show the dialog, or the box."""
        self.looks += 1
        if self.broken is not None:
            raise self.broken
        if self.folds and self.text:
            return screen(f"[Pasted text #1 +{self.text.count(chr(10))} lines]")
        if self.dialog is not None:
            return Screen(lines=self.dialog)
        if self.hint and not self.text:
            return hinted(self.hint, drawn=False)
        return screen(*(self.text.split("\n") if self.text and self.draws else ()))

    async def wait_exit(self) -> ExitStatus:
        """Say that it ended."""
        return ExitStatus(1)

    def alive(self) -> bool:
        """Say what the test says."""
        return self.living
