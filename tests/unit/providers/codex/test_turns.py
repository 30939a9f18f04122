from __future__ import annotations

from typing import Any

from relay_runner.protocol.messages import Outcome
from relay_runner.protocol.usage import Usage
from relay_runner.providers.base import (
    ContextUsed,
    Limit,
    ProcessState,
    Seen,
    StateChanged,
    SubagentEnded,
    SubagentStarted,
    TurnEnded,
    TurnStarted,
)
from relay_runner.providers.codex.status import NO_END_S, QUIET_S
from relay_runner.providers.codex.turns import Tracker

UNREACHABLE_S = 120.0
IDLE = {"type": "idle"}
ACTIVE: dict[str, Any] = {"type": "active", "activeFlags": []}
ASKING = {"type": "active", "activeFlags": ["waitingOnApproval"]}


class Thread:
    """A tracker with a clock, and the events of the last call by type."""

    def __init__(self, status: dict[str, Any] = IDLE, turns: list[dict[str, Any]] | None = None) -> None:
        self.now = 1000.0
        self.tracker = Tracker(UNREACHABLE_S)
        self.first = self.tracker.joined({"status": status}, turns or [], self.now)

    def __call__(self, method: str, **params: Any) -> list[Any]:
        return list(self.tracker.notice(method, params, self.now))

    def status(self, status: dict[str, Any]) -> list[Any]:
        return self("thread/status/changed", status=status)

    def begins(self, id: str = "t1") -> list[Any]:
        return self("turn/started", turn={"id": id})

    def prompt(self, nonce: str | None, id: str = "t1") -> list[Any]:
        item = {"type": "userMessage", "clientId": nonce}
        return [*self("item/started", item=item, turnId=id), *self("item/completed", item=item, turnId=id)]

    def says(self, text: str, id: str = "t1") -> list[Any]:
        return self("item/completed", item={"type": "agentMessage", "text": text}, turnId=id)

    def ends(self, status: str = "completed", id: str = "t1", **more: Any) -> list[Any]:
        return self("turn/completed", turn={"id": id, "status": status, "items": [], **more})


def listed(status: str, nonce: str = "n1", text: str = "listed") -> dict[str, Any]:
    items = [{"type": "userMessage", "clientId": nonce}, {"type": "agentMessage", "text": text}]
    return {"id": "t1", "status": status, "items": items, "error": None}


def test_a_plain_turn() -> None:
    thread = Thread()
    assert thread.first == [StateChanged(ProcessState.IDLE, "thread")]
    assert thread.status(ACTIVE) == [StateChanged(ProcessState.BUSY, "thread/status/changed")]
    assert thread.begins() == [TurnStarted("t1", "turn/started")]
    assert thread.prompt("n1") == [Seen("n1", "item:userMessage")]
    assert thread.tracker.carries("n1")
    assert thread.says("hello") == []
    assert thread.status(IDLE) == [], "idle is told before the turn's end"
    assert thread.ends() == [
        TurnEnded(Outcome.COMPLETED, "turn/completed", ("n1",), "hello"),
        StateChanged(ProcessState.IDLE, "turn/completed"),
    ]


def test_our_own_start_makes_it_busy_at_once_and_never_after_its_end() -> None:
    thread = Thread()
    kinds = [type(event) for event in thread.tracker.started("t1")]
    assert kinds == [TurnStarted, StateChanged] and thread.tracker.state is ProcessState.BUSY
    assert thread.begins() == []
    thread.ends()
    assert thread.tracker.started("t1") == [], "the answer was slower than the turn"
    assert thread.tracker.state is ProcessState.IDLE


def test_what_is_steered_belongs_to_the_turn() -> None:
    thread = Thread()
    thread.begins()
    thread.prompt("n1")
    thread.says("first")
    thread.prompt("n2")
    thread.says("second")
    (ended, _) = thread.ends()
    assert (ended.nonces, ended.result) == (("n1", "n2"), "second")


