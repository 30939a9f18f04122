"""A message that no relay knows takes the way of every other one."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay_runner.errors import ProviderRefused, RelayNotFound
from relay_runner.protocol.messages import MAX_ATTEMPTS, ClaimRequest, Delivery, Outcome
from relay_runner.providers.base import Held, Submission, SubmitResult, Submitted
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner.journal import Journal, Stage
from relay_runner.runner.local import LOCAL_ID, LocalMail, local_message
from tests.scripted import ScriptedProcess
from tests.terminals import until
from tests.unit.runner.desk import Desk

pytestmark = pytest.mark.anyio


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as journal:
        yield journal


def _desk(journal: Journal, script: object = None) -> Desk:
    relay = LocalMail.over(MemoryRelay.of_agent("bob", (operator := MemoryRelay()).hub))
    return Desk(journal, operator, relay=relay, **({"script": script} if script else {}))  # type: ignore[arg-type]


def _offer(desk: Desk) -> None:
    message = local_message("bob", "begin", time.time())
    desk.inbox.offer(message, Delivery(message_id=message.id, recipient=message.to))


async def test_it_goes_in_once_as_the_users_own_word_beside_what_the_relay_brings(journal: Journal) -> None:
    desk = _desk(journal)
    async with desk.running():
        _offer(desk)
        (first,) = await desk.process.until(1)
        assert first.message.operator and first.message.id == LOCAL_ID and "\nbegin\n" in first.text
        desk.sees(first)
        desk.ends(first)
        await until(lambda: journal.open() == [] and journal.outbox() == [])
        row = journal.by_nonce(first.nonce)
        assert row is not None and (row.stage, row.outcome) == (Stage.SETTLED, Outcome.COMPLETED)
        id = await desk.send("next")
        assert [one.message.id for one in await desk.process.until(2)] == [LOCAL_ID, id]


async def test_it_is_held_and_tried_again_and_ends_after_the_last_refusal(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay_runner.runner.backoff.of_attempt", lambda attempt: 0.01)

    def script(process: ScriptedProcess, submission: Submission) -> SubmitResult:
        if submission.message.id != LOCAL_ID:
            return Submitted("script")
        if len(process.submissions) == 1:
            return Held("person typing", 0.01)
        raise ProviderRefused("not taken")

    desk = _desk(journal, script)
    async with desk.running():
        _offer(desk)
        await desk.process.until(1 + MAX_ATTEMPTS)
        await until(lambda: journal.open() == [] and desk.inbox.queued == 0)
        id = await desk.send("next")
        assert (await desk.process.until(2 + MAX_ATTEMPTS))[-1].message.id == id


async def test_what_is_not_local_is_the_relays_business(journal: Journal) -> None:
    relay = LocalMail.over(MemoryRelay.of_agent("bob", MemoryRelay().hub))
    desk = Desk(journal, MemoryRelay())
    async with desk.running(None):
        request = ClaimRequest(agent_id="bob", instance_id="i1", attempt=1, lease_s=60.0)
        assert await LocalMail.over(desk.relay).renew(LOCAL_ID, request) > time.time() + 50
        with pytest.raises(RelayNotFound):
            await LocalMail.over(desk.relay).renew(7, request)
    with pytest.raises(RelayNotFound):
        await relay.read(7)
    await relay.read(LOCAL_ID)


def test_a_user_without_a_name_is_an_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert local_message("bob", "x", 1.0).sender == "person:operator"
