from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from relay_runner.protocol.messages import Outcome
from relay_runner.providers.base import ABSENT, NOT_FOUND, TurnState
from relay_runner.providers.codex import evidence
from relay_runner.providers.codex.client import Disconnected
from tests.terminals import until
from tests.unit.providers.codex.place import Place, watched
from tests.unit.providers.codex.place import place as place
from tests.unit.providers.codex.server import THREAD

pytestmark = pytest.mark.anyio

STARTED = {"type": "event_msg", "payload": {"type": "task_started", "turn_id": "t"}}
SPOKEN = {"type": "response_item", "payload": {"type": "message", "role": "user", "content": [{"text": "nonce=n1"}]}}
ITEM = {"type": "item_completed", "turn_id": "t", "item": {"type": "UserMessage", "client_id": "n1"}}
DONE = {"type": "event_msg", "payload": {"type": "task_complete", "turn_id": "t", "last_agent_message": "hi"}}


def left(tmp_path: Path, *lines: dict[str, Any], name: str = "x", rest: str = "") -> None:
    """Write the file that an app-server left."""
    folder = tmp_path / ".codex" / "sessions" / "2026" / "11" / "21"
    folder.mkdir(parents=True, exist_ok=True)
    written = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / f"rollout-{name}-{THREAD}.jsonl").write_text(written + rest)


async def dies(place: Place) -> None:
    place.pane.living = False
    place.server.answers.clear()
    await place.server.hang_up()
    await until(lambda: place.process._link.client is None)


async def test_a_dead_server_is_asked_by_its_file(place: Place, tmp_path: Path) -> None:
    left(tmp_path, {"type": "event_msg", "payload": ITEM})
    await dies(place)
    assert (await place.process.find("n1")).outcome is Outcome.INTERRUPTED
    assert await place.process.find("n2") == ABSENT


async def test_a_dead_server_without_a_file_proves_nothing(place: Place) -> None:
    await dies(place)
    assert await place.process.find("n1") == NOT_FOUND


@pytest.mark.parametrize("records", range(5))
async def test_a_server_killed_between_two_records(place: Place, tmp_path: Path, records: int) -> None:
    """The message is in the conversation from its first record on, which is not its item."""
    left(tmp_path, *(STARTED, SPOKEN, {"type": "event_msg", "payload": ITEM}, DONE)[:records])
    await dies(place)
    found = await place.process.find("n1")
    assert found.seen is (records >= 2)
    assert found.absent is not found.seen
    assert found.outcome is (None, None, Outcome.INTERRUPTED, Outcome.INTERRUPTED, Outcome.COMPLETED)[records]


async def test_any_file_of_a_thread_counts(place: Place, tmp_path: Path) -> None:
    left(tmp_path, STARTED, SPOKEN, name="older")
    left(tmp_path, STARTED, name="newer")
    await dies(place)
    assert (await place.process.find("n1")).seen


async def test_a_line_that_was_half_written_proves_nothing(place: Place, tmp_path: Path) -> None:
    left(tmp_path, STARTED, rest=json.dumps(SPOKEN)[:-4])
    await dies(place)
    found = await place.process.find("n1")
    assert (found.seen, found.unsure, found.absent) == (False, True, False)


async def test_the_successor_of_a_server_killed_between_two_records(place: Place, tmp_path: Path) -> None:
    """It lists that turn without the message, which its model is shown all the same."""
    left(tmp_path, STARTED, SPOKEN)
    place.server.turns = [{"id": "t", "status": "interrupted", "items": []}]
    assert (await place.process.find("n1")).outcome is Outcome.INTERRUPTED
    assert (await place.process.find("n2")).absent
    place.server.turns = [{"id": "t", "status": "inProgress", "items": []}]
    assert (await place.process.find("n1")).turn is TurnState.RUNNING


async def test_a_live_server_that_does_not_answer_is_not_guessed_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "FIND_S", 0.0)
    async with watched(tmp_path, session=THREAD) as made:
        with pytest.raises(Disconnected):
            await made.process.find("n1")
