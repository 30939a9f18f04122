"""Promise: start of a session: the first prompt goes in once per session, whoever is killed when."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from relay_runner.errors import RelayRefused, RelayUnauthorized, RelayUnavailable
from relay_runner.protocol.messages import MessageQuery, MessageRecord, NewMessage
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

    async def lives(self, text: str | None = "begin", session: str = "s1", *, say: bool = True) -> None:
        """Start, until there is nothing more to send."""
        prompt = FirstPrompt(self.journal, "bob", text, say=self.say if say else None, tell=self.told.append)
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
    prompt = FirstPrompt(place.journal, "bob", "begin", say=place.say, tell=place.told.append)
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


async def test_without_a_voice_it_waits_for_a_start_that_has_one(place: Place) -> None:
    noted = Noted(at=9e9, key="k", body="begin")
    place.journal.remember(f"{PREFIX}s1:x", encode(noted).decode())
    await place.lives(None, say=False)
    assert decode(place.journal.fact(f"{PREFIX}s1:x") or "", Noted) == noted
    await place.lives(None)
    assert await place.sent() == ["begin"]
    assert decode(place.journal.fact(f"{PREFIX}s1:x") or "", Noted) == replace(noted, body=None)
