"""task list, show, set: work that the relay keeps a record of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from relay_runner.cli import messages, output, words

if TYPE_CHECKING:
    from relay_runner.cli.session import Session
    from relay_runner.protocol.commands import Task, TaskState

STATES = ("open", "in_progress", "done", "failed")
IdArgument = Annotated[int, typer.Argument(metavar="ID", help="The task's number.", parser=words.number)]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(
        name="task",
        help="See and move tasks. `send --task` opens one, and the turn that carries it moves it.",
        rich_markup_mode=None,
        no_args_is_help=False,
    )
    group.callback(invoke_without_command=True)(_help)
    group.command("list", cls=words.PlainCommand)(list_)
    group.command("show", cls=words.PlainCommand)(show)
    group.command("set", cls=words.PlainCommand)(set_)
    app.add_typer(group)


def _help(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def list_(
    state: Annotated[
        list[str] | None,
        typer.Option(metavar="STATE", help="Only those that are open, in_progress, done or failed; may be repeated."),
    ] = None,
    agent: Annotated[str | None, typer.Option(metavar="AGENT", help="Only those that this agent has.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", help="How many at most.", min=1, max=500)] = 100,
    as_json: messages.JsonFlag = False,
) -> None:
    """List the tasks, newest first.

    Inside an agent: those that it opened, and those that messages brought it."""
    chosen = tuple(_state(one) for one in state or ())

    async def run(session: Session) -> list[Task]:
        from relay_runner.protocol.commands import TaskQuery

        return await session.relay.tasks(TaskQuery(states=chosen, agent_id=agent, limit=limit))

    found = messages.with_session(run)
    if as_json:
        output.say_json(messages.builtins(found))
        return
    rows = [(task.id, task.state, output.age(task.updated_at), task.agent_id or "-", task.subject) for task in found]
    output.table(("id", "state", "since", "agent", "task"), rows, empty="no tasks: `send --task` opens one")


def show(task_id: IdArgument, as_json: messages.JsonFlag = False) -> None:
    """Show one task, and which message carried it."""

    async def run(session: Session) -> Task:
        return await session.relay.get_task(task_id)

    _say(messages.with_session(run), as_json)


def set_(
    task_id: IdArgument,
    state: Annotated[str, typer.Argument(metavar="STATE", help="What it is now: open, in_progress, done or failed.")],
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why.")] = None,
    as_json: messages.JsonFlag = False,
) -> None:
    """Move a task by hand.

    For what no turn can tell: an agent that can prove nothing, or a message that is unknown."""
    chosen = _state(state)

    async def run(session: Session) -> Task:
        from relay_runner.protocol.commands import TaskUpdate

        metadata = {"reason": reason} if reason else {}
        return await session.relay.update_task(task_id, TaskUpdate(state=chosen, metadata=metadata))

    _say(messages.with_session(run, only_person="move tasks"), as_json)


def _say(task: Task, as_json: bool) -> None:
    if as_json:
        output.say_json(messages.builtins(task))
        return
    words_of = {
        "task": task.id,
        "subject": task.subject,
        "state": task.state,
        "agent": task.agent_id,
        "by": task.created_by,
        "at": output.clock(task.created_at),
        **{_NAMES.get(name, name): value for name, value in task.metadata.items()},
    }
    for name, value in words_of.items():
        if value is not None:
            output.say(f"{output.line(name) + ':':<11}{output.line(value)}")
    if task.description:
        output.say(f"\n{task.description}")


_NAMES = {"messageId": "message", "attempt": "try"}
"""What a person reads for what the relay notes of the message that carried it."""


def _state(text: str) -> TaskState:
    from relay_runner.errors import ConfigError
    from relay_runner.protocol.commands import TaskState

    if text not in STATES:
        raise ConfigError(f"there is no state {text!r}", hint=f"use {', '.join(STATES)}")
    return TaskState(text)