def test_a_person_s_turn_carries_none_of_ours() -> None:
    thread = Thread()
    thread.begins()
    assert thread.prompt(None) == []
    (ended, _) = thread.ends("interrupted")
    assert (ended.nonces, ended.outcome, ended.result) == ((), Outcome.INTERRUPTED, None)


def test_an_open_question_is_waiting() -> None:
    thread = Thread()
    thread.begins()
    assert thread.status(ASKING) == [StateChanged(ProcessState.WAITING, "thread/status/changed", "waitingOnApproval")]
    assert thread.status(ACTIVE) == [StateChanged(ProcessState.BUSY, "thread/status/changed")]


def test_a_failed_turn_says_the_structured_error_that_came_before() -> None:
    thread = Thread()
    thread.begins()
    thread.prompt("n1")
    error = {"message": "limit", "codexErrorInfo": "usageLimitExceeded"}
    thread("error", error=error, willRetry=False)
    (ended, _) = thread.ends("failed", error=None)
    assert (ended.outcome, ended.reason) == (Outcome.FAILED, "rate-limited: limit")


def test_a_retry_is_progress_until_it_lasts_too_long() -> None:
    thread = Thread()
    thread.begins()
    error = {"message": "Reconnecting... waiting for network", "codexErrorInfo": "other"}
    (told,) = thread("error", error=error, willRetry=True)
    assert (told.source, told.detail) == ("error", error["message"])
    thread.now += UNREACHABLE_S - 1
    thread("error", error=error, willRetry=True)
    assert thread.tracker.hopeless(thread.now) is None
    assert thread.tracker.hopeless(thread.now + 2) is not None
    assert thread.tracker.hopeless(thread.now + 3) is None, "given up once"
    (ended, _) = thread.ends("interrupted")
    assert ended.outcome is Outcome.FAILED and ended.limit is None
    assert ended.reason.startswith("timeout: ") and ended.reason.endswith("(given up after 120 s)")


def test_anything_that_happens_ends_the_trouble() -> None:
    thread = Thread()
    thread.begins()
    thread("error", error={"message": "again"}, willRetry=True)
    thread("item/agentMessage/delta", turnId="t1", delta="x")
    assert thread.tracker.hopeless(thread.now + 2 * UNREACHABLE_S) is None


def test_an_end_that_was_lost_is_found_among_the_listed_turns() -> None:
    thread = Thread()
    thread.begins()
    thread.prompt("n1")
    thread.status(IDLE)
    assert thread.tracker.lost_end(thread.now + NO_END_S / 2) is None
    assert thread.tracker.lost_end(thread.now + NO_END_S) is not None
    (ended, _) = thread.tracker.recover([listed("completed")])
    assert ended == TurnEnded(Outcome.COMPLETED, "thread", ("n1",), "listed")
    assert thread.ends() == [], "and what comes late changes nothing"


def test_a_turn_that_nobody_lists_any_more_was_interrupted() -> None:
    thread = Thread()
    thread.begins()
    thread.status(IDLE)
    (ended, _) = thread.tracker.recover([])
    assert ended.outcome is Outcome.INTERRUPTED


def test_joining_in_the_middle_of_a_turn() -> None:
    thread = Thread(ACTIVE, [listed("inProgress", text="so far")])
    assert thread.first == [
        TurnStarted("t1", "thread", ("n1",)),
        StateChanged(ProcessState.BUSY, "thread"),
    ]
    assert thread.prompt("n1") == [], "seen once"
    thread.status(IDLE)
    (ended, _) = thread.ends()
    assert (ended.nonces, ended.result) == (("n1",), "so far")


def test_joining_after_a_turn_says_nothing_of_it() -> None:
    assert Thread(IDLE, [listed("completed")]).first == [StateChanged(ProcessState.IDLE, "thread")]


def test_joining_again_ends_the_turn_that_ended_meanwhile() -> None:
    thread = Thread()
    thread.begins()
    thread.prompt("n1")
    told = thread.tracker.joined({"status": IDLE}, [listed("completed")], thread.now)
    assert told[0] == TurnEnded(Outcome.COMPLETED, "thread", ("n1",), "listed")


