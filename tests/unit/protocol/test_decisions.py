"""The rules of permissions, whatever comes in which order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_runner.errors import RelayNotFound, RelayRefused
from relay_runner.protocol.decisions import (
    decide,
    event_of,
    frame_of,
    open_permission,
    standing,
    unknown_permission,
    update_permission,
    withdraw,
)
from relay_runner.protocol.permissions import (
    Decision,
    NewDecision,
    NewPermission,
    Permission,
    PermissionState,
    PermissionUpdate,
    Question,
    Resolution,
)


def new(**more: Any) -> NewPermission:
    values: dict[str, Any] = {"id": "p1", "agent_id": "bob", "instance_id": "one", "kind": "tool", "title": "t"}
    return NewPermission(**{**values, **more})


def opened(**more: Any) -> Permission:
    return open_permission(new(**more), None, 1.0)


def update(**more: Any) -> PermissionUpdate:
    return PermissionUpdate(**{"agent_id": "bob", "instance_id": "one", **more})


steps = st.one_of(
    st.builds(
        NewDecision, decision=st.sampled_from(Decision), reason=st.sampled_from([None, "no"]), answers=st.just({})
    ),
    st.builds(
        update,
        resolution=st.sampled_from([None, *Resolution]),
        decision=st.sampled_from([None, *Decision]),
        note=st.sampled_from([None, "answer at the terminal"]),
        decisions=st.sampled_from([None, ()]),
    ),
    st.builds(new, instance_id=st.sampled_from(["one", "two"]), decisions=st.just((Decision.APPROVE,))),
)


@given(st.lists(st.tuples(steps, st.sampled_from(["person:a", "person:b"])), max_size=12))
def test_it_only_goes_forward_and_the_first_of_each_stands(story: list[tuple[Any, str]]) -> None:
    permission = opened(decisions=(Decision.APPROVE, Decision.DENY))
    order = list(PermissionState)
    for now, (step, by) in enumerate(story, 2):
        before = permission
        try:
            if isinstance(step, NewDecision):
                permission = decide(before, step, by, now)
                assert permission.state is not PermissionState.OPEN
            elif isinstance(step, PermissionUpdate):
                permission = update_permission(before, step, now)
            else:
                permission = open_permission(step, before, now)
        except RelayRefused as refusal:
            assert isinstance(step, NewDecision) and "\n" not in str(refusal)
            assert step.decision not in before.decisions or before.state is not PermissionState.OPEN
            continue
        assert order.index(permission.state) >= order.index(before.state)
        assert (permission.state is PermissionState.CLOSED) is (permission.resolution is not None)
        if before.state is PermissionState.CLOSED:
            assert permission == before
        if before.state is PermissionState.DECIDED and permission.state is PermissionState.DECIDED:
            assert (permission.decision, permission.decided_by) == (before.decision, before.decided_by)
        if permission.state is PermissionState.DECIDED:
            assert frame_of(permission) is not None and permission.decided_by is not None
        else:
            assert frame_of(permission) is None


@given(st.text(), st.text(), st.text())
def test_nothing_that_is_shown_can_steer_a_terminal(title: str, detail: str, reason: str) -> None:
    try:
        permission = opened(title=title, detail=detail, note=title)
    except RelayRefused:
        return
    permission = decide(permission, NewDecision(decision=Decision.DENY, reason=reason), "person:a", 2.0)
    shown = f"{permission.title}{permission.detail}{permission.reason}{permission.note}"
    assert all(letter in "\n\t" or letter.isprintable() or ord(letter) > 0x9F for letter in shown)
    assert "\n" not in permission.title


def test_an_end_at_the_terminal_counts_more_than_an_answer_that_did_not_go_in() -> None:
    decided = decide(opened(), NewDecision(decision=Decision.APPROVE), "person:a", 2.0)
    same = update_permission(decided, update(resolution=Resolution.TERMINAL, decision=Decision.APPROVE), 3.0)
    assert (same.decision, same.note) == (Decision.APPROVE, None)
    other = update_permission(decided, update(resolution=Resolution.TERMINAL, decision=Decision.DENY), 3.0)
    assert (other.decision, other.decided_by) == (Decision.DENY, None)
    assert other.note == "approve by person:a came too late"
    assert standing(other) == "it was answered at the terminal (deny)"


def test_the_words_for_who_comes_late() -> None:
    permission = opened()
    decided = decide(permission, NewDecision(decision=Decision.DENY), "person:a", 2.0)
    assert standing(decided) == "already answered with deny by person:a"
    withdrawn = update_permission(decided, update(resolution=Resolution.WITHDRAWN), 3.0)
    assert standing(withdrawn) == "it is asked no more"
    expired = update_permission(permission, update(resolution=Resolution.EXPIRED), 3.0)
    assert standing(expired) == "nobody answered in time"
    assert standing(withdraw(permission, 3.0)) == "it is asked no more"
    assert withdraw(expired, 4.0) is expired


def test_a_secret_answer_is_forgotten_at_the_end() -> None:
    permission = opened(questions=(Question(id="key", text="Key?", secret=True), Question(id="name", text="Name?")))
    answers = {"key": "s3cret", "name": "n"}
    decided = decide(permission, NewDecision(decision=Decision.APPROVE, answers=answers), "person:a", 2.0)
    frame = frame_of(decided)
    assert frame is not None and frame.answers == answers
    assert update_permission(decided, update(resolution=Resolution.APPLIED), 3.0).answers == {"name": "n"}


def test_an_answer_that_had_no_effect_can_be_given_again() -> None:
    decided = decide(
        opened(decisions=(Decision.APPROVE, Decision.DENY)), NewDecision(decision=Decision.APPROVE), "a", 2
    )
    told = update(reopened=True, note="it did not act on approve", decisions=(Decision.DENY,))
    again = update_permission(decided, told, 3)
    assert (again.state, again.decision, again.decided_by) == (PermissionState.OPEN, None, None)
    assert (again.note, again.decisions) == ("it did not act on approve", (Decision.DENY,))
    assert frame_of(again) is None
    assert decide(again, NewDecision(decision=Decision.DENY), "b", 4).decision is Decision.DENY
    closed = update_permission(decided, update(resolution=Resolution.APPLIED, decision=Decision.APPROVE), 3)
    assert update_permission(closed, told, 4) == closed


def test_a_report_of_another_agent_finds_nothing() -> None:
    with pytest.raises(RelayNotFound):
        update_permission(opened(), update(agent_id="eve", resolution=Resolution.APPLIED), 2.0)


def test_what_was_said_before_costs_no_change() -> None:
    permission = opened(note="n")
    assert update_permission(permission, update(note="n"), 9.0) is permission
    assert open_permission(new(note="n"), permission, 9.0) is permission


def test_questions_must_be_told_apart_and_bounded() -> None:
    twice = (Question(id="a", text="x"), Question(id="a", text="y"))
    for bad in (
        {"questions": twice},
        {"questions": tuple(Question(id=str(n), text="x") for n in range(60))},
        {"metadata": {"much": "x" * 70_000}},
    ):
        with pytest.raises(RelayRefused):
            opened(**bad)


def test_the_unknown_id_names_the_nearest() -> None:
    assert "did you mean abcdef?" in str(unknown_permission("abcdeg", ["abcdef"]))
    assert "\x1b" not in str(unknown_permission("\x1b[2J", []))


def test_an_event_has_the_state_only() -> None:
    assert set(event_of(opened(title="secret"))) == {"id", "agentId", "state", "decision", "resolution"}
