"""Nothing goes in that only memory knows of."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay_runner.protocol.messages import Message
from relay_runner.providers.base import Held, Submission, Submitted
from relay_runner.runner.journal import Journal
from relay_runner.runner.submit import DISK_FULL, submit
from tests.scripted import ScriptedProcess
from tests.unit.runner.test_database import BIG, fill, make_room

pytestmark = pytest.mark.anyio


async def test_a_message_is_held_while_the_journal_cannot_be_written(tmp_path: Path) -> None:
    message = Message(id=1, sender="agent:bob", to="agent:me", body="hi", created_at=1.0, expires_at=9e9)
    process, submission = ScriptedProcess(), Submission(message, "nonce", "text")
    with Journal(tmp_path / "journal.db") as journal:
        fill(journal)
        journal.remember("a", BIG)
        held = await submit(journal, process, submission)
        assert isinstance(held, Held) and held.reason == DISK_FULL and process.submissions == []
        make_room(journal)
        assert journal.recover()
        assert isinstance(await submit(journal, process, submission), Submitted)
        assert process.submissions == [submission]
