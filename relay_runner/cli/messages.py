"""send, inbox, read, reply, react: what people and agents do with messages."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay_runner.cli import files, loop, output, words
from relay_runner.cli.exits import Exit

if TYPE_CHECKING:
    from relay_runner.cli.session import Session
    from relay_runner.protocol.messages import Delivery, MessageRecord, NewMessage
    from relay_runner.relay.uploading import Upload

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]
BodyArgument = Annotated[str, typer.Argument(metavar="TEXT", help="The message; - reads it from stdin.")]
IdArgument = Annotated[int, typer.Argument(metavar="ID", help="The message's number.", parser=words.number)]
TIMINGS = ("queue", "steer", "interrupt")
DEFAULT_TIMEOUT_S = 600.0
_ASKS = re.compile(r"\((\w{1,100}): ")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (send, inbox, read, reply, react):
        app.command(command.__name__, cls=words.PlainCommand)(command)


def send(
    to: Annotated[str, typer.Argument(metavar="TO", help="ID, person:, label:, tag:, cap: or broadcast.")],
    body: BodyArgument,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait for the answer and print it.")] = False,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="How long to wait.", min=0.0)] = DEFAULT_TIMEOUT_S,
    timing: Annotated[str, typer.Option(metavar="|".join(TIMINGS), help="When it goes in.")] = "queue",
    subject: Annotated[str | None, typer.Option(metavar="TEXT", help="One line about it.")] = None,
    reply_required: Annotated[bool, typer.Option("--reply-required", help="Ask the agent for a reply.")] = False,
    claimable: Annotated[bool, typer.Option("--claimable", help="Only the first agent to claim it gets it.")] = False,
    attach: files.AttachOption = None,
    task: Annotated[bool, typer.Option("--task", help="Open a task that the message carries; see task.")] = False,
    as_json: JsonFlag = False,
) -> int:
    """Send a message to an agent.

    Without --wait one line says that the relay has it. With --wait the reply is printed or, when the agent
    ended its turn without one, the turn's final text.
    """
    from relay_runner.cli import sending

    new = sending.message(
        to,
        read_body(body),
        timing=timing,
        subject=subject,
        reply_required=reply_required,
        claimable=claimable,
    )
    return loop.run(_send(new, files.chosen(attach), task, timeout if wait else None, as_json))


def inbox(
    show_all: Annotated[bool, typer.Option("--all", "-a", help="Show those that you have read, too.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", help="How many at most.", min=1, max=1000)] = 100,
    as_json: JsonFlag = False,
) -> None:
    """List the messages for you.

    Inside an agent: those for the agent."""

    async def run(session: Session) -> list[MessageRecord]:
        from relay_runner.protocol.messages import MessageQuery

        query = MessageQuery(recipient=await session.me(), unread=not show_all, limit=limit)
        return await session.relay.messages(query)

    records = with_session(run)
    if as_json:
        output.say_json(builtins(records))
        return
    rows = [
        (one.message.id, output.age(one.message.created_at), one.message.sender, _wanting(one) + headline(one))
        for one in records
    ]
    output.table(("id", "age", "from", "message"), rows, empty="no messages" if show_all else "no unread messages")


def read(
    message_id: IdArgument,
    save: Annotated[
        str | None, typer.Option("--save", metavar="DIR", help="Put its attachments into this folder.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show one message and what became of it.

    A message for you is marked as read."""
    place = None if save is None else files.to_save_in(save)

    async def run(session: Session) -> MessageRecord:
        record = await session.relay.message(message_id)
        if place is not None:
            for path in await files.save_all(session.relay, record.message.attachments, place):
                output.note(f"saved {path}")
        me = await session.me()
        if any(one.recipient == me and one.read_at is None for one in record.deliveries):
            await session.relay.read(message_id)
        return record

    record = with_session(run)
    if as_json:
        output.say_json(builtins(record))
    else:
        _show(record)


def reply(
    message_id: IdArgument, body: BodyArgument, attach: files.AttachOption = None, as_json: JsonFlag = False
) -> None:
    """Answer a message."""
    text = read_body(body)
    attached = files.chosen(attach)

    async def run(session: Session) -> MessageRecord:
        from relay_runner.protocol.messages import NewReply

        ids = await files.give(session.relay, attached)
        return await session.relay.reply(message_id, NewReply(body=text, attachments=ids))

    accepted(with_session(run), as_json)


def react(
    message_id: IdArgument,
    emoji: Annotated[str, typer.Argument(metavar="EMOJI", help="An emoji, or a short word.")],
) -> None:
    """Put an emoji on a message."""

    async def run(session: Session) -> None:
        await session.relay.react(message_id, emoji)

    with_session(run)
    output.say(f"message {message_id}: {output.line(emoji, 32)}")


def read_body(body: str, what: str = "message") -> str:
    """Return the text of a message (or of `what`), from its argument or stdin; raise `ConfigError` for a bad one."""
    from relay_runner.errors import ConfigError
    from relay_runner.protocol.messages import MAX_BODY_BYTES

    if body == "-":
        data = sys.stdin.buffer.read(MAX_BODY_BYTES + 1)
        try:
            body = data.decode("utf-8")
        except UnicodeDecodeError as error:
            if len(data) <= MAX_BODY_BYTES:
                raise ConfigError("the text on stdin is not UTF-8", hint="convert it first") from error
    else:
        data = body.encode("utf-8", "surrogateescape")
    if len(data) > MAX_BODY_BYTES:
        raise ConfigError(f"the {what} is larger than 1 MiB", hint="write it to a file and send the file's path")
    if not body.strip():
        raise ConfigError(f"the {what} is empty", hint="give its text, or - and the text on stdin")
    return data.decode("utf-8", "replace")


