"""The files of a message, brought to where its agent can read them before the message goes in.

agents/<id>/attachments/<message>/<id>-<name>: folders 0700, files 0600. A file that cannot be had is named in the
message with the reason: what its sender says is worth more than nothing.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Collection
from pathlib import Path

from relay_runner.config import private_dir
from relay_runner.errors import ConfigError, ProtocolError, RelayRefused, RelayUnauthorized, RelayUnavailable
from relay_runner.protocol.attachments import Attachment, cache_name
from relay_runner.protocol.envelope import Enclosed
from relay_runner.protocol.messages import MESSAGE_TTL_S, Message
from relay_runner.relay.base import Relay
from relay_runner.relay.saving import arriving, matches

log = logging.getLogger(__name__)

TRIES = 5
"""How often a download may break before the message goes in without the file."""


class AttachmentCache:
    """Fetch what messages name, and forget it when it is old."""

    def __init__(self, relay: Relay, folder: Path) -> None:
        self._relay = relay
        self.folder = folder
        self._broken: dict[str, int] = {}

    async def fetch(self, message: Message) -> tuple[Enclosed, ...]:
        """Return each file of a message with its path, or why it is not there.

        Raise `RelayUnavailable` or `RelayUnauthorized` where the relay is to be asked again later.
        """
        return tuple([await self._one(message, attachment) for attachment in message.attachments])

    async def prune(self, now: float, wanted: Collection[int]) -> None:
        """Remove the files of messages that came longer ago than a message lives, unless they are still `wanted`."""
        try:
            await asyncio.to_thread(self._prune, now, wanted)
        except OSError as error:
            log.warning("old attachments stay for now: %s", error)

    async def _one(self, message: Message, attachment: Attachment) -> Enclosed:
        try:
            return Enclosed(attachment, path=str(await self._brought(message, attachment)))
        except RelayUnauthorized:
            raise
        except RelayUnavailable as error:
            tries = self._broken[attachment.id] = self._broken.get(attachment.id, 0) + 1
            if tries < TRIES:
                raise
            failed = str(error)
        except (RelayRefused, ProtocolError, ConfigError) as error:
            failed = error.message
        except OSError as error:
            failed = error.strerror or str(error)
        log.warning("message %d goes in without %s: %s", message.id, attachment.name, failed)
        return Enclosed(attachment, failed=failed)

    async def _brought(self, message: Message, attachment: Attachment) -> Path:
        folder = private_dir(private_dir(self.folder) / str(int(message.id)))
        name = cache_name(attachment)
        if await asyncio.to_thread(matches, folder / name, attachment):
            return folder / name
        async with arriving(self._relay, attachment.id, folder) as arrived:
            if arrived.attachment.sha256 != attachment.sha256:
                raise ProtocolError(f"the relay has another file as {attachment.id}")
            path = arrived.keep(name)
        self._broken.pop(attachment.id, None)
        return path

    def _prune(self, now: float, wanted: Collection[int]) -> None:
        kept = {str(message_id) for message_id in wanted}
        for folder in self.folder.iterdir() if self.folder.is_dir() else ():
            if folder.name not in kept and folder.stat(follow_symlinks=False).st_mtime < now - MESSAGE_TTL_S:
                shutil.rmtree(folder, ignore_errors=True)
