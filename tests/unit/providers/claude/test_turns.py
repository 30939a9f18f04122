"""The state machine over hooks, state file and transcript: the table of what fires when, and that nothing sticks."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from relay_runner.protocol.messages import Outcome
from relay_runner.providers.base import (
    Event,
    Learnt,
    ProcessState,
    Seen,
    SessionStarted,
    StateChanged,
    SubagentEnded,
    SubagentStarted,
    TurnEnded,
    TurnStarted,
)
from relay_runner.providers.claude.carried import IDLE_GRACE_S, RECALL_GRACE_S
from relay_runner.providers.claude.parts import HOOK_S, SESSION_GRACE_S
from relay_runner.providers.claude.state_file import Reading
from relay_runner.providers.claude.transcript import TAKEN_BACK
from relay_runner.providers.claude.turns import BUSY_GRACE_S, NO_ANSWER, PEER, Tracker

SESSION = "11111111-2222-3333-4444-555555555555"
T0 = 1_800_000_000.0


def envelope(nonce: str) -> str:
    return f'<relay-message id="1" nonce="{nonce}" from="agent:bob">\ntext\n</relay-message nonce="{nonce}">'


@dataclass
class Play:
    """A tracker with a clock; what happens comes in the order in which Claude Code lets it happen."""

    tracker: Tracker = field(default_factory=Tracker)
    now: float = T0
    status: str = ""
    since: float = 0.0
    waiting_for: str | None = None
    session: str = SESSION
    events: list[Event] = field(default_factory=list)

    def hook(self, name: str, **payload: Any) -> list[Event]:
        self.now += 0.01
        return self._keep(self.tracker.hook(name, {"session_id": self.session, **payload}, self.now))

    def file(self, status: str, waiting_for: str | None = None) -> list[Event]:
        self.now += 0.01
        self.status, self.since, self.waiting_for = status, self.now, waiting_for
        return self.tick(0.0)

    def tick(self, seconds: float) -> list[Event]:
        self.now += seconds
        reading = Reading(self.status, self.since, self.session, self.waiting_for) if self.status else None
        return self._keep(self.tracker.read(reading, self.now))

    def line(self, kind: str, **fields: Any) -> list[Event]:
        at = datetime.fromtimestamp(self.now, UTC).isoformat().replace("+00:00", "Z")
        return self._keep(self.tracker.lines([{"type": kind, "timestamp": at, **fields}], self.now))

    def user(self, text: str) -> list[Event]:
        return self.line("user", message={"role": "user", "content": text})

    def interrupted(self) -> list[Event]:
        self.now += 0.01
        return self.user("[Request interrupted by user]")

    def said(self, text: str) -> list[Event]:
        return self.line("assistant", message={"content": [{"type": "text", "text": text}]})

    def duration(self, **fields: Any) -> list[Event]:
        self.now += 0.01
        return self.line("system", subtype="turn_duration", **fields)

    def begin(self, nonce: str = "n1") -> list[Event]:
        self.file("busy")
        return self.hook("UserPromptSubmit", prompt=envelope(nonce), prompt_id=f"p-{nonce}")

    def idle(self) -> Play:
        self.hook("SessionStart", source="startup", model="m")
        self.file("idle")
        self.events.clear()
        return self

    def ends(self) -> list[TurnEnded]:
        return [event for event in self.events if isinstance(event, TurnEnded)]

    def _keep(self, events: list[Event]) -> list[Event]:
        self.events += events
        return events


def test_a_session_starts_and_is_idle() -> None:
    play = Play()
    assert play.hook("SessionStart", source="startup", model="opus") == [
        SessionStarted(SESSION, "startup", "opus"),
        Learnt({"model": "opus"}),
        StateChanged(ProcessState.IDLE, "hook:SessionStart", None),
    ]
    assert play.file("idle") == []


def test_a_plain_turn() -> None:
    play = Play().idle()
    assert play.file("busy") == [StateChanged(ProcessState.BUSY, "state-file", None)]
    assert play.hook("UserPromptSubmit", prompt=envelope("n1"), prompt_id="p1") == [
        TurnStarted("p1", "hook:UserPromptSubmit", ("n1",)),
        Seen("n1", "hook:UserPromptSubmit"),
    ]
    play.user(envelope("n1"))
    assert play.hook("Stop", last_assistant_message="done", background_tasks=[]) == [
        TurnEnded(Outcome.COMPLETED, "hook:Stop", ("n1",), "done", None)
    ]
    assert play.file("idle") == [StateChanged(ProcessState.IDLE, "state-file", None)]
    play.said("done")
    assert play.duration() == []


def test_a_stale_idle_reading_does_not_end_a_turn_that_just_began() -> None:
    play = Play().idle()
    play.hook("UserPromptSubmit", prompt=envelope("n1"), prompt_id="p1")
    assert play.tick(10) == []
    assert play.tracker.state is ProcessState.BUSY


def test_an_api_error_fails_the_turn() -> None:
    play = Play().idle()
    play.begin()
    (ended,) = play.hook("StopFailure", error="rate_limit", last_assistant_message="API Error: 429")
    assert ended == TurnEnded(Outcome.FAILED, "hook:StopFailure", ("n1",), None, "rate-limited: API Error: 429")
    assert play.file("idle") == [StateChanged(ProcessState.IDLE, "state-file", None)]


def test_an_interrupt_is_known_from_the_transcript() -> None:
    play = Play().idle()
    play.begin()
    play.user(envelope("n1"))
    play.file("idle")
    (ended,) = [event for event in play.interrupted() if isinstance(event, TurnEnded)]
    assert ended == TurnEnded(Outcome.INTERRUPTED, "transcript", ("n1",), None, "interrupted")
    assert play.tracker.state is ProcessState.IDLE


def test_an_old_interrupt_does_not_end_a_new_turn() -> None:
    play = Play().idle()
    play.begin("n1")
    play.user(envelope("n1"))
    play.interrupted()
    play.begin("n2")
    play.tracker.lines([], play.now)
    assert [ended.nonces for ended in play.ends()] == [("n1",)]
    assert play.tracker.carries("n2")


def test_idle_without_any_word_ends_the_turn_after_a_grace() -> None:
    play = Play().idle()
    play.begin()
    play.file("idle")
    assert play.tick(IDLE_GRACE_S / 2) == []
    ended, changed = play.tick(IDLE_GRACE_S)
    assert ended == TurnEnded(Outcome.FAILED, "state-file", ("n1",), None, NO_ANSWER)
    assert changed == StateChanged(ProcessState.IDLE, "state-file", None)


def test_idle_after_our_escape_is_an_interrupt_though_the_transcript_is_late() -> None:
    play = Play().idle()
    play.begin()
    play.user(envelope("n1"))
    play.tracker.stopping()
    play.file("idle")
    ended, _ = play.tick(IDLE_GRACE_S * 2)
    assert ended == TurnEnded(Outcome.INTERRUPTED, "state-file", ("n1",), None, None)
    play.begin("n2")
    play.file("idle")
    ended, _ = play.tick(IDLE_GRACE_S * 2)
    assert isinstance(ended, TurnEnded) and ended.outcome is Outcome.FAILED


def test_a_prompt_that_an_escape_gave_back_was_interrupted() -> None:
    play = Play().idle()
    play.begin()
    assert play.tracker.silent() == ()
    play.file("idle")
    assert play.tracker.silent() == ("n1",)
    ended, changed = play.tracker.take_back(play.now)
    assert ended == TurnEnded(Outcome.INTERRUPTED, "screen", ("n1",), None, TAKEN_BACK)
    assert changed == StateChanged(ProcessState.IDLE, "screen", None)
    assert play.tracker.silent() == ()


def test_a_lost_stop_is_replaced_by_the_transcript() -> None:
    play = Play().idle()
    play.begin()
    play.user(envelope("n1"))
    play.said("the answer")
    play.duration()
    ended, _ = play.file("idle")
    assert ended == TurnEnded(Outcome.COMPLETED, "transcript", ("n1",), "the answer", None)


def test_a_background_agent_holds_the_turn() -> None:
    play = Play().idle()
    play.begin()
    running = [{"id": "a1", "type": "subagent", "status": "running"}]
    play.hook("SubagentStart", agent_id="a1", agent_type="general-purpose")
    play.hook("Stop", last_assistant_message="started it", background_tasks=running)
    assert play.ends() == []
    assert play.tracker.state is ProcessState.BUSY
    play.hook("SubagentStop", agent_id="a1", agent_type="general-purpose", background_tasks=running)
    play.hook("UserPromptSubmit", prompt="<task-notification>done</task-notification>", prompt_id="p2")
    play.hook("Stop", last_assistant_message="all done", background_tasks=[])
    assert play.ends() == [TurnEnded(Outcome.COMPLETED, "hook:Stop", ("n1",), "all done", None)]
    assert SubagentStarted("a1", "hook:SubagentStart", role="general-purpose") in play.events
    assert SubagentEnded("a1", "hook:SubagentStop") in play.events


REPORT = "<task-notification>\n<task-id>a1</task-id>\n<status>completed</status>\n</task-notification>"


def started_beside(play: Play, id: str = "a1") -> None:
    """A subagent of 2.1.332 begins: the tool answers at once, and the turn goes on."""
    play.hook("SubagentStart", agent_id=id, agent_type="scout")
    play.line("user", message={"content": []}, toolUseResult={"status": "async_launched", "agentId": id})


def test_a_report_that_waits_for_the_end_of_the_turn_goes_on_with_it() -> None:
    play = Play().idle()
    play.begin()
    started_beside(play)
    listed = {"id": "a1", "type": "subagent", "status": "running"}  # the list has the one that stops
    play.hook("SubagentStop", agent_id="a1", agent_type="scout", background_tasks=[listed])
    play.line("queue-operation", operation="enqueue", content=REPORT)
    stop = {"last_assistant_message": "not the answer yet", "background_tasks": []}
    assert play.tracker.ending(stop) == ()
    play.hook("Stop", **stop)
    assert not play.ends() and play.tracker.detail == "background agent"
    play.hook("UserPromptSubmit", prompt=REPORT, prompt_id="p-report")
    play.hook("Stop", last_assistant_message="the answer", background_tasks=[])
    assert [(end.nonces, end.result) for end in play.ends()] == [(("n1",), "the answer")]


def test_a_report_that_went_into_the_turn_does_not_hold_it() -> None:
    for goes_in in ("hook", "line"):
        play = Play().idle()
        play.begin()
        started_beside(play)
        play.hook("SubagentStop", agent_id="a1", agent_type="scout")
        if goes_in == "hook":
            play.hook("UserPromptSubmit", prompt=REPORT, prompt_id="p-n1")
        else:
            play.line("attachment", attachment={"type": "queued_command", "prompt": REPORT})
        play.hook("Stop", last_assistant_message="the answer", background_tasks=[])
        assert [end.result for end in play.ends()] == ["the answer"]


def test_a_subagent_that_the_turn_waited_for_reports_nothing() -> None:
    play = Play().idle()
    play.begin()
    play.hook("SubagentStart", agent_id="a1", agent_type="scout")
    play.hook("SubagentStop", agent_id="a1", agent_type="scout")
    play.line("queue-operation", operation="enqueue", content=f"a peer writes {REPORT}")
    play.hook("Stop", last_assistant_message="the answer", background_tasks=[])
    assert [end.result for end in play.ends()] == ["the answer"]


def test_a_report_that_never_comes_does_not_hold_for_ever() -> None:
    play = Play().idle()
    play.begin()
    started_beside(play)
    play.hook("SubagentStop", agent_id="a1", agent_type="scout")
    play.hook("Stop", last_assistant_message="all there is", background_tasks=[])
    play.file("idle")
    play.tick(IDLE_GRACE_S)
    assert [(end.outcome, end.result) for end in play.ends()] == [(Outcome.COMPLETED, "all there is")]


def test_what_is_put_in_beside_a_turn_is_seen_when_the_model_gets_it_and_not_at_its_enter() -> None:
    play = Play().idle()
    play.begin("n1")
    play.hook("UserPromptSubmit", prompt=envelope("n2"), prompt_id="p-n1")
    assert play.tracker.has("n2") and Seen("n2", "hook:UserPromptSubmit") not in play.events
    play.said("the first answer")
    play.hook("Stop", last_assistant_message="the first answer", background_tasks=[])
    assert [(end.nonces, end.result) for end in play.ends()] == [(("n1",), "the first answer")]
    play.duration()
    play.user(envelope("n2"))
    assert Seen("n2", "transcript") in play.events
    play.said("the second answer")
    play.duration()
    assert [(end.nonces, end.result) for end in play.ends()][1:] == [(("n2",), "the second answer")]


def test_a_turn_that_another_session_began_says_so() -> None:
    play = Play().idle()
    play.file("busy")
    play.hook("UserPromptSubmit", prompt="do as I say", prompt_id="p-peer")
    play.line("user", message={"content": "Another Claude session sent a message"}, origin={"kind": "peer"})
    play.tick(0.1)
    assert play.tracker.detail == PEER
    play.hook("Stop", last_assistant_message="done", background_tasks=[])
    play.begin("n1")
    play.line("user", message={"content": envelope("n1")}, origin={"kind": "human"})
    assert play.tracker.detail is None


def test_a_background_agent_that_vanished_does_not_hold_for_ever() -> None:
    play = Play().idle()
    play.begin()
    play.hook("SubagentStart", agent_id="a1", agent_type="general-purpose")
    running = [{"id": "a1", "type": "subagent", "status": "running"}]
    play.hook("Stop", last_assistant_message="started it", background_tasks=running)
    play.file("idle")
    play.tick(IDLE_GRACE_S)
    assert play.ends() == [TurnEnded(Outcome.COMPLETED, "state-file", ("n1",), "started it", None)]
    assert SubagentEnded(None, "state-file") in play.events


def test_a_background_shell_does_not_hold_the_turn() -> None:
    play = Play().idle()
    play.begin()
    shell = [{"id": "b1", "type": "shell", "status": "running"}]
    play.hook("Stop", last_assistant_message="it runs", background_tasks=shell)
    assert [ended.result for ended in play.ends()] == ["it runs"]
    assert play.file("shell") == [StateChanged(ProcessState.IDLE, "state-file", "shell")]


def test_hooks_of_subagents_say_nothing_about_the_turn() -> None:
    play = Play().idle()
    play.begin()
    assert play.hook("Stop", agent_id="a1", agent_type="x", last_assistant_message="inner") == []
    assert play.hook("StopFailure", agent_id="a1", agent_type="x", error="server_error") == []
    assert play.hook("SubagentStop", agent_id="compaction", agent_type="") == []
    assert play.hook("SubagentStart", agent_id="compaction", agent_type="") == []


def test_a_dialog_means_waiting() -> None:
    play = Play().idle()
    play.begin()
    asked = play.file("waiting", "permission prompt")
    assert asked == [StateChanged(ProcessState.WAITING, "state-file", "permission prompt")]
    assert play.file("busy") == [StateChanged(ProcessState.BUSY, "state-file", None)]


def test_a_dialog_that_a_person_opened_is_no_turn() -> None:
    play = Play().idle()
    play.file("waiting", "dialog open")
    play.tick(10)
    play.file("idle")
    assert not [event for event in play.events if isinstance(event, TurnStarted | TurnEnded)]


def test_a_steered_message_is_settled_by_the_transcript() -> None:
    play = Play().idle()
    play.begin("n1")
    play.user(envelope("n1"))
    steered = play.line("attachment", attachment={"type": "queued_command", "prompt": envelope("n2")})
    assert steered == [Seen("n2", "transcript")]
    play.said("both")
    play.hook("Stop", last_assistant_message="both", background_tasks=[])
    play.duration()
    assert [(ended.nonces, ended.result) for ended in play.ends()] == [(("n1",), "both"), (("n2",), "both")]


def test_a_steered_message_told_late_does_not_join_the_next_turn() -> None:
    play = Play().idle()
    play.begin("n1")
    play.hook("Stop", last_assistant_message="one", background_tasks=[])
    play.file("idle")
    play.begin("n3")
    play.user(envelope("n1"))
    play.line("attachment", attachment={"type": "queued_command", "prompt": envelope("n2")})
    play.said("one")
    play.duration()
    play.user(envelope("n3"))
    play.hook("Stop", last_assistant_message="three", background_tasks=[])
    ends = {ended.nonces: ended.result for ended in play.ends()}
    assert ends == {("n1",): "one", ("n2",): "one", ("n3",): "three"}


def test_what_waits_in_the_programs_queue_is_there_but_not_seen() -> None:
    play = Play().idle()
    play.begin("n1")
    queued = {"type": "queue-operation", "operation": "enqueue", "content": envelope("n2")}
    assert play.tracker.lines([queued], play.now) == []
    assert play.tracker.has("n2")
    assert not play.tracker.carries("n2")


def test_queued_prompts_that_go_in_together_end_together() -> None:
    play = Play().idle()
    play.begin("n1")
    play.hook("UserPromptSubmit", prompt=envelope("n2"), prompt_id="p2")
    play.user(envelope("n1"))
    play.user(envelope("n2"))
    play.hook("Stop", last_assistant_message="both", background_tasks=[])
    play.said("both")
    play.duration()
    assert {nonce: ended.result for ended in play.ends() for nonce in ended.nonces} == {"n1": "both", "n2": "both"}


def test_a_paste_into_a_running_turn_is_seen_when_the_transcript_shows_it() -> None:
    """2.1.332 fires the hook at Enter; where text streams, the next turn has the message, and no hook says so."""
    play = Play().idle()
    play.begin("n1")
    play.user(envelope("n1"))
    assert play.hook("UserPromptSubmit", prompt=envelope("n2"), prompt_id="p-n1") == []
    assert play.tracker.has("n2") and not play.tracker.carries("n2")
    play.line("queue-operation", operation="enqueue", content=envelope("n2"))
    play.hook("Stop", last_assistant_message="first", background_tasks=[])
    assert [(ended.nonces, ended.result) for ended in play.ends()] == [(("n1",), "first")]
    play.file("busy")
    play.said("first")
    play.line("queue-operation", operation="dequeue")
    play.duration()
    assert play.user(envelope("n2")) == [Seen("n2", "transcript")]
    play.said("second")
    play.duration()
    assert [(ended.nonces, ended.result) for ended in play.ends()[1:]] == [(("n2",), "second")]


def test_a_prompt_that_the_transcript_shows_first_is_not_given_up_for_the_idle_time_before_it() -> None:
    """Hooks are off: what the state file says is older than the message, by however long the agent waited for it."""
    play = Play().idle()
    play.tick(600.0)
    assert play.user(envelope("n1")) == [Seen("n1", "transcript")]
    play.tick(0.1)
    assert play.tracker.silent() == () and play.ends() == []
    play.file("busy")
    play.tick(30.0)
    assert play.tracker.carries("n1") and play.ends() == []
    play.said("done")
    play.duration()
    play.file("idle")
    assert [(ended.outcome, ended.result) for ended in play.ends()] == [(Outcome.COMPLETED, "done")]


def test_the_transcript_may_be_quicker_than_the_hook() -> None:
    play = Play().idle()
    assert Seen("n1", "transcript") in play.user(envelope("n1"))
    begun = play.hook("UserPromptSubmit", prompt=envelope("n1"), prompt_id="p1")
    assert TurnStarted("p1", "hook:UserPromptSubmit", ("n1",)) in begun
    assert not [event for event in begun if isinstance(event, Seen)]


def test_a_busy_program_without_a_prompt_hook_has_a_turn_too() -> None:
    play = Play().idle()
    play.file("busy")
    assert play.tick(BUSY_GRACE_S / 2) == []
    (begun,) = play.tick(BUSY_GRACE_S)
    assert isinstance(begun, TurnStarted)
    assert begun.source == "state-file"
    play.file("idle")
    play.tick(IDLE_GRACE_S)
    assert [(ended.outcome, ended.nonces) for ended in play.ends()] == [(Outcome.COMPLETED, ())]


def test_clear_starts_another_session() -> None:
    play = Play().idle()
    play.session = "other"
    assert play.hook("SessionStart", source="clear") == [SessionStarted("other", "clear", None)]
    assert play.hook("SessionStart", source="compact") == []


def test_another_session_is_noticed_without_its_hook() -> None:
    play = Play().idle()
    play.session = "other"
    assert play.file("idle") == []
    assert play.tick(SESSION_GRACE_S) == [SessionStarted("other", "state-file")]
    assert play.tick(SESSION_GRACE_S) == []


def test_without_hooks_the_records_tell_everything() -> None:
    play = Play()
    play.file("idle")
    play.tick(SESSION_GRACE_S)
    play.file("busy")
    assert play.user(envelope("n1")) == [Seen("n1", "transcript")]
    play.said("done")
    play.duration()
    assert play.ends() == [TurnEnded(Outcome.COMPLETED, "transcript", ("n1",), "done", None)]
    play.file("idle")
    play.tick(10)
    assert len(play.ends()) == 1


def test_a_prompt_without_its_hook_is_overdue_and_a_steered_message_needs_none() -> None:
    play = Play()
    play.hook("SessionStart", source="startup")
    play.file("busy")
    play.line("attachment", attachment={"type": "queued_command", "prompt": envelope("n1")})
    assert not play.tracker.prompt_hooks.overdue(play.now + HOOK_S)
    play.user(envelope("n2"))
    assert play.tracker.prompt_hooks.overdue(play.now + HOOK_S)
    play.hook("UserPromptSubmit", prompt="a person's words")
    assert not play.tracker.prompt_hooks.missed


def test_a_prompt_whose_hook_is_quicker_than_its_line_is_not_overdue() -> None:
    play = Play()
    play.hook("UserPromptSubmit", prompt=envelope("n1"))
    play.user(envelope("n1"))
    assert not play.tracker.prompt_hooks.overdue(play.now + HOOK_S)


def test_an_adopted_program_goes_on_with_its_turn() -> None:
    play = Play(Tracker(adopted=True))
    play.tracker.recall([{"type": "user", "message": {"content": envelope("n1")}}], play.now)
    begun = play.file("busy")
    assert [event.nonces for event in begun if isinstance(event, TurnStarted)] == [("n1",)]
    play.hook("Stop", last_assistant_message="done", background_tasks=[])
    assert [(ended.nonces, ended.result) for ended in play.ends()] == [(("n1",), "done")]


def test_an_adopted_program_that_is_idle_gives_up_what_nothing_ended() -> None:
    play = Play(Tracker(adopted=True))
    play.tracker.recall([{"type": "user", "message": {"content": envelope("n1")}}], play.now)
    play.file("idle")
    play.tick(IDLE_GRACE_S)
    assert play.ends() == [TurnEnded(Outcome.FAILED, "state-file", ("n1",), None, NO_ANSWER)]


def test_what_an_earlier_runner_left_may_be_written_late() -> None:
    play = Play(Tracker(adopted=True))
    play.file("idle")
    play.now += 100
    play.tracker.recall([{"type": "user", "message": {"content": envelope("n1")}}], play.now)
    play.tick(RECALL_GRACE_S / 2)
    assert play.ends() == []
    play.said("done")
    play.duration()
    assert [(ended.outcome, ended.result) for ended in play.ends()] == [(Outcome.COMPLETED, "done")]
    play.tick(RECALL_GRACE_S)
    assert len(play.ends()) == 1


def test_a_final_answer_is_one_although_the_line_that_ends_its_turn_is_missing() -> None:
    final = {"message": {"content": [{"type": "text", "text": "done"}], "stop_reason": "end_turn"}}
    recalled = Play(Tracker(adopted=True))
    recalled.tracker.recall(
        [{"type": "user", "message": {"content": envelope("n1")}}, {"type": "assistant", **final}], recalled.now
    )
    lost_stop = Play().idle()
    lost_stop.begin()
    lost_stop.user(envelope("n1"))
    lost_stop.line("assistant", **final)
    for play in (recalled, lost_stop):
        play.file("idle")
        play.tick(RECALL_GRACE_S)
        assert play.ends() == [TurnEnded(Outcome.COMPLETED, "state-file", ("n1",), "done", None)]


def test_an_unknown_status_leaves_it_to_the_hooks() -> None:
    play = Play().idle()
    play.file("dreaming")
    assert play.tracker.state is ProcessState.IDLE
    play.hook("UserPromptSubmit", prompt=envelope("n1"), prompt_id="p1")
    assert play.tracker.state is ProcessState.BUSY


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("file"), st.sampled_from(["idle", "busy", "shell", "waiting"])),
        st.tuples(st.just("prompt"), st.sampled_from("abcde")),
        st.tuples(st.just("written"), st.sampled_from("abcde")),
        st.tuples(st.just("steered"), st.sampled_from("abcde")),
        st.tuples(st.just("stop"), st.booleans()),
        st.tuples(st.sampled_from(["failure", "interrupt", "said", "duration", "subagent", "subagent-end"]), st.none()),
        st.tuples(st.just("tick"), st.floats(0, 3)),
    ),
    max_size=40,
)


def perform(play: Play, step: str, value: Any) -> None:
    running = [{"id": "a1", "type": "subagent", "status": "running"}]
    match step:
        case "file":
            play.file(value, "permission prompt" if value == "waiting" else None)
        case "prompt":
            play.hook("UserPromptSubmit", prompt=envelope(value), prompt_id=str(play.now))
        case "written":
            play.user(envelope(value))
        case "steered":
            play.line("attachment", attachment={"type": "queued_command", "prompt": envelope(value)})
        case "stop":
            play.hook("Stop", last_assistant_message="x", background_tasks=running if value else [])
        case "failure":
            play.hook("StopFailure", error="server_error")
        case "interrupt":
            play.interrupted()
        case "said":
            play.said("x")
        case "duration":
            play.duration()
        case "subagent":
            play.hook("SubagentStart", agent_id="a1", agent_type="x")
        case "subagent-end":
            play.hook("SubagentStop", agent_id="a1", agent_type="x")
        case "tick":
            play.tick(value)


@settings(deadline=None)
@given(STEPS)
def test_nothing_sticks_and_nothing_ends_twice(steps: list[tuple[str, Any]]) -> None:
    play = Play().idle()
    for step, value in steps:
        perform(play, step, value)
    play.file("idle")
    play.tick(IDLE_GRACE_S)
    play.tick(IDLE_GRACE_S)
    assert play.tracker.state is ProcessState.IDLE
    assert play.tracker.turn is None
    seen = [event.nonce for event in play.events if isinstance(event, Seen)]
    ended = [nonce for event in play.ends() for nonce in event.nonces]
    assert len(seen) == len(set(seen))
    assert sorted(ended) == sorted(seen)
    states = [event.state for event in play.events if isinstance(event, StateChanged)]
    assert not states or states[-1] is ProcessState.IDLE


# --- what is lost -----------------------------------------------------------------------------------------------------


def test_a_killed_subagent_is_gone_when_the_stop_hook_does_not_name_it() -> None:
    play = Play().idle()
    play.begin()
    for id in ("a1", "a2"):
        play.hook("SubagentStart", agent_id=id, agent_type="scout")
    events = play.hook("Stop", background_tasks=[{"id": "a2", "type": "subagent", "status": "running"}])
    assert events == [
        SubagentEnded("a1", "hook:Stop"),
        StateChanged(ProcessState.BUSY, "hook:Stop", "background agent"),
    ]
    assert play.ends() == []


def test_without_hook_and_state_file_the_transcript_ends_the_turn() -> None:
    play = Play()
    play.hook("SessionStart", source="startup")
    play.hook("UserPromptSubmit", prompt=envelope("n1"), prompt_id="p1")
    play.now += 1
    play.user(envelope("n1"))
    play.said("done")
    assert play.tick(5.0) == []
    play.duration()
    play.tick(0.1)
    (ended,) = play.ends()
    assert (ended.outcome, ended.source, ended.result) == (Outcome.COMPLETED, "transcript", "done")
    assert play.tracker.state is ProcessState.IDLE


def test_an_operation_of_ours_is_named_while_it_lasts() -> None:
    play = Play().idle()
    play.tracker.doing = "compact"
    assert play.file("busy") == [StateChanged(ProcessState.BUSY, "state-file", "compact")]
    play.tracker.doing = None
    assert play.file("idle") == [StateChanged(ProcessState.IDLE, "state-file", None)]
