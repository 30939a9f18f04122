"""The files of one process, followed."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from relay_runner.providers.base import Event, LaunchPlan, ProcessState, Seen, SessionStarted, TurnEnded, TurnStarted
from relay_runner.providers.claude.home import ClaudeHome
from relay_runner.providers.claude.parts import SESSION_GRACE_S
from relay_runner.providers.claude.records import LATE_S, WRITTEN_S, Records
from relay_runner.providers.claude.transcript import Trace
from relay_runner.providers.claude.turns import Tracker
from relay_runner.terminal import processes

SESSION = "11111111-2222-3333-4444-555555555555"
OTHER = "99999999-2222-3333-4444-555555555555"
NOW = 1_800_000_000.0


class Files:
    """A home with one session's files, and its records."""

    def __init__(self, folder: Path, *, resumed: bool = False, adopted: bool = False, before: int = 0) -> None:
        self.home = ClaudeHome.of({"HOME": str(folder)})
        self.cwd = folder / "some.work dir"
        self.cwd.mkdir()
        for _ in range(before):
            self.turn("old")
        identity = processes.identity(os.getpid())
        assert identity is not None
        plan = LaunchPlan(argv=(), env={}, cwd=self.cwd, session_id=SESSION, resumed=resumed)
        self.tracker = Tracker(adopted=adopted)
        self.records = Records(self.home, self.cwd, plan, identity, self.tracker, adopted=adopted)

    def path(self, session: str = SESSION) -> Path:
        folder = re.sub(r"[^A-Za-z0-9]", "-", str(self.cwd))
        path = self.home.config_dir / "projects" / folder / f"{session}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, *lines: dict[str, Any], session: str = SESSION) -> None:
        with self.path(session).open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)

    def turn(self, nonce: str, session: str = SESSION, *, ended: bool = True) -> None:
        text = f'<relay-message id="1" nonce="{nonce}" from="agent:bob">\nx\n</relay-message nonce="{nonce}">'
        self.write({"type": "user", "message": {"content": text}}, session=session)
        if ended:
            self.write(
                {"type": "assistant", "message": {"content": [{"type": "text", "text": f"answer to {nonce}"}]}},
                {"type": "system", "subtype": "turn_duration"},
                session=session,
            )

    def look(self, now: float = NOW) -> list[Event]:
        return list(self.records.look(now))

    def answer(self, nonce: str) -> str | None:
        turn = self.records.trace(nonce).turn
        return turn.result if turn is not None else None

    def status(self, status: str, session: str = SESSION) -> None:
        file = self.home.state_file(os.getpid())
        file.parent.mkdir(parents=True, exist_ok=True)
        fields = {"pid": os.getpid(), "sessionId": session, "status": status, "statusUpdatedAt": NOW * 1000}
        file.write_text(json.dumps(fields))


def test_a_new_transcript_is_followed_from_its_start(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.status("idle")
    files.look()
    assert files.tracker.state is ProcessState.IDLE
    files.turn("n1")
    events = files.look()
    assert Seen("n1", "transcript") in events
    assert [event.result for event in events if isinstance(event, TurnEnded)] == ["answer to n1"]
    assert files.look() == []


def test_a_resumed_transcript_is_followed_from_its_end(tmp_path: Path) -> None:
    files = Files(tmp_path, resumed=True, before=1)
    assert files.look() == []
    assert files.answer("old") == "answer to old"


def test_an_adopted_one_recalls_what_was_written(tmp_path: Path) -> None:
    files = Files(tmp_path, adopted=True, resumed=True, before=1)
    files.status("idle")
    assert files.look() == []  # it may not have written everything yet
    assert files.tracker.state is ProcessState.STARTING
    files.turn("late")
    assert not [event for event in files.look(NOW + WRITTEN_S) if isinstance(event, Seen | TurnEnded)]
    assert files.tracker.state is ProcessState.IDLE
    assert files.tracker.has("old")
    assert files.tracker.has("late")


def test_an_adopted_one_goes_on_with_its_turn(tmp_path: Path) -> None:
    files = Files(tmp_path, adopted=True)
    files.turn("n1", ended=False)
    files.status("busy")
    files.look()
    begun = [event for event in files.look(NOW + WRITTEN_S) if isinstance(event, TurnStarted)]
    assert [event.nonces for event in begun] == [("n1",)]
    assert files.tracker.state is ProcessState.BUSY


def test_what_just_happened_may_not_be_written_yet(tmp_path: Path) -> None:
    files = Files(tmp_path)
    assert files.records.written(NOW)
    files.status("busy")
    assert not files.records.written(NOW + LATE_S / 2)
    assert files.records.written(NOW + LATE_S)


def test_a_hook_names_another_transcript(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.turn("n1")
    files.turn("n2", OTHER)
    events = list(files.records.follow({"session_id": OTHER, "transcript_path": str(files.path(OTHER))}, NOW))
    assert [event.nonce for event in events if isinstance(event, Seen)] == ["n1", "n2"]
    for nonce in ("n1", "n2"):
        assert files.answer(nonce) == f"answer to {nonce}"
    assert files.records.trace("n3") == Trace()


def test_the_state_file_names_another_session(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.status("idle", OTHER)
    files.turn("n1", OTHER)
    files.look()
    events = files.look(NOW + SESSION_GRACE_S)
    assert SessionStarted(OTHER, "state-file") in events
    assert Seen("n1", "transcript") in events


def test_a_hook_ends_the_recalling(tmp_path: Path) -> None:
    files = Files(tmp_path, adopted=True)
    files.turn("n1", ended=False)
    files.status("busy")
    files.look()
    assert list(files.records.follow({"session_id": SESSION, "transcript_path": str(files.path())}, NOW)) == []
    assert files.tracker.carries("n1")