def test_what_happens_while_it_joins_is_newer_than_the_answer() -> None:
    thread = Thread(ACTIVE, [listed("inProgress")])
    thread.tracker.status.joining()
    thread.status(IDLE)
    thread.ends()
    told = thread.tracker.joined({"status": ACTIVE}, [listed("inProgress")], thread.now)
    assert told == [] and thread.tracker.state is ProcessState.IDLE
    thread.tracker.status.joining()
    thread.tracker.joined({"status": ACTIVE}, [], thread.now)
    assert thread.tracker.state is ProcessState.BUSY


def test_a_reviews_inner_turn_neither_begins_nor_ends_ours() -> None:
    thread = Thread()
    thread.begins()
    thread.prompt("n1")
    assert thread.begins("inner") == []
    assert thread.ends(id="inner") == []
    assert thread.tracker.carries("n1")
    other = Thread()
    other.begins("inner")
    (ended, _) = other.ends(id="outer")
    assert ended.outcome is Outcome.COMPLETED


def test_a_thread_that_was_put_away_must_be_resumed() -> None:
    thread = Thread()
    thread("thread/closed")
    assert thread.tracker.status.unloaded
    thread.tracker.joined({"status": IDLE}, [], thread.now)
    assert not thread.tracker.status.unloaded


def test_a_busy_thread_that_says_nothing_is_looked_at() -> None:
    thread = Thread()
    assert not thread.tracker.quiet(thread.now + QUIET_S), "an idle one may be as quiet as it likes"
    thread.status(ACTIVE)
    thread.begins()
    assert not thread.tracker.quiet(thread.now + QUIET_S - 1)
    thread.now += QUIET_S
    assert thread.tracker.quiet(thread.now)
    assert thread.tracker.looked_at({"status": ACTIVE}, thread.now) == [], "it does work"
    assert not thread.tracker.quiet(thread.now + QUIET_S - 1)
    thread.now += QUIET_S
    assert thread.tracker.looked_at({"status": IDLE}, thread.now) == []
    assert thread.tracker.lost_end(thread.now + NO_END_S) is not None
    assert thread.tracker.looked_at(None, thread.now) == [] and thread.tracker.status.unloaded


def test_a_turn_ends_with_its_sub_agents() -> None:
    thread = Thread()
    thread.status(ACTIVE)
    thread.begins()
    thread.prompt("n1")
    spawned = {"type": "subAgentActivity", "kind": "started", "agentThreadId": "a", "agentPath": "/root/a"}
    assert thread("item/started", item=spawned, turnId="t1") == [
        SubagentStarted("a", "subAgentActivity", label="a"),
    ]
    thread.tracker.elsewhere("a", "thread/status/changed", {"status": ASKING}, thread.now)
    assert thread.tracker.waiting and thread.tracker.state is ProcessState.WAITING
    thread.status(IDLE)
    assert thread.ends() == []
    assert thread.tracker.carries("n1") and thread.tracker.only_agents
    assert thread.tracker.elsewhere("a", "thread/status/changed", {"status": IDLE}, thread.now) == [
        SubagentEnded("a", "thread/status/changed"),
        TurnEnded(Outcome.COMPLETED, "turn/completed", ("n1",)),
        StateChanged(ProcessState.IDLE, "thread/status/changed"),
    ]


def test_how_full_the_context_is() -> None:
    usage = {"last": {"totalTokens": 1010}, "modelContextWindow": 258400}
    (told,) = Thread()("thread/tokenUsage/updated", tokenUsage=usage)
    assert isinstance(told, ContextUsed)
    context = told.context
    assert (context.tokens, context.window, context.utilisation) == (1010, 258400, 0.0039)
    assert (context.source, context.confidence) == ("api", "exact")


LIMITED = {"message": "usage limit, try again at Nov 21st, 2026 12:02 AM.", "codexErrorInfo": "usageLimitExceeded"}


