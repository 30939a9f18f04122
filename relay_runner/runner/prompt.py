"""The first prompt of a session: sent once, as an ordinary message of the person who started the agent.

It is in the journal before it is sent, under the key that it is posted with, so that a runner that was killed at any
step is followed by one that neither forgets it nor sends it twice; and the journal remembers for good that this session
had it, so that a service that starts the agent again with the same words does not repeat them.

Where nobody here may speak for the person (the token is the agent's own), it goes in as a message that the relay never
hears of.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable

from relay_runner.errors import ProtocolError, RelayRefused, RelayUnauthorized, RelayUnavailable
from relay_runner.protocol.acceptance import IDEMPOTENCY_S
from relay_runner.protocol.messages import Delivery, Message, NewMessage
from relay_runner.protocol.wire import Wire, decode, encode
from relay_runner.runner import backoff
from relay_runner.runner.journal import Journal
from relay_runner.runner.local import local_message

log = logging.getLogger(__name__)

PREFIX = "prompt:"
RETRY_LIMIT_S = 10.0
LOOK_S = 0.5
"""How often it is looked whether the inbox has begun on it."""

Say = Callable[[NewMessage], Awaitable[object]]
"""Posts a message as the person who started the agent."""
Offer = Callable[[Message, Delivery], None]
"""Gives a message to this agent's own inbox."""
Tell = Callable[[str], None]
"""Takes one line for that person."""


class Noted(Wire, frozen=True, kw_only=True):
    """A prompt in the journal."""

    at: float
    key: str
    body: str | None = None
    """None: it was sent, or refused."""


class FirstPrompt:
    """Send a prompt to the session that is there when the agent is ready first."""

    def __init__(
        self, journal: Journal, agent_id: str, prompt: str | None, *, say: Say | None, offer: Offer, tell: Tell
    ) -> None:
        self._journal = journal
        self._agent_id = agent_id
        self._prompt = prompt
        self._say = say
        self._offer = offer
        self._tell = tell
        self._session: str | None = None
        self._ready = asyncio.Event()

    def ready(self, session: str) -> None:
        """Say which session it is; the first one counts, a later one is what became of it."""
        if self._session is None:
            self._session = session
            self._ready.set()

    async def run(self) -> None:
        """Send what is to be sent, and wait for ever."""
        await self.send()
        await asyncio.Event().wait()

    async def send(self) -> None:
        """Send what is to be sent, once the session is there."""
        await self._ready.wait()
        self._note()
        for name, value in sorted(self._journal.facts(PREFIX).items()):
            noted = decode(value, Noted)
            if noted.body is not None and self._say is not None:
                await self._send(f"{PREFIX}{name}", self._say, noted, noted.body)
            elif noted.body is not None:
                await self._put_in(f"{PREFIX}{name}", noted, noted.body)

    def _note(self) -> None:
        if not self._prompt:
            return
        digest = hashlib.sha256(self._prompt.encode()).hexdigest()[:16]
        name = f"{PREFIX}{self._session}:{digest}"
        if self._journal.fact(name) is not None:
            log.info("this session had the first prompt before: it is not sent again")
            return
        noted = Noted(at=time.time(), key=f"initial:{uuid.uuid4().hex}", body=self._prompt)
        self._journal.remember(name, encode(noted).decode())

    async def _send(self, name: str, say: Say, noted: Noted, body: str) -> None:
        """Post it, until the relay has it or refuses it."""
        new = NewMessage(to=self._agent_id, body=body, idempotency_key=noted.key)
        delays = backoff.delays(0.2, RETRY_LIMIT_S)
        while noted.at >= time.time() - IDEMPOTENCY_S:
            try:
                await say(new)
                break
            except RelayRefused as error:
                if not isinstance(error, RelayUnauthorized) or error.status != 401:
                    self._tell(f"the first prompt was not sent: {error}")
                    break
            except (RelayUnavailable, ProtocolError) as error:
                log.info("the first prompt waits for the relay: %s", error)
            await asyncio.sleep(next(delays))
        else:
            # The relay may have forgotten the key: sending it again could be sending it twice.
            self._tell("the first prompt could not be sent for a day, and is given up")
        self._forget_words(name, noted)

    async def _put_in(self, name: str, noted: Noted, body: str) -> None:
        """Give it to the inbox, unless an earlier life of the runner has begun on it."""
        message = local_message(self._agent_id, body, noted.at)
        if not self._journal.has(message):
            self._offer(message, Delivery(message_id=message.id, recipient=message.to))
        while not self._journal.has(message):  # noqa: ASYNC110 - the journal has no bell
            await asyncio.sleep(LOOK_S)
        self._forget_words(name, noted)

    def _forget_words(self, name: str, noted: Noted) -> None:
        self._journal.remember(name, encode(Noted(at=noted.at, key=noted.key)).decode())
