"""Kill a real provider the instant that the Nth record of a message reaches the disk, or a little later.

What a program writes is found by watching its files, never by guessing: every line of its transcript or rollout, every
change of its state file, every hook that it fires (a hook of the user's own writes those down). `Aim` watches from
before the message is sent, fires once, and says which record was the last one that the dead program left.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.harness import Home, running, until

POLL_S = 0.0005
HOOKS = "hooks.log"


class Files:
    """The records of a program: what was added to its files, in the order in which it was seen."""

    def __init__(self, user: Path, *lines: str, states: str | None = None) -> None:
        """`lines` are patterns of files that grow by lines, `states` of files that are written anew."""
        self._user = user
        self._lines = lines
        self._states = states
        self._sizes: dict[Path, int] = {}
        self._said: dict[Path, str] = {}
        self._look_at = 0.0
        self._files: list[Path] = []

    def news(self) -> Iterator[str]:
        """Yield a name for every record that was not there the last time."""
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + 0.02
            self._files = [file for pattern in self._lines for file in self._user.glob(pattern)]
        for file in self._files:
            known = self._sizes.get(file, 0)
            if file.stat().st_size <= known:
                continue
            with file.open("rb") as opened:
                opened.seek(known)
                whole = opened.read().rpartition(b"\n")[0]
            self._sizes[file] = known + (len(whole) + 1 if whole else 0)
            yield from (name_of(line) for line in whole.split(b"\n") if line.strip())
        for file in self._user.glob(self._states) if self._states else ():
            with contextlib.suppress(OSError, ValueError):  # it is being written, or was taken away
                status = str(json.loads(file.read_bytes()).get("status"))
                if self._said.get(file) != status:
                    self._said[file] = status
                    yield f"state {status}"


def name_of(line: bytes) -> str:
    """Return what kind of record a line is."""
    try:
        value = json.loads(line)
    except ValueError:
        return line.decode(errors="replace").strip()
    inner = value.get("payload") or value.get("attachment") or value
    item = inner.get("item") or {}
    words = (value.get("type"), inner.get("type"), inner.get("subtype"), inner.get("operation"), item.get("type"))
    message = inner.get("role")
    return " ".join(dict.fromkeys(str(word) for word in (*words, message) if word))


class Aim:
    """Kills `pid` when `at` records were seen since it was made, and `late_s` passed."""

    def __init__(self, files: Files, pid: int, at: int, late_s: float = 0.0) -> None:
        self.records: list[str] = []
        self.fired = False
        self._files, self._pid, self._at, self._late_s = files, pid, at, late_s
        for _ in files.news():
            pass  # what was there before
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.is_set():
            self.records.extend(self._files.news())
            if len(self.records) >= self._at:
                time.sleep(self._late_s)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._pid, signal.SIGKILL)
                    self.fired = True
                return
            time.sleep(POLL_S)

    def over(self) -> None:
        """Stop watching; `records` then holds everything that the program left."""
        self._stop.set()
        self._thread.join()
        if self.fired:
            until("it is dead", lambda: not running(self._pid))
        self.records.extend(self._files.news())


def sender(place: Home, to: str) -> Callable[[str], int]:
    """Return what sends a body and returns the message's id, without a command's start each time."""

    def send(body: str) -> int:
        if url := place.environ.get("AGENT_RELAY_URL"):
            token = place.environ["AGENT_RELAY_TOKEN"]
        else:
            relay = json.loads((place.state / "relay.json").read_text())
            url, token = relay["url"], relay["operatorToken"]
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        data = json.dumps({"to": to, "body": body}).encode()
        request = urllib.request.Request(f"{url}/api/v1/messages", data=data, headers=headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(json.loads(answer.read())["message"]["id"])

    return send


@dataclass
class Shot:
    """One message and the kill that was aimed at it."""

    id: int
    aimed_at: int
    last: str
    """The last record that the dead program left of it; empty where nothing was killed."""
    ended: str
    """How the message ended: `done completed`, `unknown`, ..."""
    faults: tuple[str, ...]


@dataclass
class Range:
    """One agent that is shot at again and again."""

    place: Home
    model: Any
    agent: str
    start: Callable[[], subprocess.Popen[bytes]]
    files: Files
    shots: list[Shot] = field(default_factory=list)
    runner: subprocess.Popen[bytes] | None = None
    """The one that was started last: it gives up after so many kills, and another one is started only then."""

    def ready(self) -> None:
        """Return when the agent would take a message; start it again where its runner gave up."""

        def look() -> bool:
            self.revive()
            return bool(self.place.agent(self.agent).get("ready")) and self.place.status(self.agent) == "idle"

        until("it is ready", look)

    def shoot(self, send: Callable[[str], int], at: int, late_s: float = 0.0) -> Shot:
        """Send a message, kill the program at a record of it, and see how the message ends."""
        self.ready()
        number = len(self.shots)
        ran = self.place.work / f"ran-{number}"
        aim = Aim(self.files, self.place.provider_pid(self.agent), at, late_s)
        try:
            id = send(f"RUN:echo x >> {ran.name}\nSLOW:0.2\nSAY:worked {number}")
            until("it was shot, or had its way", lambda: aim.fired or self.over(id))
        finally:
            aim.over()
        delivery = until("the message ends", lambda: self.over(id))
        ended = " ".join(filter(None, (delivery["state"], delivery["outcome"])))
        shot = Shot(id, at, aim.records[-1] if aim.fired and aim.records else "", ended, ())
        if delivery["outcome"] == "completed" and delivery["result"] != f"worked {number}":
            shot.faults += ("false: " + str(delivery["result"]),)
        if ran.exists() and ran.read_text().count("x") > 1:
            shot.faults += ("doubled: its work was done twice",)
        self.shots.append(shot)
        return shot

    def over(self, id: int) -> dict[str, Any] | None:
        """Return the delivery where nothing more happens to it."""
        delivery = self.place.delivery(id)
        if delivery["state"] in ("done", "dead", "unknown"):
            return delivery
        self.revive()
        return None

    def revive(self) -> None:
        """Start the agent where nothing runs it and nothing is about to."""
        if self.runner is None or self.runner.poll() is not None:
            self.runner = self.start()

    def judge(self) -> None:
        """Let one more request hold the whole conversation, and find what is in it twice, or nowhere."""
        self.ready()
        id = sender(self.place, self.agent)("SAY:still here")
        assert until("the last message ends", lambda: self.over(id))["result"] == "still here"
        for shot in self.shots:
            mark = f'<relay-message id="{shot.id}" '
            times = self.model.times_in_conversation(mark)
            if times > 1:
                shot.faults += (f"doubled: {times} times in one request",)
            if times == 0 and shot.ended.startswith("done"):
                shot.faults += ("false: it ended as done, and no request holds it",)
            if shot.ended.startswith("dead"):
                shot.faults += ("lost: dead",)

    def report(self) -> str:
        """Return how the shots went, by the last record of the dead program."""
        rows = Counter((shot.last or "(not killed)", shot.ended) for shot in self.shots)
        lines = [f"{count:4}  {last:60} {ended}" for (last, ended), count in sorted(rows.items())]
        faults = [f"message {shot.id} at {shot.last}: {fault}" for shot in self.shots for fault in shot.faults]
        return "\n".join([f"{len(self.shots)} shots, {len(faults)} faults", *lines, *faults])
