"""The guarded paste, against a scripted input box."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from relay_runner.errors import ProviderRefused, TerminalError
from relay_runner.providers.base import Held, Submitted, Uncertain
from relay_runner.providers.claude import draft, editor, editor_client, paste
from relay_runner.providers.claude.editor import Editor
from relay_runner.providers.claude.editor_client import OFFER, TAKEN, WITHDRAWN
from relay_runner.providers.claude.paste import DIALOG, TYPING, UNSEEN, Paste
from relay_runner.terminal.base import Key
from tests.unit.providers.claude.box import Box

pytestmark = pytest.mark.anyio
TEXT = '<relay-message id="1" nonce="n">\nx\n</relay-message nonce="n">'


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here takes time but the code itself."""
    for name in ("ENTER_S", "EVIDENCE_S", "CLEAR_S"):
        monkeypatch.setattr(paste, name, 0.05)
    monkeypatch.setattr(paste, "_LOOK_S", 0.001)


def has(box: Box) -> Callable[[], bool]:
    return lambda: any(TEXT in text for text in box.entered)


async def test_the_text_goes_in_once() -> None:
    box = Box()
    assert await Paste(box).put(TEXT, has(box)) == Submitted("paste")
    assert box.entered == [TEXT]
    assert box.pressed == [Key.ENTER]


async def test_a_dialog_gets_no_key() -> None:
    box = Box()
    box.dialog = ("Do you want to proceed?", " \u276f 1. Yes")
    assert await Paste(box).put(TEXT, has(box)) == DIALOG
    assert (box.pressed, box.text) == ([], "")


@pytest.mark.parametrize(("idle", "watched"), [(True, False), (True, True), (False, False)])
async def test_an_idle_program_that_no_person_looks_at_is_led_back_to_its_input_row(
    monkeypatch: pytest.MonkeyPatch, idle: bool, watched: bool
) -> None:
    box = Box()
    box.dialog, box.watched = ("Showing detailed transcript · ctrl+o to toggle",), watched
    rung = Paste(box)
    assert await rung.put(TEXT, has(box), idle=idle) == DIALOG
    assert box.pressed == [], "it may be gone in a moment"
    monkeypatch.setattr(paste, "VIEW_S", 0.0)
    assert await rung.put(TEXT, has(box), idle=idle) == DIALOG
    assert box.pressed == ([Key.ESCAPE] if idle and not watched else [])


@pytest.mark.parametrize("meanwhile", ["a turn", "no look"])
async def test_what_was_not_seen_all_the_while_is_waited_for_anew(
    monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """A person may have left that view, and opened this one."""
    box = Box()
    box.dialog = ("Showing detailed transcript · ctrl+o to toggle",)
    rung = Paste(box)
    assert await rung.put(TEXT, has(box), idle=True) == DIALOG
    if meanwhile == "a turn":
        assert await rung.put(TEXT, has(box), idle=False) == DIALOG
    else:
        monkeypatch.setattr(paste, "UNWATCHED_S", -1.0)
    began = time.monotonic()
    assert await rung.put(TEXT, has(box), idle=True) == DIALOG
    assert rung._hidden is not None and rung._hidden[0] >= began


async def test_nothing_entered_while_the_terminal_could_not_be_seen() -> None:
    box = Box()
    box.broken = TerminalError("tmux did not answer within 10 s")
    assert await Paste(box).put(TEXT, has(box)) == Held("tmux did not answer within 10 s")
    assert box.text == ""


async def test_a_swallowed_enter_is_pressed_again() -> None:
    box = Box()
    box.swallow = 1
    assert await Paste(box).put(TEXT, has(box)) == Submitted("paste")
    assert box.entered == [TEXT]


async def test_text_that_is_not_taken_is_removed_and_refused() -> None:
    box = Box()
    box.swallow = 99
    with pytest.raises(ProviderRefused, match="not taken"):
        await Paste(box).put(TEXT, has(box))
    assert box.text == ""
    assert box.entered == []


async def test_text_that_left_without_a_trace_is_uncertain() -> None:
    box = Box()
    result = await Paste(box).put(TEXT, lambda: False)
    assert isinstance(result, Uncertain)
    assert box.entered == [TEXT]


async def test_a_message_given_back_by_an_escape_is_cleared() -> None:
    box = Box(TEXT)
    assert await Paste(box).take_back(["n"])
    assert (box.text, box.pressed) == ("", [Key.CTRL_C])


@pytest.mark.parametrize("line", ["", "half a line", TEXT.replace('nonce="n"', 'nonce="other"')])
async def test_what_is_not_ours_is_left_alone(line: str) -> None:
    box = Box(line)
    assert not await Paste(box).take_back(["n"])
    assert (box.text, box.pressed) == (line, [])


async def test_a_draft_is_waited_for() -> None:
    box = Box("half a line")
    rung = Paste(box)
    assert await rung.put(TEXT, has(box)) == TYPING
    assert await rung.put(TEXT, has(box)) == TYPING
    assert (box.text, box.pressed) == ("half a line", [])


async def test_a_draft_left_alone_is_stashed_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft, "TYPING_HOLD_S", 0.0)
    monkeypatch.setattr(draft, "STILL_S", 0.0)
    box = Box("half a line")
    assert await Paste(box).put(TEXT, has(box)) == Submitted("paste")
    assert box.entered == [TEXT]
    assert box.text == "half a line"


