"""Promise: start of a session: the first prompt goes in once per session, whoever is killed when."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay_runner.errors import RelayRefused, RelayUnauthorized, RelayUnavailable
from relay_runner.protocol.messages import Delivery, Message, MessageQuery, MessageRecord, NewMessage
from relay_runner.protocol.wire import decode, encode
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner.journal import Journal
from relay_runner.runner.prompt import PREFIX, FirstPrompt, Noted
from tests.contract.relays import hello

pytestmark = pytest.mark.anyio


class Killed(BaseException):
    """kill -9, here and now."""


class Place:
    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.person = MemoryRelay()
        self.person.hub.join(hello("bob"), asyncio.Queue())
        self.told: list[str] = []
        self.errors: list[Exception] = []
        self.die: str | None = None
        self.offered: list[Message] = []

    async def say(self, new: NewMessage) -> MessageRecord:
        if self.errors:
            raise self.errors.pop(0)
        if self.die == "before the post":
            raise Killed
        record = await self.person.send(new)
        if self.die == "after the post":
            raise Killed
        return record

    async def sent(self) -> list[str]:
        records = await self.person.messages(MessageQuery(oldest_first=True))
        return [record.message.body for record in records]

    def prompt(self, text: str | None = "begin", *, say: bool = True) -> FirstPrompt:
        return FirstPrompt(
            self.journal, "bob", text, say=self.say if say else None, offer=self._take, tell=self.told.append
        )

    def _take(self, message: Message, delivery: Delivery) -> None:
        self.offered.append(message)
        self.journal.begin(message, delivery.attempt, "p1", 1.0)

    async def lives(self, text: str | None = "begin", session: str = "s1", *, say: bool = True) -> None:
        """Start, until there is nothing more to send."""
        prompt = self.prompt(text, say=say)
        prompt.ready(session)
        prompt.ready("another, after a clear")
        await asyncio.wait_for(prompt.send(), 10)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Journal(tmp_path / "journal.db") as journal:
        yield Place(journal)


async def test_once_per_session_and_never_again_on_a_restart(place: Place) -> None:
    for session in ("s1", "s1", "s2", "s1"):
        await place.lives(session=session)
    assert await place.sent() == ["begin", "begin"]
    await place.lives("something else", "s1")
    assert await place.sent() == ["begin", "begin", "something else"]


@pytest.mark.parametrize("moment", ["before the journal", "before the post", "after the post", "after the mark"])
@pytest.mark.parametrize("again", ["begin", None])
async def test_a_kill_at_any_step_neither_loses_nor_repeats_it(
    place: Place, monkeypatch: pytest.MonkeyPatch, moment: str, again: str | None
) -> None:
    """`again`: the next start asks for the same words (a service), or for none (a person, by the agent's id)."""
    place.die = moment
    remember = place.journal.remember

    def killed(name: str, value: str | None) -> None:
        if moment == "before the journal":
            raise Killed
        remember(name, value)
        if moment == "after the mark" and value is not None and decode(value, Noted).body is None:
            raise Killed

    monkeypatch.setattr(place.journal, "remember", killed)
    with pytest.raises(Killed):
        await place.lives()
    monkeypatch.setattr(place.journal, "remember", remember)
    place.die = None
    await place.lives(again)
    expected = [] if moment == "before the journal" and again is None else ["begin"]
    assert await place.sent() == expected
    await place.lives("last", "s9")
    assert await place.sent() == [*expected, "last"]


async def test_the_service_goes_on_when_everything_is_sent(place: Place) -> None:
    prompt = place.prompt()
    prompt.ready("s1")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(prompt.run(), 0.1)
    assert await place.sent() == ["begin"]


async def test_it_waits_for_the_relay_and_for_a_good_token(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay_runner.runner.backoff.delays", lambda first, limit: iter([0.0] * 9))
    place.errors = [RelayUnavailable("away"), RelayUnauthorized("expired", status=401)]
    await place.lives()
    assert await place.sent() == ["begin"] and place.told == []


async def test_a_refusal_is_told_once(place: Place) -> None:
    place.errors = [RelayRefused("no such agent")]
    await place.lives()
    await place.lives()
    assert place.told == ["the first prompt was not sent: no such agent"] and await place.sent() == []


async def test_what_the_relay_may_have_forgotten_is_given_up(place: Place) -> None:
    place.journal.remember(f"{PREFIX}s1:x", encode(Noted(at=1.0, key="k", body="begin")).decode())
    await place.lives(None)
    assert await place.sent() == [] and "given up" in place.told[0]


async def test_without_a_voice_it_goes_into_the_inbox_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay_runner.runner.prompt.LOOK_S", 0.01)
    for _ in range(2):
        await place.lives(say=False)
    assert [one.body for one in place.offered] == ["begin"] and await place.sent() == []
    assert all(decode(fact, Noted).body is None for fact in place.journal.facts(PREFIX).values())


async def test_a_kill_before_the_inbox_began_on_it_offers_it_again_and_after_that_never(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay_runner.runner.prompt.LOOK_S", 0.01)
    place._take = lambda message, delivery: place.offered.append(message)  # type: ignore[method-assign]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(place.lives(say=False), 0.1)
    (lost,) = place.offered
    place.journal.begin(lost, 1, "p1", 1.0)  # it began; killed before the words were forgotten
    await place.lives(None, say=False)
    assert place.offered == [lost]
