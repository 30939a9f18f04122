"""Claude Code's permission questions: asked by a hook that is held open, answered by its reply, or at the dialog.

    hook PermissionRequest ─► asked ─► reply to the hook                       answered from elsewhere
                                   ─► the dialog goes (state file, screen)     answered at the terminal
                                   ─► the hook hangs up, the turn is idle      withdrawn
                                   ─► left: an empty reply; the dialog asks on

The dialog stands beside the hook, and what is answered there does not end the hook: the state file tells, and where
several subagents ask at once, the screen. A subagent in the background shows its dialog only when the hook is over: it
is let go as soon as a person looks at the terminal, and then only the dialog's keys can answer.
What is asked is kept in a file for the runner that comes after: the hook dies with us, and the dialog's own key can
still answer, where the screen proves that it is the same dialog.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from typing import Any

from relay_runner.errors import ProviderError, ProviderRefused, ProviderUnsupported, TerminalError
from relay_runner.protocol.messages import Outcome
from relay_runner.protocol.permissions import AT_THE_TERMINAL, Decision, permission_id
from relay_runner.providers.base import (
    Answer,
    Emit,
    Event,
    HookCall,
    HookReply,
    LaunchSpec,
    PermissionAsked,
    PermissionClosed,
    ProcessState,
    StateChanged,
    TurnEnded,
)
from relay_runner.providers.claude import memory
from relay_runner.providers.claude.asks import BY_KEY, Ask
from relay_runner.providers.claude.dialog import YES, Dialog, dialog_of, proves, shows
from relay_runner.providers.claude.pending import Pending
from relay_runner.providers.claude.turns import Tracker
from relay_runner.terminal.base import Key, Terminal

log = logging.getLogger(__name__)

PERMISSION_PROMPT = "permission prompt"
STRANGE_S = 2.0
"""How long a dialog that no hook told of may stand before people are told of it."""
KEY_S = 3.0
"""How long a key may take to close the dialog."""
LOOK_S = 0.05
LOOSE_S = 1.0
"""How long a question without a held call may take to show its dialog."""
CAPTURE_S = 0.2
HIDDEN_S = 1.0
"""How long a subagent's question may be without a dialog before it is looked whether a person is there to see one."""


