"""dead, redeliver, drop: what did not arrive, another try, and giving up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from relay_runner.cli import messages, output, words

if TYPE_CHECKING:
    from relay_runner.cli.session import Session
    from relay_runner.protocol.messages import MessageRecord

AgentOption = Annotated[str | None, typer.Option(metavar="AGENT", help="Only to this agent.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (dead, redeliver, drop):
        app.command(command.__name__, cls=words.PlainCommand)(command)


def dead(
    show_all: Annotated[bool, typer.Option("--all", "-a", help="Show those that were dropped, too.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", help="How many at most.", min=1, max=1000)] = 100,
    as_json: messages.JsonFlag = False,
) -> None:
    """List messages that are dead or unknown.

    Dead ones did not go in, and say why. Of unknown ones nobody can know whether they went in. redeliver sends one
    again, drop gives one up; those that were dropped are shown with --all."""

    async def run(session: Session) -> list[MessageRecord]:
        from relay_runner.protocol.messages import MessageQuery, State

        query = MessageQuery(states=(State.DEAD, State.UNKNOWN), limit=limit)
        return [record for record in await session.relay.messages(query) if show_all or not _dropped(record)]

    records = messages.with_session(run, only_person="list dead messages")
    if as_json:
        output.say_json(messages.builtins(records))
        return
    from relay_runner.cli.verdict import name
    from relay_runner.protocol.messages import State

    rows = [
        (
            record.message.id,
            output.age(delivery.updated_at),
            name(delivery.recipient or record.message.to),
            delivery.state,
            delivery.reason or "-",
            messages.headline(record),
        )
        for record in records
        for delivery in record.deliveries
        if delivery.state in (State.DEAD, State.UNKNOWN)
    ]
    output.table(("id", "age", "to", "state", "reason", "message"), rows, empty="no dead messages")


def redeliver(
    message_id: messages.IdArgument,
    agent: AgentOption = None,
    as_json: messages.JsonFlag = False,
) -> None:
    """Queue a message again unless its turn completed.

    It must be dead or unknown, or its turn must have failed, been interrupted or been blocked. Unless it was dead, the
    agent may already have seen some of it."""

    async def run(session: Session) -> MessageRecord:
        return await session.relay.redeliver(message_id, agent)

    messages.accepted(messages.with_session(run, only_person="redeliver messages"), as_json)


def drop(message_id: messages.IdArgument, agent: AgentOption = None, as_json: messages.JsonFlag = False) -> None:
    """Give up a message that is queued or unknown.

    It is dead then. What an agent holds just now cannot be dropped: interrupt the agent."""

    async def run(session: Session) -> MessageRecord:
        return await session.relay.drop(message_id, agent)

    messages.accepted(messages.with_session(run, only_person="drop messages"), as_json)


def _dropped(record: MessageRecord) -> bool:
    """Say whether somebody gave up everything of it that did not arrive."""
    from relay_runner.protocol.deliveries import DROPPED
    from relay_runner.protocol.messages import State

    ended = [one for one in record.deliveries if one.state in (State.DEAD, State.UNKNOWN)]
    return all((one.reason or "").startswith(DROPPED) for one in ended)