def tokens(total: int) -> dict[str, Any]:
    return {"tokenUsage": {"total": {"inputTokens": total, "cachedInputTokens": 0, "outputTokens": 1}}}


def test_a_limit_ends_when_its_window_does_or_when_the_words_say() -> None:
    thread = Thread()
    window = {"usedPercent": 100, "resetsAt": 5000, "windowDurationMins": 300}
    thread.tracker.account("account/rateLimits/updated", {"rateLimits": {"limitId": "codex", "primary": window}})
    thread.begins()
    thread.prompt("n1")
    (ended, _) = thread.ends("failed", error=LIMITED)
    assert ended.limit == Limit(LIMITED["message"], 5000.0)
    thread.now = 6000.0
    thread.begins("t2")
    (ended, _) = thread.ends("failed", "t2", error=LIMITED)
    assert ended.limit is not None and ended.limit.until is not None and ended.limit.until > 1_795_000_000


def test_a_structured_error_outlives_a_generic_end_but_not_what_happened_since() -> None:
    generic = {"message": "stream disconnected", "codexErrorInfo": "other"}
    thread = Thread()
    thread.begins()
    thread("error", error=LIMITED, willRetry=True)
    thread("error", error=generic, willRetry=False)
    (ended, _) = thread.ends("failed", error=generic)
    assert ended.limit is not None and ended.reason.startswith("rate-limited: ")
    thread.begins("t2")
    thread("error", error=LIMITED, willRetry=True)
    thread.says("it goes on", "t2")
    (ended, _) = thread.ends("failed", "t2", error=generic)
    assert (ended.limit, ended.reason) == (None, "failed: stream disconnected")


def test_a_program_that_died_after_it_told_the_error_left_that_reason() -> None:
    thread = Thread()
    thread.begins()
    thread.prompt("n1")
    assert thread.tracker.trouble("n1", thread.now) is None
    thread("error", error=LIMITED, willRetry=False)
    found = thread.tracker.trouble("n1", thread.now)
    assert found is not None and found.outcome is Outcome.FAILED and found.limit is not None
    assert thread.tracker.trouble("n2", thread.now) is None


def test_a_missing_secret_blocks_the_turn() -> None:
    thread = Thread()
    thread.begins()
    (ended, _) = thread.ends(
        "failed", error={"message": "Missing environment variable: `K`.", "codexErrorInfo": "other"}
    )
    assert (ended.outcome, ended.limit) == (Outcome.BLOCKED, None)
    assert ended.reason.startswith("secret-unavailable: ")


def test_a_limit_that_is_being_retried_is_not_given_up() -> None:
    thread = Thread()
    thread.begins()
    thread("error", error=LIMITED, willRetry=True)
    assert thread.tracker.hopeless(thread.now + 10 * UNREACHABLE_S) is None
    thread("error", error={"message": "waiting for network", "codexErrorInfo": "other"}, willRetry=True)
    assert thread.tracker.hopeless(thread.now + 10 * UNREACHABLE_S) is not None, "the network went away meanwhile"


def test_each_turn_says_what_it_used() -> None:
    thread = Thread()
    thread.begins()
    thread("thread/tokenUsage/updated", **tokens(100))
    thread("thread/tokenUsage/updated", **tokens(100))
    (ended, _) = thread.ends()
    assert ended.usage == Usage(input_tokens=100, cached_tokens=0, output_tokens=1)
    thread.begins("t2")
    thread("thread/tokenUsage/updated", **tokens(150))
    (ended, _) = thread.ends("failed", "t2", error=LIMITED)
    assert ended.usage == Usage(input_tokens=50, cached_tokens=0, output_tokens=0)


def test_what_was_used_before_this_runner_came_is_not_counted_again() -> None:
    thread = Thread(turns=[listed("completed")])
    thread("thread/tokenUsage/updated", **tokens(1000))
    thread.begins("t2")
    thread("thread/tokenUsage/updated", **tokens(1010))
    (ended, _) = thread.ends(id="t2")
    assert ended.usage == Usage(input_tokens=10, cached_tokens=0, output_tokens=0)