class Permissions:
    """The questions of one process."""

    def __init__(
        self,
        spec: LaunchSpec,
        terminal: Terminal,
        tracker: Tracker,
        emit: Emit,
        look: Callable[[], None],
        *,
        adopted: bool,
    ) -> None:
        self._terminal = terminal
        self._tracker = tracker
        self._emit = emit
        self._look = look
        self._file = spec.agent_dir / memory.FILE
        self._process_id = spec.control.provider_session_id
        self._open: dict[str, Pending] = {}
        self._strange_since: float | None = None
        """Since when a dialog stands there that no hook told of."""
        self._captured_at = float("-inf")
        self._interrupted = False
        """Whether the last turn was."""
        kept = memory.read(self._file)
        self._granted = dict.fromkeys(kept.granted)
        same = adopted and kept.process_id == self._process_id
        self._lost = dict(enumerate(kept.open)) if same else {}
        """What was asked of an earlier runner and was not found again yet."""

    @property
    def _waiting(self) -> bool:
        return self._tracker.state is ProcessState.WAITING and self._tracker.detail == PERMISSION_PROMPT

    # --- what is asked ------------------------------------------------------------------------------------------------

    async def hook(self, call: HookCall) -> HookReply:
        """Ask, and hold the call until there is an answer, the caller hangs up, or the dialog is left to itself."""
        ask = Ask.of(call.payload)
        if ask.key in self._granted:
            return HookReply(ask.reply(Answer(Decision.APPROVE)))
        id = permission_id(self._process_id, secrets.token_hex(16))
        hook: asyncio.Future[HookReply] = asyncio.get_running_loop().create_future()
        pending = self._open[id] = Pending(id, ask, hook)
        self._save()
        self._emit(ask.asked(id))
        hanging_up = asyncio.ensure_future(call.gone.wait())
        try:
            waiting: set[asyncio.Future[Any]] = {hook, hanging_up}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hanging_up.cancel()
            if not hook.done():
                hook.cancel()
                pending.hook, pending.loose_since = None, time.monotonic()
        return hook.result() if not hook.cancelled() else HookReply()

    def close(self) -> None:
        """Let go of the held calls: the dialogs ask on, and the next runner finds them."""
        for pending in self._all():
            pending.let_go()

    # --- what is answered ---------------------------------------------------------------------------------------------

    async def answer(self, permission_id: str, answer: Answer) -> bool:
        """Put an answer in; see `Process.answer`."""
        self._look()
        await self.tend()
        pending = self._open.get(permission_id)
        if pending is None or pending.given is not None:
            return False
        if pending.hook is not None and pending.ask is not None:
            if answer.decision is Decision.APPROVE_SESSION and pending.ask.rule() is None:
                self._granted[pending.ask.key] = None
            pending.given = answer
            self._save()
            pending.let_go(HookReply(pending.ask.reply(answer)))
            if not pending.shown:  # it has no dialog that could tell
                self._close(pending)
            return True
        return await self._press(pending, answer)

    async def leave(self, permission_id: str) -> None:
        """Let the dialog ask alone."""
        pending = self._open.get(permission_id)
        if pending is not None:
            pending.let_go()

    def interrupting(self, *, failed: bool = False) -> None:
        """Note that the turn is ended by us: what is open then was not answered; `failed`: it goes on after all."""
        for pending in self._all():
            pending.withdrawn = not failed

    async def _press(self, pending: Pending, answer: Answer) -> bool:
        """Answer by the dialog's key, where the screen proves which dialog it is."""
        dialog = dialog_of(await self._terminal.capture())
        if pending.ask is None or dialog is None or not proves(dialog, pending.ask):
            raise ProviderUnsupported("only its dialog can answer this", hint=AT_THE_TERMINAL)
        if answer.decision not in BY_KEY and answer.decision is not Decision.DENY:
            raise ProviderUnsupported("the dialog's keys cannot say that exactly", hint=AT_THE_TERMINAL)
        pending.given = answer
        try:
            if answer.decision is Decision.APPROVE:
                await self._terminal.type(YES)
            else:
                await self._terminal.press(Key.ESCAPE)
        except TerminalError:
            pending.given = None  # it can be answered again: the dialog is looked at first, as it was now
            raise
        deadline = time.monotonic() + KEY_S
        while pending.id in self._open:
            if time.monotonic() > deadline:
                pending.given = None
                raise ProviderRefused("the dialog did not take the key", hint=AT_THE_TERMINAL)
            await asyncio.sleep(LOOK_S)
            self._look()
            await self.tend()
        return True

    # --- what becomes of it -------------------------------------------------------------------------------------------

    def before(self, event: Event) -> None:
        """Tell what is over before an event that says so to others."""
        if isinstance(event, TurnEnded):
            self._interrupted = event.outcome is Outcome.INTERRUPTED
        if not isinstance(event, StateChanged) or event.state is ProcessState.WAITING:
            return
        over = event.state is ProcessState.IDLE
        # The program is idle and no Stop said that its turn is done: the dialog was refused, or Escape was pressed.
        cut_off = self._tracker.idle_since() is not None and self._tracker.turn is not None
        for pending in self._all():
            if over or pending.shown:
                self._close(pending, cut_off=cut_off or (over and self._interrupted))
        if over and self._lost:
            self._lost = {}
            self._save()

    async def tend(self) -> None:
        """Look at what no event tells: which dialog is up, who hung up, what an earlier runner was asked."""
        if not self._waiting:
            self._strange_since = None
            await self._step_aside()
            for pending in self._all():
                loose = pending.loose_since
                if loose is not None and not pending.shown and time.monotonic() - loose > LOOSE_S:
                    self._close(pending, answered=False)
            return
        alone = len(self._open) == 1 and not self._lost
        if alone and all(pending.ask is None or not pending.ask.agent_id for pending in self._all()):
            next(iter(self._open.values())).is_up()
            return
        if time.monotonic() - self._captured_at < CAPTURE_S:
            return
        self._captured_at = time.monotonic()
        try:
            dialog = dialog_of(await self._terminal.capture())
        except (TerminalError, ProviderError) as error:
            log.info("the dialog cannot be seen: %s", error)
            return
        if self._waiting:
            self._compare(dialog)

    async def _step_aside(self) -> None:
        """Let the hooks of subagents go whose dialogs a person at the terminal should see."""
        now = time.monotonic()
        hidden = [one for one in self._all() if one.hidden]
        if not any(now - one.asked_at > HIDDEN_S for one in hidden) or now - self._captured_at < CAPTURE_S:
            return
        self._captured_at = now
        try:
            if not await self._terminal.attended():
                return
        except (TerminalError, ProviderError) as error:
            log.info("nobody knows who looks at the terminal: %s", error)
            return
        for pending in hidden:
            pending.stepped_aside = True
            pending.let_go()

    def _compare(self, dialog: Dialog | None) -> None:
        """Compare what is asked with what is shown."""
        if dialog is not None:
            self._find_lost(dialog)
        up = [one for one in self._all() if one.ask is None or (dialog is not None and shows(dialog, one.ask))]
        if not up:
            if not self._open:
                self._meet(dialog)
            return
        self._strange_since = None
        for pending in self._all():
            if pending not in up and (pending.given is not None or all(pending.lay_upon(one) for one in up)):
                self._close(pending)
        for pending in up:
            self._see(pending, dialog)

    def _see(self, pending: Pending, dialog: Dialog | None) -> None:
        """Its dialog is up."""
        if pending.stepped_aside and not pending.shown and pending.ask is not None and dialog is not None:
            self._emit(pending.ask.asked(pending.id, BY_KEY if proves(dialog, pending.ask) else ()))
        pending.is_up()

    def _find_lost(self, dialog: Dialog) -> None:
        """Ask again what an earlier runner was asked, where its dialog is up."""
        for number, kept in list(self._lost.items()):
            if not shows(dialog, kept.ask):
                continue
            del self._lost[number]
            proven = proves(dialog, kept.ask)
            self._open[kept.id] = Pending(kept.id, kept.ask, asked_at=float(number))
            self._emit(kept.ask.asked(kept.id, BY_KEY if proven else ()))
            return

    def _meet(self, dialog: Dialog | None) -> None:
        """Tell people of a dialog that no hook told of; only the terminal can answer it."""
        now = time.monotonic()
        self._strange_since = self._strange_since or now
        if now - self._strange_since < STRANGE_S:
            return
        id = permission_id(self._process_id, secrets.token_hex(16))
        self._open[id] = strange = Pending(id, None)
        strange.is_up()
        title = dialog.title if dialog is not None else "Claude Code asks something"
        self._emit(PermissionAsked(id, "tool", title, "screen", decisions=(), note=AT_THE_TERMINAL))

    # --- inside -------------------------------------------------------------------------------------------------------

    def _all(self) -> list[Pending]:
        return list(self._open.values())

    def _close(self, pending: Pending, *, answered: bool = True, cut_off: bool = False) -> None:
        """The question is over: tell how, let the call go, forget it."""
        if self._open.pop(pending.id, None) is None:
            return
        pending.let_go()
        decision = pending.given.decision if pending.given is not None else None
        if decision is None and pending.withdrawn:
            answered = False
        elif decision is None and cut_off:
            answered = pending.shown
            decision = Decision.ABORT if answered else None
        self._save()
        self._emit(PermissionClosed(pending.id, "state-file", answered, decision))

    def _save(self) -> None:
        kept = tuple(memory.Kept.of(one.id, one.ask) for one in self._all() if one.ask is not None)
        granted = tuple(self._granted)
        memory.write(self._file, memory.Memory(self._process_id, (*self._lost.values(), *kept), granted))
