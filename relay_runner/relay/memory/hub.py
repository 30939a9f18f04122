"""One relay in memory: the same rules as a real one, over dictionaries, with a clock that can be turned.

Nothing in its parts awaits, so that every step is atomic on its event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec.structs import replace

from relay_runner.protocol.agents import Agent
from relay_runner.protocol.frames import Hello
from relay_runner.relay.memory.board import Board
from relay_runner.relay.memory.files import Shelf
from relay_runner.relay.memory.ledger import Ledger
from relay_runner.relay.memory.mail import Mail
from relay_runner.relay.memory.members import Frames, Members
from relay_runner.relay.memory.questions import Questions
from relay_runner.relay.memory.tasks import Tasks


class Hub:
    """What several `MemoryRelay`s share; `clock` tells the time, and `sweep` does what is due by it."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.board = Board(clock)
        self.members = Members(self.board)
        self.tasks = Tasks(self.board)
        self.mail = Mail(self.board, self.members, self.tasks)
        self.files = Shelf(self.board, self.mail)
        self.ledger = Ledger(self.board, self.members)
        self.questions = Questions(self.board, self.members)

    def sweep(self) -> None:
        """Do what is due by the clock."""
        self.mail.sweep()
        self.ledger.sweep()

    def tidy(self) -> None:
        """Forget what is too old to matter."""
        self.files.tidy()

    def join(self, hello: Hello, frames: Frames) -> tuple[int, ...]:
        """Make this the agent's current instance; return the messages whose deliveries it takes over."""
        self.members.join(hello, frames)
        return self.mail.inherit(hello.agent_id, hello.instance_id)

    def agent(self, agent_id: str) -> Agent:
        """Return an agent as others see it."""
        owed = len(self.mail.owed(agent_id))
        return replace(self.members.view(agent_id, self.mail.queued(agent_id)), obligations=owed)
