"""Keys in dialogs: pressed by what their row says, and only while the screen shows that very dialog."""

from __future__ import annotations

import pytest

from relay_runner.errors import ProviderUnsupported
from relay_runner.providers.claude import keys
from relay_runner.providers.claude.dialog import YES, Dialog
from relay_runner.providers.claude.keys import DialogKeys
from relay_runner.terminal.base import Key, Screen
from tests.unit.providers.claude.box import Box, screen

pytestmark = pytest.mark.anyio
RULE = "─" * 40


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "KEYS_S", 0.4)
    monkeypatch.setattr(keys, "AGAIN_S", 0.03)
    monkeypatch.setattr(keys, "LOOK_S", 0.001)


class Asking(Box):
    """A box in front of which a dialog stands: it takes keys once it has dropped some."""

    def __init__(self, *labels: str, digits: bool, drops: int = 0) -> None:
        super().__init__()
        self.labels = labels
        self.digits = digits
        self.drops = drops
        self.at = 0
        self.took: str | None = None
        self.title = "Bash command"

    async def type(self, text: str) -> None:
        """Take a digit."""
        await super().type(text)
        if self.drops:
            self.drops -= 1
        elif self.took is None and self.digits and text.isdigit() and int(text) <= len(self.labels):
            self.took = self.labels[int(text) - 1]

    async def press(self, *pressed: Key) -> None:
        """Take the other keys."""
        for key in pressed:
            self.pressed.append(key)
            if self.drops:
                self.drops -= 1
            elif key in (Key.UP, Key.DOWN):
                self.at = max(0, min(len(self.labels) - 1, self.at + (1 if key is Key.DOWN else -1)))
            elif key is Key.ENTER:
                self.took = self.labels[self.at]
            elif key is Key.ESCAPE:
                self.took = "cancelled"

    async def capture(self) -> Screen:
        """Show the dialog, or the input row once it is answered."""
        if self.took is not None:
            return screen()
        rows = (
            f" {chr(0x276F) if place == self.at else ' '} {f'{place + 1}. ' if self.digits else ''}{label}"
            for place, label in enumerate(self.labels)
        )
        return Screen((RULE, f" {self.title}", "   mkdir x", " Do you want to proceed?", *rows, " Esc to cancel"))

    async def over(self) -> bool:
        """Say whether it is answered."""
        return self.took is not None


def any_dialog(dialog: Dialog | None) -> bool:
    return dialog is not None and dialog.header == "Bash command"


@pytest.mark.parametrize("drops", [0, 2])
async def test_a_digit_is_the_one_of_the_row_that_says_it(drops: int) -> None:
    box = Asking("No", "Yes, and switch to auto mode", "Yes", digits=True, drops=drops)
    assert await DialogKeys(box).choose(YES, any_dialog, box.over)
    assert (box.took, box.typed, box.pressed) == ("Yes", ["3"] * (drops + 1), [])


@pytest.mark.parametrize("labels", [("No", "Yes"), ("Yes", "No"), ("No", "Later", "Yes"), ("Maybe", "Yes", "No")])
@pytest.mark.parametrize("drops", [0, 1])
async def test_a_row_without_a_digit_is_gone_to_and_seen_before_enter(labels: tuple[str, ...], drops: int) -> None:
    box = Asking(*labels, digits=False, drops=drops)
    assert await DialogKeys(box).choose(YES, any_dialog, box.over)
    assert box.took == "Yes"
    assert box.pressed.count(Key.ENTER) in (1, 2)


async def test_a_dialog_without_that_row_gets_no_key() -> None:
    box = Asking("Yes, and switch to auto mode", "No", digits=True)
    with pytest.raises(ProviderUnsupported, match="no row 'Yes'"):
        await DialogKeys(box).choose(YES, any_dialog, box.over)
    assert (box.typed, box.pressed, box.took) == ([], [], None)


async def test_another_dialog_gets_no_key() -> None:
    box = Asking("Yes", "No", digits=True)
    box.title = "Fetch"
    assert not await DialogKeys(box).choose(YES, any_dialog, box.over)
    assert not await DialogKeys(box).cancel(any_dialog, box.over)
    assert (box.typed, box.pressed) == ([], [])


async def test_an_input_row_gets_no_key() -> None:
    box = Box()

    async def never() -> bool:
        return False

    assert not await DialogKeys(box).cancel(lambda dialog: dialog is None, never)
    assert box.pressed == []


async def test_a_dialog_that_cannot_be_read_can_be_cancelled_and_not_answered() -> None:
    box = Asking("Yes", "No", digits=True)
    box.dialog = None

    async def unreadable() -> Screen:
        return screen() if box.took is not None else Screen(("something", "else"))

    box.capture = unreadable  # type: ignore[method-assign]
    with pytest.raises(ProviderUnsupported):
        await DialogKeys(box).choose(YES, lambda dialog: dialog is None, box.over)
    assert await DialogKeys(box).cancel(lambda dialog: dialog is None, box.over)
    assert box.took == "cancelled"