async def test_a_draft_that_changes_is_being_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft, "TYPING_HOLD_S", 0.0)
    box = Box("half")
    rung = Paste(box)
    assert await rung.put(TEXT, has(box)) == TYPING
    box.text = "half a line"
    assert await rung.put(TEXT, has(box)) == TYPING
    assert box.pressed == []


async def test_a_draft_that_cannot_be_stashed_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft, "TYPING_HOLD_S", 0.0)
    monkeypatch.setattr(draft, "STILL_S", 0.0)
    box = Box("half a line")
    box.keeps_draft = True
    assert await Paste(box).put(TEXT, has(box)) == TYPING
    assert (box.text, box.entered) == ("half a line", [])


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is waited for."""
    monkeypatch.setattr(draft, "TYPING_HOLD_S", 0.0)
    monkeypatch.setattr(draft, "STILL_S", 0.0)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("text", [TEXT, TEXT.replace("x", "x\n\n  y"), "half"])
async def test_a_line_that_no_stash_takes_away_is_put_to_the_test_and_was_a_hint(text: str) -> None:
    box = Box()
    box.hint, box.folds = "Once fixed, resend your message", text.count("\n") > 2
    assert await Paste(box).put(text, lambda: text in box.entered) == Submitted("paste")
    assert box.entered == [text]
    assert box.pressed == [Key.CTRL_S, Key.ENTER]


async def test_what_turned_out_to_be_a_hint_is_not_waited_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    box = Box()
    box.hint = "Once fixed, resend your message"
    rung = Paste(box)
    assert await rung.put(TEXT, has(box)) == TYPING
    with monkeypatch.context() as at_once:
        at_once.setattr(draft, "TYPING_HOLD_S", 0.0)
        at_once.setattr(draft, "STILL_S", 0.0)
        assert await rung.put(TEXT, has(box)) == Submitted("paste")
    assert await rung.put(TEXT + "2", lambda: TEXT + "2" in box.entered) == Submitted("paste")
    assert box.entered == [TEXT, TEXT + "2"]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("keeps", ["half a line", "one\ntwo"])
async def test_a_persons_line_that_cannot_be_stashed_is_left_as_it_was(keeps: str) -> None:
    box = Box(keeps)
    box.keeps_draft = True
    assert await Paste(box).put(TEXT, has(box)) == TYPING
    assert (box.text, box.entered) == (keeps, [])
    assert Key.ENTER not in box.pressed


@pytest.mark.usefixtures("impatient")
async def test_a_dialog_that_comes_up_during_the_test_gets_no_key() -> None:
    box = Box("half a line")
    box.keeps_draft = True
    box.dialog_at_paste = (" Do you want to proceed?", " \u276f 1. Yes")
    assert await Paste(box).put(TEXT, has(box)) == TYPING
    assert box.pressed == [Key.CTRL_S]


LONG = '<relay-message id="2" nonce="n">\n' + "x\n" * 9 + '</relay-message nonce="n">'
OTHERS_PASTE = "[Pasted text #3 +7 lines]"


async def test_a_long_message_whose_enter_was_swallowed_is_known_by_its_lines() -> None:
    box = Box()
    box.folds, box.swallow = True, 1
    assert await Paste(box).put(LONG, lambda: LONG in box.entered) == Submitted("paste")
    assert box.entered == [LONG]


@pytest.mark.parametrize("text", [OTHERS_PASTE, "[Pasted text #1 +10 lines] and what they think of it", "half a line"])
async def test_a_person_who_pastes_right_after_us_gets_no_key_of_ours(text: str) -> None:
    box = Box()

    def entered() -> bool:
        box.text = text  # ours went in, which nothing shows, and a person begins something at once
        return False

    assert isinstance(await Paste(box).put(LONG, entered), Uncertain)
    assert (box.text, box.pressed) == (text, [Key.ENTER])


async def test_a_long_message_given_back_is_cleared_and_a_persons_paste_is_not() -> None:
    box = Box()
    rung = Paste(box)
    await rung.put(LONG, lambda: LONG in box.entered)
    box.text = OTHERS_PASTE
    assert not await rung.take_back(["n"])
    box.text = f"[Pasted text #4 +{LONG.count(chr(10))} lines]"
    assert not await rung.take_back(["other"])
    assert await rung.take_back(["n"])
    assert box.text == ""


LONG = TEXT.replace("x", "\n".join(f"\tline {number}" for number in range(9)))


class Editing(Box):
    """A box whose Ctrl-G opens our editor on what stands in it."""

    def __init__(self, folder: Path, text: str = "") -> None:
        super().__init__(text)
        self.folder = folder
        self.opens = True
        self.typed_first = ""
        """What a person types between the look at the box and the key."""
        self.pasted = 0

    async def press(self, *keys: Key) -> None:
        if keys == (Key.CTRL_G,) and self.opens:
            draft = self.folder / "draft"
            draft.write_text(self.text + self.typed_first)
            assert editor_client.claim(str(self.folder), OFFER, TAKEN)
            editor_client.put(str(self.folder), str(draft))
            self.text = draft.read_text()
        await super().press(*keys)

    async def paste(self, text: str, *, then: Key | None = None) -> None:
        self.pasted += 1
        await super().paste(text, then=then)


def editing(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str = "") -> tuple[Editing, Paste]:
    for name in ("CLAIM_S", "PUT_S"):
        monkeypatch.setattr(editor, name, 0.05)
    editor.prepare(folder, "p1", folder / "config")
    box = Editing(folder, text)
    return box, Paste(box, Editor(folder, box, "p1"))


def entered(box: Box) -> Callable[[], bool]:
    return lambda: LONG in box.entered


async def test_a_message_goes_through_the_editor_and_nothing_is_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box, way = editing(tmp_path, monkeypatch)
    box.swallow = 1
    assert await way.put(LONG, entered(box)) == Submitted("paste")
    assert (box.entered, box.pasted) == ([LONG], 0)
    assert box.pressed == [Key.CTRL_G, Key.ENTER, Key.ENTER]


async def test_a_person_who_types_before_the_editor_opens_keeps_the_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box, way = editing(tmp_path, monkeypatch)
    box.typed_first = "half a li"
    assert await way.put(LONG, entered(box)) == TYPING
    assert (box.text, box.entered) == ("half a li", []) and Key.ENTER not in box.pressed


async def test_where_no_editor_opens_it_is_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box, way = editing(tmp_path, monkeypatch)
    box.opens = False
    assert await way.put(LONG, entered(box)) == Submitted("paste")
    assert (box.entered, box.pasted) == ([LONG], 1) and (tmp_path / WITHDRAWN).exists()


async def test_what_does_not_show_is_not_submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box, way = editing(tmp_path, monkeypatch)
    box.folds = True
    assert await way.put(LONG, entered(box)) == UNSEEN
    assert box.entered == [] and Key.ENTER not in box.pressed


async def test_what_is_drawn_late_goes_in_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box, way = editing(tmp_path, monkeypatch)
    box.draws = False
    assert await way.put(LONG, entered(box)) == UNSEEN
    assert await way.put(LONG, entered(box)) == UNSEEN, "the row looks empty, and is not"
    assert (box.text, box.entered) == (LONG, [])
    box.draws = True
    assert await way.put(LONG, entered(box)) == Submitted("paste")
    assert box.entered == [LONG]


async def test_what_never_shows_is_pasted_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box, way = editing(tmp_path, monkeypatch)
    box.draws = False
    assert await way.put(LONG, entered(box)) == UNSEEN
    box.text, box.draws = "", True
    assert await way.put(LONG, entered(box)) == UNSEEN
    monkeypatch.setattr(paste, "VIEW_S", 0.0)
    assert await way.put(LONG, entered(box)) == Submitted("paste")
    assert box.entered == [LONG]


@pytest.mark.parametrize("opens", [True, False])
async def test_what_a_dead_runner_put_in_and_did_not_submit_goes_in_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opens: bool
) -> None:
    box, way = editing(tmp_path, monkeypatch, LONG)
    box.opens = opens
    assert await way.put(LONG, entered(box)) == Submitted("paste")
    assert box.entered == [LONG] and box.text == ""


async def test_a_long_message_that_an_escape_gave_back_is_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box, way = editing(tmp_path, monkeypatch)
    assert await way.put(LONG, entered(box)) == Submitted("paste")
    box.text = LONG.partition("\n")[2]  # its beginning is scrolled away
    assert not await way.take_back(["another"])
    assert await way.take_back(["n"]) and box.text == ""
    box.text = f"{LONG.partition(chr(10))[2]} and what a person adds"
    assert not await way.take_back(["n"])


@pytest.mark.parametrize(
    ("shown", "whole"),
    [
        ("\u276f\u00a0" + LONG, True),
        ("    line 3\n  line 4\n  line 5", True),
        ("    line 3\n  line 4\n  line 5\n  li\u2026\n\n", True),
        ("\u276f\u00a0", False),
        ("", False),
        ("\u276f\u00a0line 3", False),  # so little may be a person's
        ("\u276f\u00a0" + LONG + " hey", False),
        ("a person: " + LONG, False),
    ],
)
def test_a_part_of_a_message_is_told_from_a_persons_words(shown: str, whole: bool) -> None:
    assert paste._holds(shown, LONG) is whole
