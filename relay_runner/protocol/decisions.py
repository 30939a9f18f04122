"""The rules of permissions: how one is opened, answered, and closed. The first answer wins, and so does the first end.

open_permission   the same id again is the same question; what can be answered now, and the note, may be others
decide            one decision; whoever comes later is told which one stands
reopen            an answer that had no effect is taken off, and another one can be given
close             whatever a runner reports first of the end stands
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from msgspec.structs import replace

from relay_runner.errors import RelayNotFound, RelayRefused
from relay_runner.protocol.envelope import sanitise, sanitise_line
from relay_runner.protocol.frames import PermissionDecision
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
from relay_runner.protocol.visible import visible, visible_line
from relay_runner.protocol.wire import encode

MAX_TITLE_CHARS = 500
MAX_DETAIL_CHARS = 64 * 1024
MAX_REASON_CHARS = 4000
MAX_ANSWER_CHARS = 64 * 1024
MAX_QUESTIONS = 50
MAX_METADATA_BYTES = 64 * 1024
PERMISSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,79}")
GRANTS = frozenset({Decision.APPROVE, Decision.APPROVE_SESSION, Decision.APPROVE_ALWAYS})
"""The decisions that say yes."""

_ENDS = {
    Resolution.TERMINAL: "it was answered at the terminal",
    Resolution.EXPIRED: "nobody answered in time",
    Resolution.WITHDRAWN: "it is asked no more",
}


def open_permission(new: NewPermission, known: Permission | None, now: float) -> Permission:
    """Return the permission that a runner opens; `known` itself where it says nothing new."""
    _check_new(new)
    if known is None:
        return Permission(
            id=new.id,
            agent_id=new.agent_id,
            instance_id=new.instance_id,
            kind=sanitise_line(new.kind, 40),
            title=visible_line(new.title, MAX_TITLE_CHARS),
            created_at=now,
            detail=None if new.detail is None else visible(new.detail, MAX_DETAIL_CHARS),
            decisions=new.decisions,
            questions=new.questions,
            session_id=new.session_id,
            expires_at=new.expires_at,
            metadata=new.metadata,
            note=_line(new.note),
            updated_at=now,
        )
    if known.agent_id != new.agent_id:
        raise RelayRefused(f"permission {new.id} is another agent's", status=409, code="taken")
    if known.state is not PermissionState.OPEN:
        return known
    changed = replace(
        known,
        instance_id=new.instance_id,
        decisions=new.decisions,
        expires_at=new.expires_at,
        note=_line(new.note),
    )
    return known if changed == known else replace(changed, updated_at=now)


def decide(permission: Permission, new: NewDecision, by: str, now: float) -> Permission:
    """Return the permission with its answer; the very same one again by the same person changes nothing."""
    reason = None if new.reason is None else sanitise(new.reason).strip()[:MAX_REASON_CHARS] or None
    said = (permission.decision, permission.reason, permission.decided_by)
    if said == (new.decision, reason, by) and _answers(permission.questions, new) == permission.answers:
        return permission
    if permission.state is not PermissionState.OPEN:
        raise RelayRefused(
            f"permission {permission.id} is over: {standing(permission)}", status=409, code="already-answered"
        )
    if not permission.decisions:
        raise RelayRefused(
            f"permission {permission.id} cannot be answered from here",
            hint=permission.note or "answer at the terminal",
            status=409,
            code="terminal-only",
        )
    if new.decision not in permission.decisions:
        raise RelayRefused(
            f"permission {permission.id} does not offer {new.decision}",
            hint=f"it can be answered with {', '.join(permission.decisions)}",
            status=422,
            code="not-offered",
        )
    answers = _answers(permission.questions, new)
    return replace(
        permission,
        state=PermissionState.DECIDED,
        decision=new.decision,
        reason=reason,
        answers=answers,
        decided_by=by,
        decided_at=now,
        updated_at=now,
    )


def update_permission(permission: Permission, update: PermissionUpdate, now: float) -> Permission:
    """Return the permission after a runner's report; one that is closed stays as it is."""
    if permission.agent_id != update.agent_id:
        raise unknown_permission(permission.id, ())
    if permission.state is PermissionState.CLOSED:
        return permission
    changed = permission
    if update.reopened and permission.state is PermissionState.DECIDED:
        changed = _reopen(permission)
    if update.note is not None:
        changed = replace(changed, note=_line(update.note))
    if update.decisions is not None:
        changed = replace(changed, decisions=update.decisions)
    if update.resolution is not None:
        changed = _close(changed, update)
    if changed == permission:
        return permission
    return replace(changed, instance_id=update.instance_id, updated_at=now)


def withdraw(permission: Permission, now: float) -> Permission:
    """Return a permission whose agent is gone for good."""
    if permission.state is PermissionState.CLOSED:
        return permission
    return replace(
        permission, state=PermissionState.CLOSED, resolution=Resolution.WITHDRAWN, updated_at=now, decisions=()
    )


