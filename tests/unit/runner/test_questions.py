"""The table of questions: whatever happens in which order, nothing is answered twice, forgotten, or left hanging."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relay_runner.protocol.permissions import (
    AT_THE_TERMINAL,
    Decision,
    NewPermission,
    PermissionUpdate,
    Resolution,
)
from relay_runner.protocol.shape import CUT
from relay_runner.protocol.wire import decode, encode
from relay_runner.providers.base import PermissionAsked, PermissionClosed
from relay_runner.runner.question import AWAY, Entry, Given, Leave, Put
from relay_runner.runner.questions import Questions

APPROVE = Given(decision=Decision.APPROVE, by="person:op")
DENY = Given(decision=Decision.DENY, by="person:eve")


def table(*, headless: bool = False, deadline_s: float = 10.0, instance_id: str = "one") -> Questions:
    return Questions("bob", instance_id, deadline_s=deadline_s, headless=headless)


def asked(id: str = "p1", **more: Any) -> PermissionAsked:
    return PermissionAsked(id, "command", "mkdir x", "script", **more)


def tell_all(of: Questions) -> list[NewPermission | PermissionUpdate]:
    """Tell the relay everything, and return what it was told."""
    calls = []
    while (report := of.next_report()) is not None:
        calls.append(report.call)
        of.told(report)
        assert len(calls) < 100
    return calls


def ends(of: Questions) -> list[tuple[Resolution | None, Decision | None]]:
    return [(call.resolution, call.decision) for call in tell_all(of) if isinstance(call, PermissionUpdate)]


class Life(RuleBasedStateMachine):
    """One program that asks two things, people who answer, and a clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.headless = False
        self.table = table()
        self.first: dict[str, Given] = {}
        self.put: list[tuple[str, Given]] = []
        self.told: dict[str, list[NewPermission | PermissionUpdate]] = {}
        self.opened = 0

    @rule(headless=st.booleans())
    @precondition(lambda self: not self.opened)
    def begins(self, headless: bool) -> None:
        self.headless, self.table = headless, table(headless=headless)

    @rule()
    @precondition(lambda self: self.opened < 4)
    def asks(self) -> None:
        self.opened += 1
        self.table.ask(asked(f"p{self.opened}"), self.now)

    @rule(number=st.integers(1, 4))
    def asks_again(self, number: int) -> None:
        if self.table.get(f"p{number}") is not None:
            self.table.ask(asked(f"p{number}", note="again"), self.now)

    @rule(number=st.integers(1, 4), given_=st.sampled_from([APPROVE, DENY]))
    def is_answered(self, number: int, given_: Given) -> None:
        entry = self.table.get(f"p{number}")
        taken = self.table.answer(f"p{number}", given_)
        open_ = entry is not None and not entry.over and entry.given is None and not entry.reopened
        assert taken == open_
        if taken:
            self.first[f"p{number}"] = given_

    @rule(number=st.integers(1, 4))
    def had_no_effect(self, number: int) -> None:
        entry = self.table.get(f"p{number}")
        if entry is not None and entry.put and not entry.over:
            self.table.ask(asked(f"p{number}", reopened=True), self.now)
            self.first.pop(f"p{number}", None)

    @rule(number=st.integers(1, 4), answered=st.booleans())
    def is_over(self, number: int, answered: bool) -> None:
        self.table.closed(PermissionClosed(f"p{number}", "script", answered))

    @rule(outcome=st.sampled_from(["took", "missed", "kept_out", "refused", "again"]), heard=st.booleans())
    def acts(self, outcome: str, heard: bool) -> None:
        step = self.table.next_step(self.now)
        if isinstance(step, Leave):
            assert not self.headless
            self.table.leave(step.id)
        elif isinstance(step, Put):
            entry = self.table.get(step.id)
            assert entry is not None and not entry.over and not entry.put
            assert step.given == self.first.get(step.id, step.given) or entry.expired
            assert not entry.expired or self.headless
            assert self.table.next_step(self.now + 1000) is None
            if heard:
                self.table.closed(PermissionClosed(step.id, "script"))
            {
                "took": self.table.took,
                "missed": self.table.missed,
                "kept_out": lambda: self.table.kept_out("no"),
                "refused": lambda: self.table.refused("no effect"),
                "again": self.table.again,
            }[outcome]()
            if outcome == "refused":
                self.first.pop(step.id, None)

    @rule(seconds=st.sampled_from([1.0, 11.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def tells(self) -> None:
        report = self.table.next_report()
        if report is not None:
            self.told.setdefault(report.id, []).append(report.call)
            self.table.told(report)

    @rule()
    def the_runner_is_killed(self) -> None:
        saved = [decode(encode(entry), Entry) for entry in self.table.all()]
        self.table = table(headless=self.headless, instance_id=f"i{self.now}")
        self.table.load(saved)

    @rule()
    def the_program_ends(self) -> None:
        self.table.ended()
        assert all(entry.over for entry in self.table.all())
        assert self.table.next_step(self.now + 1000) is None

    @invariant()
    def nothing_is_told_before_it_is_opened_or_after_its_end(self) -> None:
        for calls in self.told.values():
            assert isinstance(calls[0], NewPermission)
            over = [isinstance(call, PermissionUpdate) and call.resolution is not None for call in calls]
            assert sum(over) <= 1 and not any(over[:-1])

    @invariant()
    def whoever_waits_is_shown(self) -> None:
        shown = " ".join(self.table.waiting())
        for entry in self.table.all():
            assert (entry.id in shown) == (not entry.over and not entry.put)

    def teardown(self) -> None:
        """Nothing hangs: after the deadline there is a step, or it is over, put in, or at the terminal."""
        late = self.now + 1000
        for _ in range(20):
            step = self.table.next_step(late)
            if isinstance(step, Leave):
                self.table.leave(step.id)
            elif step is not None:
                self.table.kept_out("no")
        for entry in self.table.all():
            assert entry.over or entry.put or entry.left or entry.expired
        self.table.ended()
        tell_all(self.table)
        assert self.table.all() == () and self.table.due_at() is None


Life.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestLife = Life.TestCase


def test_an_answer_goes_in_once_and_is_told() -> None:
    questions = table()
    questions.ask(asked(), 0.0, "session")
    (opened,) = tell_all(questions)
    assert isinstance(opened, NewPermission) and (opened.expires_at, opened.session_id) == (10.0, "session")
    assert questions.answer("p1", APPROVE) and not questions.answer("p1", DENY)
    assert questions.next_step(0.0) == Put("p1", APPROVE)
    questions.took()
    assert questions.next_step(99.0) is None
    questions.closed(PermissionClosed("p1", "script"))
    assert ends(questions) == [(Resolution.APPLIED, Decision.APPROVE)]


def test_an_answer_without_an_effect_is_taken_off_and_another_one_can_be_given() -> None:
    of = table()
    of.ask(asked(), 0)
    tell_all(of)
    assert of.answer("p1", APPROVE)
    assert isinstance(of.next_step(1), Put)
    of.took()
    of.ask(asked(reopened=True, note="it did not act on approve"), 5)
    assert not of.answer("p1", APPROVE), "the relay still has the answer of before"
    (reopened, opened) = tell_all(of)
    assert isinstance(reopened, PermissionUpdate) and (reopened.reopened, reopened.note) == (
        True,
        "it did not act on approve",
    )
    assert isinstance(opened, NewPermission) and opened.expires_at == 15
    assert of.answer("p1", DENY)
    assert of.next_step(6) == Put("p1", DENY)
    of.refused("the dialog did not take the key")
    (reopened,) = tell_all(of)
    assert isinstance(reopened, PermissionUpdate) and reopened.reopened
    assert of.waiting() != () and of.answer("p1", APPROVE)
    assert of.next_step(7) == Put("p1", APPROVE)
    of.took()
    of.closed(PermissionClosed("p1", "script", True, Decision.APPROVE))
    assert ends(of) == [(Resolution.APPLIED, Decision.APPROVE)]


def test_our_own_denial_without_an_effect_is_the_last() -> None:
    of = table(headless=True)
    of.ask(asked(), 0)
    assert isinstance(of.next_step(11), Put)
    of.refused("the dialog did not take the key")
    assert of.next_step(12) is None and of.waiting() != ()


def test_the_deadline_leaves_it_to_a_person_at_the_terminal() -> None:
    questions = table()
    questions.ask(asked(), 0.0)
    tell_all(questions)
    assert questions.next_step(9.9) is None and questions.due_at() == 10.0
    assert questions.next_step(10.0) == Leave("p1")
    questions.leave("p1")
    (update,) = tell_all(questions)
    assert isinstance(update, PermissionUpdate)
    assert (update.note, update.decisions, update.resolution) == (AT_THE_TERMINAL, (), None)
    assert questions.waiting() and questions.due_at() is None
    questions.closed(PermissionClosed("p1", "script", decision=Decision.DENY))
    assert ends(questions) == [(Resolution.TERMINAL, Decision.DENY)]


def test_the_deadline_denies_where_nobody_is() -> None:
    questions = table(headless=True)
    questions.ask(asked(decisions=(Decision.APPROVE, Decision.ABORT)), 0.0)
    step = questions.next_step(10.0)
    assert isinstance(step, Put) and step.given.decision is Decision.ABORT
    assert step.given.reason == "nobody answered within 10 s"
    assert not questions.answer("p1", APPROVE)
    questions.took()
    questions.ended()
    assert ends(questions) == [(Resolution.EXPIRED, Decision.ABORT)]


def test_what_cannot_be_put_in_is_denied_at_the_deadline_all_the_same() -> None:
    questions = table(headless=True)
    questions.ask(asked(), 0.0)
    questions.answer("p1", APPROVE)
    assert questions.next_step(1.0) == Put("p1", APPROVE)
    questions.kept_out(AT_THE_TERMINAL)
    assert questions.next_step(9.0) is None
    step = questions.next_step(10.0)
    assert isinstance(step, Put) and step.given.decision is Decision.DENY


def test_what_is_heard_while_an_answer_goes_in_is_judged_afterwards() -> None:
    for outcome, end in (("took", Resolution.APPLIED), ("missed", Resolution.TERMINAL)):
        questions = table()
        questions.ask(asked(), 0.0)
        questions.answer("p1", APPROVE)
        questions.next_step(0.0)
        questions.closed(PermissionClosed("p1", "script"))
        entry = questions.get("p1")
        assert entry is not None and not entry.over
        getattr(questions, outcome)()
        assert [resolution for resolution, _ in ends(questions)] == [end]


def test_a_question_of_an_earlier_runner_goes_on_when_the_program_still_asks_it() -> None:
    before = table()
    before.ask(asked(), 0.0)
    tell_all(before)
    before.answer("p1", APPROVE)
    after = table(instance_id="two")
    after.load([decode(encode(entry), Entry) for entry in before.all()])
    assert after.next_step(1.0) is None
    after.ask(asked(decisions=(), note=AT_THE_TERMINAL), 5.0)
    assert after.next_step(1.0) == Put("p1", APPROVE)
    again = tell_all(after)[0]
    assert isinstance(again, NewPermission)
    assert (again.instance_id, again.expires_at, again.note) == ("two", 10.0, AT_THE_TERMINAL)


def test_a_question_of_an_earlier_runner_is_over_when_the_program_works_on() -> None:
    before = table()
    before.ask(asked(), 0.0)
    tell_all(before)
    after = table(instance_id="two")
    after.load(before.all())
    after.ask(asked("p2"), 1.0)
    after.settled()
    calls = tell_all(after)
    closed = [call for call in calls if isinstance(call, PermissionUpdate)]
    assert [(call.instance_id, call.resolution, call.note) for call in closed] == [("two", Resolution.WITHDRAWN, AWAY)]
    assert len(after.waiting()) == 1


def test_a_question_that_was_taken_for_over_too_soon_is_asked_on() -> None:
    before = table()
    before.ask(asked(), 0.0)
    tell_all(before)
    after = table(instance_id="two")
    after.load(before.all())
    after.settled()
    after.ask(asked(), 1.0)
    assert after.waiting() and after.answer("p1", APPROVE)
    assert [type(call) for call in tell_all(after)] == [NewPermission]
    after.next_step(1.0)
    after.took()
    after.ended()
    after.ask(asked(), 2.0)
    assert ends(after) == [(Resolution.APPLIED, Decision.APPROVE)], "what really is over stays so"


def test_an_end_before_the_relay_knew_anything_is_told_in_order() -> None:
    questions = table()
    questions.ask(asked(), 0.0)
    questions.closed(PermissionClosed("p1", "script", answered=False))
    calls = tell_all(questions)
    assert [type(call) for call in calls] == [NewPermission, PermissionUpdate]


def test_a_title_is_one_line_whatever_the_program_says() -> None:
    questions = table()
    questions.ask(PermissionAsked("p1", "command", "a\x1b[2J\nb", "script"), 0.0)
    assert questions.waiting() == ("asks for permission p1: a\\x1b[2J ⏎ b",)


def test_what_is_asked_goes_out_without_what_is_too_deep() -> None:
    of = table()
    of.ask(asked(metadata={"a": decode(b"[" * 900 + b"]" * 900, object)}), now=0.0)
    (new,) = [told for told in tell_all(of) if isinstance(told, NewPermission)]
    assert CUT in encode(new).decode()
