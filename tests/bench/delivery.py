"""How long from "the relay accepted it" to "the provider has it", beside the floor, measured in the same run.

The floor of one delivery is what nobody can do without: one round trip to the relay's WebSocket, the fsync of the
contract (the relay's `submitting`, on the disk before anything enters the provider), and the same channel driven by
hand to the same evidence. Deliveries and floors take turns, so that a noisy machine disturbs both alike.

Evidence: the demo agent's own transcript, and for Claude Code the arrival of the request at the model.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import websockets.asyncio.client

from relay_runner.protocol.calls import BUS
from relay_runner.protocol.control import ControlEndpoint
from relay_runner.protocol.frames import Hello
from relay_runner.protocol.messages import NewMessage, State
from relay_runner.protocol.tokens import TokenRequest
from relay_runner.protocol.wire import encode
from relay_runner.providers.base import LaunchSpec, ProcessState, Submission
from relay_runner.providers.demo import DemoProvider
from relay_runner.relay.http import HttpRelay
from relay_runner.terminal.base import Key, TerminalSpec
from relay_runner.terminal.tmux import TmuxTerminals
from tests.claude import Rig, claude_environ, claude_home, started
from tests.fake_models.anthropic import FakeAnthropic
from tests.harness import Home, home

ROUNDS = 30
PATIENCE_S = 30.0
Has = Callable[[str], float | None]
"""Returns the instant at which the provider had the text, None while it has not."""


@dataclass(frozen=True)
class Figures:
    """Medians in milliseconds."""

    provider: str
    channel: str
    accepted_to_evidence_ms: float
    floor_ms: float
    by_hand_ms: float
    round_trip_ms: float
    fsync_ms: float
    ratio: float
    p90_ratio: float
    rounds: int


def fsync_s(folder: Path) -> float:
    """Return how long one small durable write takes here."""
    with (folder / "fsync").open("ab") as file:
        begin = time.perf_counter()
        file.write(b"x" * 4096)
        file.flush()
        os.fsync(file.fileno())
        return time.perf_counter() - begin


async def _arrival(has: Has, mark: str, since: float) -> float:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if (at := has(mark)) is not None:
            return at - since
        await asyncio.sleep(0.001)
    raise TimeoutError(f"{mark} did not arrive within {PATIENCE_S:g} s")


async def _compare(
    provider: str,
    channel: str,
    relay: HttpRelay,
    place: Home,
    has: Has,
    by_hand: Callable[[str], Awaitable[None]],
    has_by_hand: Has,
    settled: Callable[[], Awaitable[None]],
    rounds: int,
) -> Figures:
    """Let deliveries and floors take turns."""
    ours, hand, trips, syncs = [], [], [], []
    url = json.loads((place.state / "relay.json").read_text())
    bus_url = "ws" + url["url"].removeprefix("http") + BUS
    async with websockets.asyncio.client.connect(
        bus_url, additional_headers={"Authorization": f"Bearer {url['operatorToken']}"}, compression=None
    ) as socket:
        hello = Hello(
            agent_id="probe", instance_id="probe", runner_id="probe", provider="probe", machine="here", version="0"
        )
        await socket.send(encode(hello).decode())
        await socket.recv()  # the welcome: the relay closes a bus without a hello
        for number in range(rounds + 3):
            record = await relay.send(NewMessage(to="bench", body=f"echo round {number}"))
            accepted = time.time()
            took = await _arrival(has, f'<relay-message id="{record.message.id}" ', accepted)
            await _done(relay, record.message.id)
            mark = f"by hand {number} {os.urandom(4).hex()}"
            await settled()
            begin = time.time()
            await by_hand(mark)
            hand_took = await _arrival(has_by_hand, mark, begin)
            begin_trip = time.perf_counter()
            await (await socket.ping())
            trip = time.perf_counter() - begin_trip
            if number >= 3:  # the first rounds warm everything up
                ours.append(took)
                hand.append(hand_took)
                trips.append(trip)
                syncs.append(fsync_s(place.root))
            await asyncio.sleep(0.3)
    floors = [a + b + c for a, b, c in zip(hand, trips, syncs, strict=True)]
    return Figures(
        provider=provider,
        channel=channel,
        accepted_to_evidence_ms=_ms(ours),
        floor_ms=_ms(floors),
        by_hand_ms=_ms(hand),
        round_trip_ms=_ms(trips),
        fsync_ms=_ms(syncs),
        ratio=round(statistics.median(ours) / statistics.median(floors), 2),
        p90_ratio=round(_p90(ours) / _p90(floors), 2),
        rounds=rounds,
    )


async def _nothing() -> None:
    """The demo agent answers at once."""


async def _done(relay: HttpRelay, id: int) -> None:
    async with asyncio.timeout(30):
        async for record in relay.watch(id):
            if record.deliveries[0].state is State.DONE:
                return


def _ms(seconds: list[float]) -> float:
    return round(statistics.median(seconds) * 1000, 2)


def _p90(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=10)[-1]


# --- demo -------------------------------------------------------------------------------------------------------------


def _transcripts(folder: Path) -> Has:
    """Return when a demo agent wrote a text down."""

    def has(mark: str) -> float | None:
        quoted = json.dumps(mark, ensure_ascii=False)[1:-1]
        for file in folder.glob("*.jsonl"):
            for line in file.read_text(encoding="utf-8").splitlines():
                if quoted in line:
                    return float(json.loads(line)["at"])
        return None

    return has


async def demo(rounds: int) -> Figures:
    """Measure the demo agent: bracketed paste and Enter in tmux."""
    with tempfile.TemporaryDirectory(prefix="rrb") as folder, home(Path(folder)) as place:
        place.start("bench", "demo")
        by_hand = Path(folder) / "by-hand"
        for name in ("agent", "run", "sockets"):
            (by_hand / name).mkdir(parents=True, mode=0o700)
        endpoint = ControlEndpoint(url="", port=0, secret="", provider_session_id="x")
        spec = LaunchSpec(
            agent_id="hand", runner_id="hand", cwd=by_hand, agent_dir=by_hand / "agent", control=endpoint,
            environ=place.environ,
        )  # fmt: skip
        plan = DemoProvider().plan(spec)
        terminals = TmuxTerminals(by_hand / "sockets")
        terminal = await terminals.open(
            TerminalSpec(argv=plan.argv, env=plan.env, cwd=plan.cwd, run_dir=by_hand / "run", name="hand")
        )
        try:
            async with _operator(place) as relay:
                return await _compare(
                    "demo", "paste", relay, place, _transcripts(place.state / "agents" / "bench" / "demo"),
                    lambda mark: terminal.paste(mark, then=Key.ENTER), _transcripts(by_hand / "agent" / "demo"),
                    _nothing, rounds,
                )  # fmt: skip
        finally:
            await terminal.terminate(grace_s=1.0)
            await terminal.close()


@contextlib.asynccontextmanager
async def _operator(place: Home) -> AsyncIterator[HttpRelay]:
    file = json.loads((place.state / "relay.json").read_text())
    async with HttpRelay.at(file["url"], file["operatorToken"]) as relay:
        yield relay


# --- Claude Code ------------------------------------------------------------------------------------------------------


def _requests(model: FakeAnthropic) -> Has:
    """Return when a text reached the model for the first time."""

    def has(mark: str) -> float | None:
        for request in model.requests[-3:]:
            if any(mark in prompt for prompt in request.prompts()):
                return request.at
        return None

    return has


async def claude(rounds: int, *, operator: bool) -> Figures:
    """Measure Claude Code: the background wake-up for a peer's message, the paste for an operator's."""
    with (
        tempfile.TemporaryDirectory(prefix="rrb") as folder,
        FakeAnthropic() as model,
        FakeAnthropic() as hand_model,
        home(Path(folder), claude_environ(claude_home(Path(folder) / "user"), model)) as place,
    ):
        place.start("bench", "claude", "--trust-folder")
        root = Path(folder) / "hand"
        (root / "sockets").mkdir(parents=True, mode=0o700)
        async with started(root, TmuxTerminals(root / "sockets"), hand_model) as rig, _operator(place) as relay:
            sender = relay if operator else HttpRelay.at(*(await _peer(place, relay)))
            async with sender if sender is not relay else contextlib.nullcontext(sender):
                return await _compare(
                    "claude", "paste" if operator else "rewake", sender, place, _requests(model),
                    lambda mark: _hand_over(rig, mark, operator), _requests(hand_model),
                    lambda: rig.reach(ProcessState.IDLE), rounds,
                )  # fmt: skip


async def _peer(place: Home, relay: HttpRelay) -> tuple[str, str]:
    """Return the relay as another agent has it."""
    grant = await relay.issue_token(TokenRequest(subject="agent:peer", scopes=("agent:peer", "send")))
    return json.loads((place.state / "relay.json").read_text())["url"], grant.token


async def _hand_over(rig: Rig, mark: str, operator: bool) -> None:
    """Drive the channel without relay, journal or runner."""
    submission: Submission = rig.message(mark, operator=operator)
    await rig.submit(submission)


def measure(rounds: int = ROUNDS) -> list[Figures]:
    """Measure everything that is installed."""
    return [
        asyncio.run(demo(rounds)),
        asyncio.run(claude(rounds, operator=False)),
        asyncio.run(claude(rounds, operator=True)),
    ]
