from __future__ import annotations

from relay_runner.providers.base import Learnt, SessionStarted, SubagentEnded, SubagentStarted
from relay_runner.providers.claude.parts import HOOK_S, SESSION_GRACE_S, STATE_FILE, PromptHooks, Session, Subagents
from relay_runner.providers.claude.state_file import Reading


def test_a_session_is_announced_once_by_whoever_tells_it_first() -> None:
    session = Session()
    started = SessionStarted("s1", "startup", "opus")
    assert session.hook({"session_id": "s1", "source": "startup", "model": "opus"}, "hook") == [
        started,
        Learnt({"model": "opus"}),
    ]
    assert session.hook({"session_id": "s1", "source": "compact"}, "hook") == []
    other = Reading("idle", 0.0, "s2")
    assert session.read(other, 10.0) == []
    assert session.read(Reading("idle", 0.0, "s1"), 10.1) == []
    assert session.read(other, 10.2) == []
    assert session.read(other, 10.2 + SESSION_GRACE_S) == [SessionStarted("s2", STATE_FILE)]
    assert session.id == "s2"


def test_subagents_end_by_their_hook_by_the_list_or_with_the_turn() -> None:
    working = Subagents()
    for id in ("a1", "a2", "a3", "a4"):
        assert working.hook("SubagentStart", {"agent_id": id, "agent_type": "scout"}, "h") == [
            SubagentStarted(id, "h", role="scout")
        ]
    assert working.hook("SubagentStop", {"agent_id": "a1"}, "h") == [SubagentEnded("a1", "h")]
    assert working.hook("SubagentStop", {"agent_id": "a1"}, "h") == []
    assert working.only(["a3", "unknown"], "h") == [SubagentEnded("a2", "h"), SubagentEnded("a4", "h")]
    assert working.over("h") == [SubagentEnded(None, "h")]
    assert working.over("h") == []


def test_a_compaction_is_no_subagent() -> None:
    working = Subagents()
    assert working.hook("SubagentStart", {"agent_id": "c1", "agent_type": ""}, "h") == []
    assert working.hook("SubagentStop", {"agent_id": "c1", "agent_type": ""}, "h") == []


def test_a_prompt_hook_that_never_comes_is_missed_once_until_one_does() -> None:
    hooks = PromptHooks()
    assert not hooks.overdue(100.0)
    hooks.shown("n1", 100.0)
    hooks.shown("n2", 101.0)
    assert not hooks.overdue(100.0 + HOOK_S - 0.1)
    assert hooks.overdue(100.0 + HOOK_S) and hooks.missed
    assert not hooks.overdue(200.0)
    hooks.came()
    assert not hooks.missed and not hooks.overdue(300.0)
    hooks.shown("n3", 300.0)
    hooks.came()
    assert not hooks.overdue(400.0)
