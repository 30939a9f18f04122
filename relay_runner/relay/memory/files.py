"""The attachments of a relay in memory."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field

from relay_runner.errors import RelayNotFound, RelayRefused
from relay_runner.protocol.acceptance import no_attachment
from relay_runner.protocol.access import Caller
from relay_runner.protocol.attachments import (
    MAX_ATTACHMENT_BYTES,
    UNUSED_S,
    Attachment,
    NewAttachment,
    check_size,
    check_unused,
    safe_name,
    safe_type,
)
from relay_runner.relay.base import Data
from relay_runner.relay.memory.board import Board
from relay_runner.relay.memory.mail import Mail


@dataclass(slots=True)
class _Kept:
    attachment: Attachment
    owner: str
    content: bytes = field(repr=False)


class Shelf:
    """Every file that was uploaded, by id."""

    def __init__(self, board: Board, mail: Mail) -> None:
        self._board = board
        self._mail = mail
        self._kept: dict[str, _Kept] = {}
        self.limit = MAX_ATTACHMENT_BYTES
        mail.files = self.visible

    async def put(self, caller: Caller, new: NewAttachment, data: Data) -> Attachment:
        """Take a file."""
        caller.need_send()
        check_size(new.size, self.limit, new.name)
        mine = [one for one, kept in self._kept.items() if kept.owner == caller.subject]
        check_unused(sum(not self._messages(one) for one in mine))
        content = b""
        async for chunk in data():
            content += chunk
            check_size(len(content), self.limit, new.name)
        digest = hashlib.sha256(content).hexdigest()
        if new.sha256 not in (None, digest):
            raise RelayRefused(f"{safe_name(new.name)} arrived changed: it has another sha256", status=422)
        attachment = Attachment(
            id=secrets.token_hex(16),
            name=safe_name(new.name),
            size=len(content),
            sha256=digest,
            content_type=safe_type(new.content_type),
            created_at=self._board.clock(),
        )
        self._kept[attachment.id] = _Kept(attachment, caller.subject, content)
        return attachment

    def visible(self, caller: Caller, attachment_id: str) -> Attachment:
        """Return a file that is the caller's, or of a message that the caller may read."""
        kept = self._kept.get(attachment_id)
        if kept is not None and caller.may_see(kept.owner):
            return kept.attachment
        for message_id in self._messages(attachment_id) if kept is not None else ():
            try:
                self._mail.visible(caller, message_id)
            except RelayNotFound:
                continue
            return self._kept[attachment_id].attachment
        raise no_attachment(attachment_id)

    def content(self, attachment_id: str) -> bytes:
        """Return a file's bytes."""
        return self._kept[attachment_id].content

    def spoil(self, attachment_id: str, content: bytes) -> None:
        """Change the bytes behind the back of everybody, as a broken disk would; the rest stays as it was."""
        self._kept[attachment_id].content = content

    def tidy(self) -> None:
        """Forget what no message names, a day after it came."""
        before = self._board.clock() - UNUSED_S
        for attachment_id, kept in list(self._kept.items()):
            if kept.attachment.created_at < before and not self._messages(attachment_id):
                del self._kept[attachment_id]

    def _messages(self, attachment_id: str) -> list[int]:
        return [
            message_id
            for message_id, entry in self._mail.entries.items()
            if any(one.id == attachment_id for one in entry.message.attachments)
        ]
