"""The calls about attachments: bytes come in and go out as they are, everything else is JSON."""

from __future__ import annotations

from collections.abc import AsyncIterator

from relay_runner.errors import RelayRefused
from relay_runner.protocol.attachments import (
    INFO_HEADER,
    SHA256_HEADER,
    Attachment,
    AttachmentLimits,
    check_size,
    safe_name,
    safe_type,
    to_header,
)
from relay_runner.protocol.calls import API
from relay_runner.server.http import MAX_DRAINED_BYTES, Call, File, Route, body_chunks


async def _limits(call: Call) -> AttachmentLimits:
    return AttachmentLimits(max_bytes=call.store.files.limit)


async def _upload(call: Call) -> Attachment:
    assert call.receive is not None
    call.caller.need_send()
    store, chunks = call.store, body_chunks(call.receive)
    name = safe_name(call.query.get("name", ""))
    try:
        check_size(_declared(call), store.files.limit, name)
        received = await store.files.receive(chunks, name)
    except RelayRefused:
        await _drain(chunks)
        raise
    wanted = call.header(SHA256_HEADER.encode())
    if wanted is not None and wanted.lower() != received.sha256:
        await store.files.remove([received.id])
        raise RelayRefused(f"{name} arrived changed: it has another sha256", hint="send it again", status=422)
    attachment = Attachment(
        id=received.id,
        name=name,
        size=received.size,
        sha256=received.sha256,
        content_type=safe_type(call.header(b"content-type")),
    )
    try:
        return await store.put_attachment(call.caller, attachment)
    except RelayRefused:
        await store.files.remove([received.id])
        raise


async def _download(call: Call) -> File:
    attachment = await call.store.attachment(call.caller, call.text("id"))
    chunks = call.store.files.read(attachment.id)
    first = await anext(chunks, b"")
    headers = [
        (b"content-type", attachment.content_type.encode()),
        (b"content-length", str(attachment.size).encode()),
        (INFO_HEADER.encode(), to_header(attachment).encode()),
        # For a browser that somebody points here: whatever it is, it is not to be run or shown as a page.
        (b"content-disposition", b"attachment"),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
    ]
    return File(_joined(first, chunks), headers)


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for chunk in rest:
        yield chunk


def _declared(call: Call) -> int:
    text = call.header(b"content-length") or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    """Read on for a while, so that the refusal is heard: who still writes does not read."""
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > MAX_DRAINED_BYTES:
            return


ATTACHMENT_ROUTES = (
    Route(
        "POST",
        f"{API}/attachments",
        _upload,
        "Upload a file for a message that will name it; unused ones go after a day",
        None,
        Attachment,
        201,
        raw=True,
        parameters={"name": "the file's name"},
    ),
    Route("GET", f"{API}/attachments", _limits, "Say how large an attachment may be", None, AttachmentLimits),
    Route("GET", f"{API}/attachments/{{id}}", _download, "Fetch an attachment's bytes", None, File),
)
