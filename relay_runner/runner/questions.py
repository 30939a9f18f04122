"""What an agent asks, from the first word of its program to the last word to the relay: a pure table.

    asked ─► answer from the relay ─► put in ─► closed (applied)            told to the relay: opened, closed
                                   ─► without an effect: asked again, as if nobody had answered
          ─► answered at the program's own dialog ─► closed (terminal)
          ─► the deadline: left to the terminal, where a person is; denied, where nobody is (expired)
          ─► interrupted, ended ─► closed (withdrawn)

Two things are always known of an entry: what is to be done with the program (`next_step`) and what is to be told to the
relay (`next_report`). Every change is journalled by the service before anything is done about it, so an entry that is
loaded again goes on where it was; it is `stale` until the program says that it still asks.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from relay_runner.protocol.permissions import AT_THE_TERMINAL, Decision, NewPermission, PermissionUpdate, Resolution
from relay_runner.protocol.shape import pruned
from relay_runner.protocol.visible import visible_line
from relay_runner.providers.base import PermissionAsked, PermissionClosed
from relay_runner.runner.question import AWAY, Entry, Given, Leave, Put, Report, Step, awaits, close


class Questions:
    """Every question that is not over and told; `deadline_s` is how long one waits for an answer from elsewhere."""

    def __init__(self, agent_id: str, instance_id: str, *, deadline_s: float, headless: bool) -> None:
        self._agent_id = agent_id
        self._instance_id = instance_id
        self._deadline_s = deadline_s
        self._headless = headless
        self._entries: dict[str, Entry] = {}
        self._putting: str | None = None
        """The answer to this one is on its way into the program; what is heard of it meanwhile waits."""
        self._heard: PermissionClosed | None = None

    # --- what is known ------------------------------------------------------------------------------------------------

    def get(self, id: str) -> Entry | None:
        """Return a question that is not over and told."""
        return self._entries.get(id)

    def all(self) -> tuple[Entry, ...]:
        """Return every entry, oldest first."""
        return tuple(self._entries.values())

    def waiting(self) -> tuple[str, ...]:
        """Return for people what the agent waits for."""
        return tuple(
            f"asks for permission {entry.id}: {entry.new.title}"
            for entry in self.all()
            if not entry.over and not entry.put
        )

    # --- what happens -------------------------------------------------------------------------------------------------

    def load(self, entries: Iterable[Entry]) -> None:
        """Take what an earlier runner knew: the relay has to hear of this instance, the program of every answer."""
        for entry in entries:
            new = replace(entry.new, instance_id=self._instance_id)
            self._entries[entry.id] = replace(entry, new=new, stale=not entry.over, put=False, stuck=False)

    def ask(self, event: PermissionAsked, now: float, session_id: str | None = None) -> None:
        """Take a question; the same id again says what is different now (after a reconnect, a restart)."""
        known = self._entries.get(event.id)
        if known is not None and known.over:
            if known.note != AWAY:
                return
            # It was taken for over too soon, and the relay does not know that yet.
            known = replace(known, resolution=None, decision=None, stale=True)
        if known is not None and event.reopened and known.given is not None:
            known = _unanswered(known)
        new = NewPermission(
            id=event.id,
            agent_id=self._agent_id,
            instance_id=self._instance_id,
            kind=event.kind,
            title=visible_line(event.title) or event.kind,
            detail=event.detail,
            decisions=event.decisions,
            questions=event.questions,
            note=event.note,
            session_id=session_id,
            expires_at=now + self._deadline_s if known is None or event.reopened else known.new.expires_at,
            metadata=pruned(dict(event.metadata)),
        )
        if known is None:
            self._entries[event.id] = Entry(new=new, note=event.note, noted=event.note)
        else:
            again = known.new != new or known.stale
            self._entries[event.id] = replace(
                known, new=new, note=event.note, noted=event.note, stale=False, stuck=False, put=False,
                opened=known.opened and not again,
                left=known.left and not again,
            )  # fmt: skip

    def answer(self, id: str, given: Given) -> bool:
        """Take an answer from elsewhere; False where it is over, or was answered before."""
        entry = self._entries.get(id)
        if entry is None or entry.over or entry.given is not None or entry.reopened:
            return False
        self._entries[id] = replace(entry, given=given)
        return True

    def closed(self, event: PermissionClosed) -> None:
        """Take what the program says of the end of a question."""
        if event.id == self._putting:
            self._heard = self._heard or event
        elif (entry := self._entries.get(event.id)) is not None and not entry.over:
            self._entries[event.id] = close(entry, event)

    def ended(self) -> None:
        """The program asks nothing any more: its turn is over, or it is gone."""
        for entry in self.all():
            if not entry.over:
                if entry.stale:
                    self._entries[entry.id] = replace(entry, note=AWAY)
                self.closed(PermissionClosed(entry.id, "runner", answered=False))

    def settled(self) -> None:
        """The program works and says nothing of what an earlier runner was asked: that is over."""
        for entry in self.all():
            if entry.stale and not entry.over and entry.id != self._putting:
                self._entries[entry.id] = replace(
                    close(entry, PermissionClosed(entry.id, "runner", answered=False)), note=AWAY
                )

    # --- what is to be done with the program --------------------------------------------------------------------------

    def next_step(self, now: float) -> Step | None:
        """Return what is to be done next; a `Put` ends with `took`, `missed`, `kept_out` or `again`."""
        if self._putting is not None:
            return None
        for entry in self.all():
            if entry.over or entry.put:
                continue
            if entry.given is not None and not (entry.stuck or entry.stale):
                return self._begin(entry.id, entry.given)
            if not awaits(entry) or entry.new.expires_at is None or entry.new.expires_at > now:
                continue
            if not self._headless:
                return Leave(entry.id)
            given = self._denial(entry)
            self._entries[entry.id] = replace(entry, given=given, expired=True, stuck=False, stale=False)
            return self._begin(entry.id, given)
        return None

    def due_at(self) -> float | None:
        """Return the next deadline."""
        due = [entry.new.expires_at for entry in self.all() if entry.new.expires_at is not None and awaits(entry)]
        return min(due, default=None)

    def took(self) -> None:
        """The program has the answer."""
        entry = self._done()
        if entry is not None and not entry.over:
            self._entries[entry.id] = replace(entry, put=True)
        self._catch_up()

    def missed(self) -> None:
        """The question was over before the answer came; the program says, or said, what became of it."""
        entry = self._done()
        if entry is not None and not entry.over:
            self._entries[entry.id] = replace(entry, stuck=True)
        self._catch_up()

    def kept_out(self, note: str) -> None:
        """The answer cannot be put in: the terminal has to answer."""
        entry = self._done()
        if entry is not None and not entry.over:
            self._entries[entry.id] = replace(entry, stuck=True, note=note)
        self._catch_up()

    def refused(self, note: str) -> None:
        """The answer went in and had no effect: another one can be given; our own at the deadline was the last."""
        entry = self._done()
        if entry is not None and not entry.over:
            self._entries[entry.id] = replace(
                entry if entry.expired else _unanswered(entry), stuck=entry.expired, note=note
            )
        self._catch_up()

    def again(self) -> None:
        """The answer was not put in for now; it is tried again."""
        self._done()
        self._catch_up()

    def leave(self, id: str) -> None:
        """The deadline is over: people can answer at the terminal only."""
        entry = self._entries.get(id)
        if entry is not None and not entry.over:
            self._entries[id] = replace(entry, left=True, note=AT_THE_TERMINAL)

    def _begin(self, id: str, given: Given) -> Put:
        self._putting, self._heard = id, None
        return Put(id, given)

    def _done(self) -> Entry | None:
        id, self._putting = self._putting, None
        return self._entries.get(id) if id is not None else None

    def _catch_up(self) -> None:
        heard, self._heard = self._heard, None
        if heard is not None:
            self.closed(heard)

    def _denial(self, entry: Entry) -> Given:
        offered = entry.new.decisions
        decision = next((one for one in (Decision.DENY, Decision.ABORT) if one in offered), Decision.DENY)
        reason = f"nobody answered within {self._deadline_s:g} s"
        return Given(decision=decision, reason=reason)

    # --- what is to be told to the relay ------------------------------------------------------------------------------

    def next_report(self) -> Report | None:
        """Return what the relay is to be told next."""
        for entry in self.all():
            if entry.reopened:
                return Report(entry.id, self._update(entry))
            if not entry.opened:
                return Report(entry.id, entry.new)
            if entry.over or entry.note != entry.noted:
                return Report(entry.id, self._update(entry))
        return None

    def told(self, report: Report) -> Entry | None:
        """The relay knows (or never will): forget what is over and told, and return what is left of it."""
        entry = self._entries.get(report.id)
        if entry is None:
            return None
        if isinstance(report.call, NewPermission):
            # What changed meanwhile is told anew.
            self._entries[report.id] = replace(entry, opened=entry.new == report.call)
        elif report.call.reopened:
            self._entries[report.id] = replace(entry, reopened=False, noted=report.call.note)
        elif report.call.resolution is not None:
            del self._entries[report.id]
        else:
            self._entries[report.id] = replace(entry, noted=report.call.note)
        return self._entries.get(report.id)

    def _update(self, entry: Entry) -> PermissionUpdate:
        if entry.reopened:
            return PermissionUpdate(
                agent_id=self._agent_id,
                instance_id=self._instance_id,
                note=entry.note,
                decisions=entry.new.decisions,
                reopened=True,
            )
        return PermissionUpdate(
            agent_id=self._agent_id,
            instance_id=self._instance_id,
            resolution=entry.resolution,
            decision=entry.decision,
            by=entry.given.by if entry.given is not None and entry.resolution is Resolution.APPLIED else None,
            note=entry.note,
            decisions=() if entry.left or entry.stuck else None,
        )


def _unanswered(entry: Entry) -> Entry:
    """Return the entry without the answer that had no effect; the relay is to be told."""
    return replace(entry, given=None, put=False, stuck=False, expired=False, left=False, reopened=entry.opened)
