"""Claude Code's permission questions: asked by a hook that is held open, answered by its reply, or at the dialog.

    hook PermissionRequest ─► asked ─► reply to the hook, the dialog goes      answered from elsewhere
                                   ─► reply to the hook, the dialog stays      asked again, by the dialog's keys
                                   ─► the dialog goes (state file, screen)     answered at the terminal
                                   ─► the hook hangs up, the turn is idle      withdrawn
                                   ─► left: an empty reply; the dialog asks on
    a dialog without a hook        ─► asked, as the screen shows it            by its keys

The dialog stands beside the hook, and what is answered there does not end the hook: the state file tells, and where
several subagents ask at once, the screen. A subagent in the background shows its dialog only when the hook is over: it
is let go as soon as a person looks at the terminal, and then only the dialog's keys can answer.
An answer counts once the program has gone on: 2.1.332 ignores some (a plan's `allow` without its input), and says
nothing of it.
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
    PermissionClosed,
    ProcessState,
    StateChanged,
    TurnEnded,
)
from relay_runner.providers.claude import memory
from relay_runner.providers.claude.asks import BY_KEY, Ask
from relay_runner.providers.claude.dialog import YES, Dialog, dialog_of, proves, shows
from relay_runner.providers.claude.keys import DialogKeys
from relay_runner.providers.claude.pending import Pending
from relay_runner.providers.claude.sight import Sight
from relay_runner.providers.claude.state_file import ASKING
from relay_runner.providers.claude.strange import OPENED_S, STRANGE_S, Strange
from relay_runner.providers.claude.turns import Tracker
from relay_runner.terminal.base import Terminal

log = logging.getLogger(__name__)

LOOSE_S = 1.0
"""How long a question without a held call may take to show its dialog."""
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
        self._keys = DialogKeys(terminal)
        self._tracker = tracker
        self._emit = emit
        self._look = look
        self._file = spec.agent_dir / memory.FILE
        self._process_id = spec.control.provider_session_id
        self._open: dict[str, Pending] = {}
        self._strange = Strange(self._process_id)
        self._sight = Sight(terminal)
        self._interrupted = False
        """Whether the last turn was."""
        kept = memory.read(self._file)
        self._granted = dict.fromkeys(kept.granted)
        same = adopted and kept.process_id == self._process_id
        self._lost = dict(enumerate(kept.open)) if same else {}
        """What was asked of an earlier runner and was not found again yet."""

    @property
    def _waiting(self) -> bool:
        return self._tracker.state is ProcessState.WAITING and self._tracker.detail in ASKING

    @property
    def _showing(self) -> bool:
        """Whether a dialog is open in which the model asks nothing."""
        return self._tracker.state is ProcessState.WAITING and self._tracker.started and not self._waiting

    @property
    def held(self) -> bool:
        """Whether a call is held open for an answer."""
        return any(pending.hook is not None for pending in self._all())

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
            pending.given, pending.given_at = answer, time.monotonic()
            self._save()
            pending.let_go(HookReply(pending.ask.reply(answer)))
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
        """Answer by the dialog's keys, where the screen proves which dialog it is."""
        dialog = dialog_of(await self._terminal.capture())
        if not (pending.same(dialog) or (pending.ask is None and answer.decision is not Decision.APPROVE)):
            raise ProviderUnsupported("only its dialog can answer this", hint=AT_THE_TERMINAL)
        if answer.decision not in BY_KEY and answer.decision is not Decision.DENY:
            raise ProviderUnsupported("the dialog's keys cannot say that exactly", hint=AT_THE_TERMINAL)

        async def over() -> bool:
            self._look()
            await self.tend()
            return pending.id not in self._open

        def cancelled(dialog: Dialog | None) -> bool:
            # What is open by itself may take more than one Escape, and look different after each.
            return pending.same(dialog) if pending.ask is not None else self._showing or pending.looks_like(dialog)

        pending.given = answer
        try:
            if answer.decision is Decision.APPROVE:
                took = await self._keys.choose(YES, pending.same, over)
            else:
                took = await self._keys.cancel(cancelled, over)
        except (TerminalError, ProviderError):
            pending.given = None  # it can be answered again: the dialog is looked at first, as it was now
            raise
        if not took:
            pending.given = None
            raise ProviderRefused("the dialog did not take the key", hint=AT_THE_TERMINAL)
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
        if self._waiting:
            await self._tend_dialog()
        elif self._showing:
            await self._tend_opened()
        else:
            self._strange.over()
            await self._step_aside()
            for pending in self._all():
                loose = pending.loose_since
                if loose is not None and not pending.shown and time.monotonic() - loose > LOOSE_S:
                    self._close(pending, answered=pending.given is not None)

    async def _tend_dialog(self) -> None:
        """The model asks something: compare what was asked with what is shown, where there is a doubt."""
        alone = self._all()[0] if len(self._open) == 1 and not self._lost else None
        if alone is not None and alone.ask is not None and not alone.ask.agent_id:
            alone.is_up()
            if not alone.overdue:
                return
        glance = await self._sight.dialog()
        if glance.seen and self._waiting:
            self._compare(glance.dialog)

    async def _tend_opened(self) -> None:
        """Something else is open: a person's business, unless no person is there."""
        for pending in self._all():
            if pending.ask is None:
                pending.is_up()
        if self._open or not self._strange.stands(OPENED_S):
            return
        glance = await self._sight.dialog()
        if not glance.seen or not self._showing:
            return
        if await self._sight.attended():
            self._strange.again()
        else:
            self._meet(glance.dialog)

    async def _step_aside(self) -> None:
        """Let the hooks of subagents go whose dialogs a person at the terminal should see."""
        now = time.monotonic()
        hidden = [one for one in self._all() if one.hidden]
        if not any(now - one.asked_at > HIDDEN_S for one in hidden) or not self._sight.due():
            return
        if not await self._sight.attended():
            return
        for pending in hidden:
            pending.stepped_aside = True
            pending.let_go()

    def _compare(self, dialog: Dialog | None) -> None:
        """Compare what is asked with what is shown."""
        if dialog is not None:
            self._find_lost(dialog)
        up = [one for one in self._all() if _is_up(one, dialog)]
        if not up:
            for pending in self._all():
                if pending.ask is None:  # another dialog has taken its place
                    self._close(pending)
            if not self._open:
                self._meet(dialog)
            return
        self._strange.over()
        for pending in self._all():
            if pending not in up and (pending.given is not None or all(pending.lay_upon(one) for one in up)):
                self._close(pending)
        for pending in up:
            self._see(pending, dialog)

    def _see(self, pending: Pending, dialog: Dialog | None) -> None:
        """Its dialog is up."""
        if pending.overdue and pending.ask is not None and dialog is not None:
            self._ask_again(pending, pending.ask, dialog)
        elif pending.stepped_aside and not pending.shown and pending.ask is not None and dialog is not None:
            self._emit(pending.ask.asked(pending.id, BY_KEY if proves(dialog, pending.ask) else ()))
        pending.is_up()

    def _ask_again(self, pending: Pending, ask: Ask, dialog: Dialog) -> None:
        """The program was given an answer, and its dialog stands there as before."""
        pending.missed_out()
        missed = pending.missed.decision if pending.missed is not None else "an answer"
        log.warning("permission %s: Claude Code did not act on %s: asking again", pending.id, missed)
        note = f"Claude Code did not act on {missed}"
        proven = proves(dialog, ask)
        note = note if proven else f"{note}: {AT_THE_TERMINAL}"
        self._emit(ask.asked(pending.id, BY_KEY if proven else (), note, reopened=True))

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
        """Tell people of a dialog that no hook told of."""
        if self._strange.stands(STRANGE_S):
            pending, asked = self._strange.ask(dialog)
            self._open[pending.id] = pending
            self._emit(asked)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _all(self) -> list[Pending]:
        return list(self._open.values())

    def _close(self, pending: Pending, *, answered: bool = True, cut_off: bool = False) -> None:
        """The question is over: tell how, let the call go, forget it."""
        if self._open.pop(pending.id, None) is None:
            return
        pending.let_go()
        given = pending.given or pending.missed
        decision = given.decision if given is not None else None
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


def _is_up(pending: Pending, dialog: Dialog | None) -> bool:
    """Say whether the dialog that is shown looks like this question's."""
    if pending.ask is None:
        return pending.looks_like(dialog)
    return dialog is not None and shows(dialog, pending.ask)