async def _send(new: NewMessage, attached: list[Upload], task: bool, timeout_s: float | None, as_json: bool) -> int:
    from msgspec.structs import replace

    from relay_runner.cli import sending, session, verdict

    async with session.open_session() as opened:
        new = replace(new, attachments=await files.give(opened.relay, attached))
        record = await (sending.with_task(opened.relay, new) if task else opened.relay.send(new))
        if timeout_s is None:
            accepted(record, as_json)
            return Exit.OK
        tell = None if opened.access.inside else _tell_waiting
        record, replies = await sending.wait(opened.relay, record, timeout_s, on_waiting=tell)
    replied = sending.repliers(replies)
    code = verdict.exit_code(record, replied)
    if as_json:
        output.say_json(verdict.as_json(record, replies))
    else:
        text = "\n\n".join(one.message.body for one in replies) or verdict.result(record)
        if text:
            output.say(text)
        for one in record.deliveries:
            _tell_shared(one, answered=bool(replies))
    if code is Exit.TIMED_OUT:
        reached = "; ".join(filter(None, map(verdict.progress, record.deliveries))) or "nobody has it yet"
        number = record.message.id
        output.note(f"no answer after {timeout_s:g} s: {reached}; `relay-runner read {number}` shows more")
    elif code is not Exit.OK:
        for one in record.deliveries:
            output.note(f"message {record.message.id} to {verdict.describe(one)}")
    for one in filter(verdict.unproven, record.deliveries):
        output.note(f"message {record.message.id} to {verdict.describe(one)}: this provider cannot prove more")
    return code


def _tell_waiting(agent: str, what: str) -> None:
    from relay_runner.protocol.messages import RATE_LIMITED

    hint = f"`relay-runner attach {agent}`"
    if what.startswith(f"({RATE_LIMITED}"):
        hint = f"`relay-runner retry {agent}` tries at once"
    elif found := _ASKS.search(what):
        hint = f"`relay-runner permissions {found[1]}` shows it"
    output.note(f"{agent} waits {output.line(what)}: {hint}")


def accepted(record: MessageRecord, as_json: bool) -> None:
    """Say what the relay has now."""
    from relay_runner.cli import verdict
    from relay_runner.protocol.tasks import carried

    if as_json:
        output.say_json(verdict.as_json(record, []))
    else:
        to = ", ".join(verdict.name(one.recipient) for one in record.deliveries if one.recipient)
        task = carried(record.message.payload)
        opened = f", with task {task}" if task is not None else ""
        to = to or verdict.name(record.message.to)
        output.say(f"message {record.message.id} to {to}: {verdict.state(record)}{opened}")


def _show(record: MessageRecord) -> None:
    from relay_runner.cli import verdict

    message = record.message
    head = {
        "message": str(message.id),
        "from": message.sender,
        "to": message.to,
        "at": output.clock(message.created_at),
        "subject": message.subject,
        "reply to": message.reply_to,
        "task": message.payload.get("taskId"),
        "asks for": "a reply" if message.reply_required else None,
        "replies": ", ".join(map(str, record.replies)),
        "reactions": ", ".join(f"{one.emoji} ({one.sender})" for one in record.reactions),
    }
    for key, value in head.items():
        if value:
            output.say(f"{key + ':':<11}{output.line(value)}")
    for one in message.attachments:
        output.say(f"{'attached:':<11}{output.line(files.describe(one))}")
    for delivery in record.deliveries:
        output.say(f"{'delivery:':<11}{output.line(verdict.describe(delivery))}")
        if (shared := verdict.shared(delivery)) is not None:
            output.say(f"{'with:':<11}{shared} in the same turn")
        if (used := verdict.used(delivery)) is not None:
            output.say(f"{'used:':<11}{used}")
    output.say()
    output.say(message.body)
    for delivery in record.deliveries:
        if delivery.result:
            output.say(f"\n--- the turn's final text ({output.line(verdict.name(delivery.recipient or '?'))}) ---")
            output.say(delivery.result)


def _tell_shared(delivery: Delivery, *, answered: bool) -> None:
    """Say that a turn's text may answer another message, or why there is none, unless a reply makes it clear."""
    from relay_runner.cli import verdict

    if answered:
        return
    if (others := verdict.shared(delivery)) is not None:
        output.note(f"the same turn also carried {others}")
    if delivery.outcome == "completed" and delivery.result is None and delivery.reason:
        output.note(f"no text: {delivery.reason}")


def _wanting(record: MessageRecord) -> str:
    return "(wants a reply) " if record.message.reply_required and not record.replies else ""


def headline(record: MessageRecord) -> str:
    """Return one line that says what a message is about."""
    text = record.message.subject or record.message.body
    return output.line(text, 80)


def builtins(value: Any) -> Any:
    """Return a value of the protocol as plain containers."""
    import msgspec

    return msgspec.to_builtins(value)


def with_session(run: Any, *, only_person: str | None = None) -> Any:
    """Return what `run` makes of an open session; `only_person` names what an agent may not do."""
    from relay_runner.cli import session

    async def inner() -> Any:
        async with session.open_session(only_person=only_person) as opened:
            return await run(opened)

    return loop.run(inner())
