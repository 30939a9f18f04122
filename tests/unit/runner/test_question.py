import pytest

from relay_runner.protocol.permissions import AT_THE_TERMINAL, Decision, NewPermission, Resolution
from relay_runner.providers.base import PermissionClosed
from relay_runner.runner.question import Entry, Given, awaits, close

ENTRY = Entry(new=NewPermission(id="p1", agent_id="bob", instance_id="one", kind="tool", title="t"))
DENY = Given(decision=Decision.DENY, by="person:op")


@pytest.mark.parametrize(
    ("given", "put", "expired", "answered", "decision", "ends"),
    [
        (None, False, False, True, None, (Resolution.TERMINAL, None)),
        (None, False, False, True, Decision.APPROVE, (Resolution.TERMINAL, Decision.APPROVE)),
        (None, False, False, False, None, (Resolution.WITHDRAWN, None)),
        (DENY, True, False, True, None, (Resolution.APPLIED, Decision.DENY)),
        (DENY, True, False, True, Decision.DENY, (Resolution.APPLIED, Decision.DENY)),
        (DENY, True, False, True, Decision.APPROVE, (Resolution.TERMINAL, Decision.APPROVE)),
        (DENY, True, False, False, None, (Resolution.APPLIED, Decision.DENY)),
        (DENY, False, False, True, None, (Resolution.TERMINAL, None)),
        (DENY, False, False, False, None, (Resolution.WITHDRAWN, None)),
        (DENY, True, True, True, None, (Resolution.EXPIRED, Decision.DENY)),
        (DENY, False, True, False, None, (Resolution.EXPIRED, None)),
        (DENY, False, True, True, Decision.APPROVE, (Resolution.TERMINAL, Decision.APPROVE)),
    ],
)
def test_how_an_end_is_judged(
    given: Given | None,
    put: bool,
    expired: bool,
    answered: bool,
    decision: Decision | None,
    ends: tuple[Resolution, Decision | None],
) -> None:
    entry = Entry(new=ENTRY.new, given=given, put=put, expired=expired, note=AT_THE_TERMINAL)
    closed = close(entry, PermissionClosed("p1", "script", answered, decision))
    assert (closed.resolution, closed.decision) == ends
    assert closed.over and closed.note is None and not awaits(closed)


def test_a_deadline_is_awaited_by_what_nobody_answered() -> None:
    assert awaits(ENTRY)
    assert awaits(Entry(new=ENTRY.new, given=DENY, stuck=True))
    assert not awaits(Entry(new=ENTRY.new, left=True))
    assert not awaits(Entry(new=ENTRY.new, given=DENY, put=True))
