"""The rows of attachments: who may see one, which messages name it, and when it goes."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from relay_runner.errors import RelayNotFound
from relay_runner.protocol.acceptance import no_attachment
from relay_runner.protocol.access import Caller
from relay_runner.protocol.attachments import UNUSED_S, Attachment, check_unused
from relay_runner.server.store import views
from relay_runner.server.store.rows import to_json
from relay_runner.server.store.writer import Transaction

FORGOTTEN = 200
"""How many one tidying forgets at most."""


def put(tx: Transaction, owner: str, attachment: Attachment) -> Attachment:
    """Remember a file that arrived; return it with the instant."""
    waiting = tx.one("attachments_waiting", (owner,))
    check_unused(0 if waiting is None else waiting[0])
    tx.run(
        "insert_attachment",
        (
            attachment.id,
            attachment.name,
            attachment.content_type,
            attachment.size,
            attachment.sha256,
            owner,
            tx.now,
        ),
    )
    return replace(attachment, created_at=tx.now)


def visible(tx: Transaction, caller: Caller, attachment_id: str) -> Attachment:
    """Return an attachment that is the caller's own, or of a message that the caller may read."""
    row = tx.one("attachment", (attachment_id,))
    # Of one that is not the caller's to see the same is said as of none: a guessed id tells nothing.
    if row is None or not (caller.may_see(row[5]) or _named_to(tx, caller, attachment_id)):
        raise no_attachment(attachment_id)
    return Attachment(id=row[0], name=row[1], content_type=row[2], size=row[3], sha256=row[4], created_at=row[6])


def _named_to(tx: Transaction, caller: Caller, attachment_id: str) -> bool:
    """Say whether a message that the caller may read names the file."""
    for (message_id,) in tx.run("attachment_messages", (attachment_id,)).fetchall():
        try:
            views.visible_message(tx, caller, message_id)
        except RelayNotFound:
            continue
        return True
    return False


def use(tx: Transaction, message_id: int, attachments: Sequence[Attachment]) -> None:
    """Note which files a message names: they stay as long as it does."""
    for attachment in attachments:
        tx.run("insert_attachment_use", (message_id, attachment.id))


def tidy(tx: Transaction) -> list[str]:
    """Forget files that no message names, a day after they came; return their ids."""
    rows = tx.run("attachments_unused", (tx.now - UNUSED_S, FORGOTTEN)).fetchall()
    found = [str(row[0]) for row in rows]
    tx.run("forget_attachments", (to_json(found),))
    return found


def strays(tx: Transaction, file_ids: Sequence[str]) -> list[str]:
    """Return those of the files on the disk that no row names."""
    return [file_id for file_id in file_ids if tx.one("attachment", (file_id,)) is None]
