"""What fails behind the real Codex: the kind that the sender is told, and the limit that the runner waits for."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay_runner.protocol.messages import Outcome
from relay_runner.protocol.usage import Usage
from relay_runner.providers.base import StateChanged, TurnEnded
from tests.codex import CONFIG
from tests.contract.providers import Rig, adopt, codex_rig, connected, launch, running
from tests.terminals import sockets as sockets

pytestmark = [pytest.mark.anyio, pytest.mark.codex]

RESET = 2_000_000_000


def headers(**values: str) -> str:
    return "HEADERS:" + json.dumps({name.replace("_", "-"): value for name, value in values.items()})


def error(**values: object) -> str:
    return "ERROR:" + json.dumps(values)


WINDOWS = headers(
    x_codex_primary_used_percent="100", x_codex_primary_window_minutes="300", x_codex_primary_reset_at=str(RESET),
    x_codex_secondary_used_percent="40", x_codex_secondary_window_minutes="10080",
    x_codex_secondary_reset_at=str(RESET + 9000),
)  # fmt: skip
USAGE_LIMIT = error(type="usage_limit_reached", resets_at=RESET, plan_type="plus")


@pytest.fixture
async def rig(tmp_path: Path, sockets: Path) -> AsyncIterator[Rig]:
    async with codex_rig(tmp_path, sockets) as opened:
        yield opened


@pytest.mark.parametrize(
    ("order", "kind", "retries"),
    [
        ("FAIL:400", "failed", False),
        (f"{error(code='model_not_found')}\nFAIL:404", "failed", False),
        ("FAIL:401", "auth-failed", True),
        ("FAIL:500", "failed", True),
        ("BREAK:context_length_exceeded", "context-window", False),
        ("BREAK:something_else", "failed", True),
        ("DROP", "failed", True),
    ],
)
async def test_a_failure_has_its_kind_its_retries_are_progress_and_the_next_message_goes_in(
    rig: Rig, order: str, kind: str, retries: bool
) -> None:
    async with running(rig) as it:
        ended = await it.ended(await it.deliver(order))
        assert (ended.outcome, ended.limit, ended.result) == (Outcome.FAILED, None, None)
        assert str(ended.reason).startswith(f"{kind}: ") and "\n" not in str(ended.reason)
        told = [event for event in it.events if isinstance(event, StateChanged) and event.source == "error"]
        assert bool(told) is retries and all(event.detail for event in told)
        assert (await it.ended(await it.deliver("SAY:fine"))).result == "fine"


@pytest.mark.parametrize(
    ("order", "until"),
    [
        ("FAIL:429", None),
        (f"{headers(Retry_After='1')}\nFAIL:429", None),
        (f"{error(code='server_is_overloaded')}\nFAIL:503", None),
        ("BREAK:server_is_overloaded", None),
        (f"{WINDOWS}\n{USAGE_LIMIT}\nFAIL:429", RESET),
        (f"{USAGE_LIMIT}\nFAIL:429", RESET),
        (f"{error(code='insufficient_quota', type='insufficient_quota')}\nFAIL:429", None),
        ("BREAK:insufficient_quota", None),
        (f"{error(message='Rate limit reached. Please try again in 0.2s.')}\nBREAK:rate_limit_exceeded", 0.2),
    ],
)
async def test_a_limit_is_told_with_its_end_where_there_is_one(rig: Rig, order: str, until: float | None) -> None:
    async with running(rig) as it:
        begun_at = time.time()
        one = await it.deliver(order)
        ended = await it.ended(one)
        assert ended.outcome is Outcome.FAILED and str(ended.reason).startswith(("rate-limited: ", "overloaded: "))
        assert ended.limit is not None
        if until is None:
            assert ended.limit.until is None
        elif until == RESET:
            # Without the window's own word, only the minute is told.
            assert ended.limit.until is not None and abs(ended.limit.until - RESET) < 60
        else:
            assert ended.limit.until is not None and begun_at < ended.limit.until < time.time() + until + 1
        found = await it.process.find(one.nonce)
        assert found.limit is not None and (found.limit.until is None) is (until is None)


async def test_a_retry_that_the_server_asked_for_is_waited_for(rig: Rig) -> None:
    async with running(rig) as it:
        ended = await it.ended(await it.deliver(f"{headers(Retry_After='1')}\nFAIL:429:1\nSAY:at the second try"))
        assert (ended.outcome, ended.result) == (Outcome.COMPLETED, "at the second try")
        assert [event for event in it.events if isinstance(event, StateChanged) and event.source == "error"]


async def test_a_turn_says_what_it_used_and_a_failed_one_too(rig: Rig) -> None:
    async with running(rig, approval_mode="bypass") as it:
        one = Usage(input_tokens=1000, cached_tokens=500, output_tokens=10)
        assert (await it.ended(await it.deliver("SAY:one request"))).usage == one
        two = await it.deliver("RUN:true\nSAY:two requests")
        ended = await it.ended(two)
        assert ended.usage is not None and ended.usage.tokens == 2 * 1010
        assert (await it.process.find(two.nonce)).usage == ended.usage, "its records say the same"
        await it.ended(await it.deliver("FAIL:429"))
        assert (await it.ended(await it.deliver("SAY:one more"))).usage == one
        assert sum(isinstance(event, TurnEnded) for event in it.events) == 4


async def test_what_was_used_before_this_runner_came_is_not_charged_again_and_nothing_after_is_missed(rig: Rig) -> None:
    one = Usage(input_tokens=1000, cached_tokens=500, output_tokens=10)
    launched = await launch(rig)
    async with connected(rig, launched) as it:
        assert (await it.ended(await it.deliver("SAY:before"))).usage == one
    async with connected(rig, await adopt(rig, launched), adopted=True) as it:
        assert (await it.ended(await it.deliver("SAY:after"))).usage == one


async def test_a_model_that_nobody_can_reach_is_given_up_after_our_own_time(rig: Rig, tmp_path: Path) -> None:
    config = tmp_path / "home" / ".codex" / "config.toml"
    config.write_text(CONFIG.format(url="http://127.0.0.1:9/v1"))
    async with running(rig, unreachable_s=1.0) as it:
        ended = await it.ended(await it.deliver("SAY:never"))
        assert (ended.outcome, ended.limit) == (Outcome.FAILED, None)
        assert str(ended.reason).startswith("timeout: ") and "given up after 1 s" in str(ended.reason)


async def test_a_secret_that_is_not_there_blocks_the_turn(rig: Rig) -> None:
    args = ("-c", 'model_providers.fake.env_key="NOPE_KEY"')
    async with running(rig, args=args) as it:
        ended = await it.ended(await it.deliver("SAY:never"))
        assert ended.outcome is Outcome.BLOCKED
        assert str(ended.reason).startswith("secret-unavailable: ") and "NOPE_KEY" in str(ended.reason)