def standing(permission: Permission) -> str:
    """Return, for who comes late, what became of a permission: who answered what."""
    answered = permission.decision is not None
    by = f" by {permission.decided_by}" if permission.decided_by else ""
    if permission.resolution is Resolution.TERMINAL:
        return _ENDS[Resolution.TERMINAL] + (f" ({permission.decision})" if answered else "")
    if answered and permission.resolution is not Resolution.WITHDRAWN:
        return f"already answered with {permission.decision}{by}"
    return _ENDS.get(permission.resolution or Resolution.APPLIED, "already answered")


def frame_of(permission: Permission) -> PermissionDecision | None:
    """Return what the agent's runner is told while a decision is not put in; None where there is none."""
    if permission.state is not PermissionState.DECIDED or permission.decision is None:
        return None
    return PermissionDecision(
        permission_id=permission.id,
        decision=permission.decision,
        reason=permission.reason,
        answers=permission.answers,
        by=permission.decided_by,
    )


def event_of(permission: Permission) -> dict[str, Any]:
    """Return what the event log says of a change: never what the permission is about."""
    return {
        "id": permission.id,
        "agentId": permission.agent_id,
        "state": permission.state.value,
        "decision": permission.decision.value if permission.decision else None,
        "resolution": permission.resolution.value if permission.resolution else None,
    }


def unknown_permission(permission_id: str, known: Collection[str]) -> RelayNotFound:
    """Return the error for an id that the relay never saw; its hint names the nearest one."""
    shown = sanitise_line(permission_id, 80)
    near = get_close_matches(permission_id, list(known), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else "see `relay-runner permissions`"
    return RelayNotFound(f"there is no permission {shown}", hint=hint)


def _check_new(new: NewPermission) -> None:
    if not PERMISSION_ID.fullmatch(new.id):
        raise RelayRefused(f"{sanitise_line(new.id, 80)!r} cannot be a permission's id", status=422)
    if not sanitise_line(new.title):
        raise RelayRefused("the permission has no title", status=422)
    ids = [question.id for question in new.questions]
    if len(ids) > MAX_QUESTIONS or len(set(ids)) != len(ids):
        raise RelayRefused(f"a permission has at most {MAX_QUESTIONS} questions, each with its own id", status=422)
    if len(encode(new.metadata)) > MAX_METADATA_BYTES:
        raise RelayRefused(f"the metadata is larger than {MAX_METADATA_BYTES} bytes", status=422)


def _reopen(permission: Permission) -> Permission:
    """Return the permission as if nobody had answered."""
    return replace(
        permission,
        state=PermissionState.OPEN,
        decision=None,
        reason=None,
        answers={},
        decided_by=None,
        decided_at=None,
    )


def _close(permission: Permission, update: PermissionUpdate) -> Permission:
    secret = {question.id for question in permission.questions if question.secret}
    kept = {name: value for name, value in permission.answers.items() if name not in secret}
    closed = replace(permission, state=PermissionState.CLOSED, resolution=update.resolution, answers=kept)
    if permission.decision is None:
        return replace(closed, decision=update.decision, decided_by=update.by)
    if update.resolution is Resolution.WITHDRAWN or update.decision is permission.decision:
        return closed
    if update.resolution is Resolution.APPLIED and update.decision is None:
        return closed
    late = f"{permission.decision} by {permission.decided_by} came too late"
    return replace(closed, decision=update.decision, decided_by=update.by, note=late)


def _answers(questions: Sequence[Question], new: NewDecision) -> dict[str, Any]:
    """Return what was answered, sanitised; raise `RelayRefused` where it does not fit the questions."""
    asked = {question.id: question for question in questions}
    for name in new.answers:
        if name not in asked:
            hint = f"it asks {', '.join(asked)}" if asked else "it asks nothing"
            raise RelayRefused(f"there is no question {sanitise_line(name, 80)!r}", hint=hint, status=422)
    if new.decision not in GRANTS:
        if new.answers:
            raise RelayRefused("answers go with an approval", hint="give a reason instead", status=422)
        return {}
    return {
        question.id: _checked(question, new.answers[question.id])
        for question in questions
        if not _missing(question, new.answers)
    }


def _missing(question: Question, answers: Mapping[str, Any]) -> bool:
    if question.id in answers:
        return False
    if question.required:
        raise RelayRefused(
            f"the question {sanitise_line(question.text)!r} is not answered",
            hint=f"give --answer {question.id}=TEXT",
            status=422,
            code="unanswered",
        )
    return True


def _checked(question: Question, given: object) -> str | list[str]:
    if question.multiple and isinstance(given, list):
        return [_choice(question, value) for value in given]
    one = _choice(question, given)
    return [one] if question.multiple else one


def _choice(question: Question, value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_ANSWER_CHARS:
        raise RelayRefused(
            f"the answer to {question.id} is not a text of at most {MAX_ANSWER_CHARS} characters", status=422
        )
    text = sanitise(value)
    if question.options and not question.other and text not in question.options:
        raise RelayRefused(
            f"{sanitise_line(text, 80)!r} is no answer to {question.id}",
            hint=f"choose of {', '.join(question.options)}",
            status=422,
        )
    return text


def _line(text: str | None) -> str | None:
    return None if text is None else visible_line(text, MAX_TITLE_CHARS)
