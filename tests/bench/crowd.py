"""Two hundred demo agents under one relay, sending to each other: how much gets through, and that nothing is lost.

Every agent sends as its own tools do, through its runner's control server, to another one by chance, and sends the next
when that one's turn is over. Afterwards each message is looked for in the transcript of the agent it was for: once, in
a turn that was completed.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from relay_runner.protocol.messages import MessageQuery, Outcome, State
from relay_runner.relay.http import HttpRelay
from tests.bench.idle import memory_mib
from tests.harness import Home, home, until

AGENTS = 200
SECONDS = 60.0
AT_ONCE = 6
START_S = 600.0
DRAIN_S = 180.0


@dataclass(frozen=True)
class Figures:
    """One minute of a crowd; times in milliseconds from accepted to the end of the turn."""

    agents: int
    seconds: float
    sent: int
    per_second: float
    lost: int
    twice: int
    p50_ms: float
    p99_ms: float
    relay_rss_mib: float
    runner_pss_mib: float
    started_in_s: float


class Sender:
    """What one agent's tools do: send to another one, and wait for the end of its turn."""

    def __init__(self, place: Home, agent: str, client: httpx.AsyncClient) -> None:
        control = place.file(agent, "control.json")
        self.agent = agent
        self._client = client
        self._url = f"{control['url']}/api/v1/messages"
        self._headers = {"Authorization": f"Bearer {control['secret']}"}

    async def send(self, to: str, text: str) -> int:
        """Return the number of the message."""
        answer = await self._client.post(self._url, json={"to": to, "body": text}, headers=self._headers)
        answer.raise_for_status()
        return int(answer.json()["message"]["id"])


class Ends:
    """Which deliveries are over, as the relay tells it."""

    def __init__(self) -> None:
        self._over: dict[int, asyncio.Event] = {}

    def of(self, message_id: int) -> asyncio.Event:
        """Return what is set when the message is over; its end may be told before its sender knows its number."""
        return self._over.setdefault(message_id, asyncio.Event())

    async def follow(self, relay: HttpRelay) -> None:
        """Take the relay's events, for ever."""
        async for event in relay.events():
            if event.type == "delivery" and event.data.get("state") in (State.DONE, State.DEAD, State.UNKNOWN):
                self.of(event.data["messageId"]).set()


async def _crowd(place: Home, agents: list[str], seconds: float) -> tuple[list[int], list[float]]:
    """Let everybody send for so long; return the messages, and how long each took."""
    ends, took, sent = Ends(), [], []
    deadline = time.monotonic() + seconds

    async def talk(sender: Sender) -> None:
        others = [agent for agent in agents if agent != sender.agent]
        while time.monotonic() < deadline:
            begin = time.perf_counter()
            message_id = await sender.send(random.choice(others), f"echo from {sender.agent}")
            sent.append(message_id)
            async with asyncio.timeout(DRAIN_S):
                await ends.of(message_id).wait()
            took.append(time.perf_counter() - begin)

    # A connection each, as a command inside an agent has: an idle one could be closed by its server just then.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with (
        _operator(place) as relay,
        httpx.AsyncClient(limits=limits, timeout=60) as client,
        asyncio.TaskGroup() as group,
    ):
        following = group.create_task(ends.follow(relay))
        await asyncio.gather(*(talk(Sender(place, agent, client)) for agent in agents))
        following.cancel()
    return sent, took


async def _unfinished(place: Home, sent: list[int]) -> int:
    """Return how many messages did not end in a completed turn."""
    bad, after = 0, min(sent) - 1
    async with _operator(place) as relay:
        while records := await relay.messages(MessageQuery(after=after, oldest_first=True, limit=500)):
            bad += sum(any(one.outcome is not Outcome.COMPLETED for one in record.deliveries) for record in records)
            after = records[-1].message.id
    return bad


def _entered(place: Home, agents: list[str]) -> Counter[int]:
    """Return how often each message stands in a transcript as a prompt."""
    found: Counter[int] = Counter()
    for agent in agents:
        for file in (place.state / "agents" / agent / "demo").glob("*.jsonl"):
            for line in file.read_text(encoding="utf-8").splitlines():
                entry = json.loads(line)
                if entry.get("type") == "prompt":
                    found[int(entry["text"].split('id="')[1].split('"')[0])] += 1
    return found


@asynccontextmanager
async def _operator(place: Home) -> AsyncIterator[HttpRelay]:
    file = json.loads((place.state / "relay.json").read_text())
    async with HttpRelay.at(file["url"], file["operatorToken"]) as relay:
        yield relay


def _start(place: Home, agents: list[str]) -> None:
    """Start them all, a few at a time."""
    for number, agent in enumerate(agents):
        place.start(agent, "demo", wait=False)
        if number >= AT_ONCE:
            _ready(place, agents[number - AT_ONCE])
    for agent in agents[-AT_ONCE:]:
        _ready(place, agent)


def _ready(place: Home, agent: str) -> None:
    until(f"{agent} is ready", lambda: place.agent(agent).get("ready"), patience_s=START_S)


def measure(agents: int = AGENTS, seconds: float = SECONDS) -> Figures:
    """Start the crowd, let it talk, and count."""
    names = [f"agent-{number:03}" for number in range(agents)]
    with tempfile.TemporaryDirectory(prefix="rrb") as folder, home(Path(folder)) as place:
        begin = time.monotonic()
        _start(place, names)
        started_in_s = time.monotonic() - begin
        begin = time.monotonic()
        sent, took = asyncio.run(_crowd(place, names, seconds))
        lasted_s = time.monotonic() - begin
        entered = _entered(place, names)
        return Figures(
            agents=agents,
            seconds=round(lasted_s, 1),
            sent=len(sent),
            per_second=round(len(sent) / lasted_s, 1),
            lost=max(sum(entered[id] == 0 for id in sent), asyncio.run(_unfinished(place, sent))),
            twice=sum(entered[id] > 1 for id in sent),
            p50_ms=round(statistics.median(took) * 1000),
            p99_ms=round(statistics.quantiles(took, n=100, method="inclusive")[-1] * 1000),
            relay_rss_mib=memory_mib(place.relay_pid(), "Rss"),
            runner_pss_mib=statistics.median(memory_mib(place.runner_pid(name), "Pss") for name in names),
            started_in_s=round(started_in_s, 1),
        )
