"""permissions, approve, deny: what agents ask, and a person's answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay_runner.cli import loop, output, words
from relay_runner.cli.exits import Exit

if TYPE_CHECKING:
    from relay_runner.protocol.permissions import Decision, Permission

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="As `permissions` shows it, or its start.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="What the model is told.")]
DONE = {
    "approve": "approved",
    "approve-session": "approved for the session",
    "approve-always": "approved for always",
    "deny": "denied",
    "abort": "denied, and the turn ended",
}

ANSWERS = {
    "approve": ("approve", "", "yes, this once"),
    "approve-session": ("approve", " --session", "yes, also again in this session"),
    "approve-always": ("approve", " --always", "yes, and the rule that it offers"),
    "deny": ("deny", "", "no; --reason TEXT says why"),
    "abort": ("deny", " --abort", "no, and its turn ends"),
}
"""The command that gives an answer: its verb, its flags, and what it means."""


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (permissions, approve, deny):
        app.command(command.__name__, cls=words.PlainCommand)(command)


def permissions(
    which: Annotated[str, typer.Argument(metavar="[list|ID]", help="One of them in full; without, all.")] = "list",
    agent: Annotated[str | None, typer.Option("--agent", metavar="AGENT", help="Only this agent's.")] = None,
    show_all: Annotated[bool, typer.Option("--all", "-a", help="Also those that are over.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """List what agents ask permission for.

    With an ID: all of it, with the questions that it asks."""
    from relay_runner.cli import deciding

    if which != "list":
        found = loop.run(deciding.one(which))
        if as_json:
            output.say_json(_builtins(found))
        else:
            _show(found)
        return
    listed = loop.run(deciding.listed(agent, show_all=show_all))
    if as_json:
        output.say_json(_builtins(listed))
        return
    rows = [
        (one.id, output.age(one.created_at), one.agent_id, one.kind, output.asked(one.title) + _standing(one))
        for one in listed
    ]
    output.table(("id", "age", "agent", "kind", "asks"), rows, empty="nobody asks anything")


def approve(
    permission_id: IdArgument,
    session: Annotated[bool, typer.Option("--session", help="This very thing for the whole session.")] = False,
    always: Annotated[bool, typer.Option("--always", help="The standing rule that it offers.")] = False,
    reason: ReasonOption = None,
    answer: Annotated[
        list[str] | None,
        typer.Option(metavar="[Q=]TEXT", help="The answer to a question, by its number; may be repeated."),
    ] = None,
    as_json: JsonFlag = False,
) -> int:
    """Answer an agent's permission question with yes.

    The first answer counts, wherever it is given."""
    from relay_runner.errors import ConfigError
    from relay_runner.protocol.permissions import Decision

    if session and always:
        raise ConfigError("--session and --always contradict each other", hint="give one of them")
    decision = Decision.APPROVE_SESSION if session else Decision.APPROVE_ALWAYS if always else Decision.APPROVE
    return _answer(permission_id, decision, reason, tuple(answer or ()), as_json)


def deny(
    permission_id: IdArgument,
    reason: ReasonOption = None,
    abort: Annotated[bool, typer.Option("--abort", help="End the agent's turn, too.")] = False,
    as_json: JsonFlag = False,
) -> int:
    """Answer an agent's permission question with no.

    The model reads the reason and goes on; with --abort its turn ends."""
    from relay_runner.protocol.permissions import Decision

    return _answer(permission_id, Decision.ABORT if abort else Decision.DENY, reason, (), as_json)


def _answer(permission_id: str, decision: Decision, reason: str | None, answers: tuple[str, ...], as_json: bool) -> int:
    from relay_runner.cli import deciding

    found = loop.run(deciding.decide(permission_id, decision, reason, answers))
    problem = deciding.problem(found, decision)
    if as_json:
        output.say_json(_builtins(found))
    elif problem is None:
        waits = f"; {found.agent_id} has not taken it yet" if found.state == "decided" else ""
        output.say(f"{found.id}: {DONE[decision]} ({found.agent_id}: {output.asked(found.title)}){waits}")
    else:
        output.note(f"{found.id}: {problem}")
    return Exit.OK if problem is None else Exit.FAILED


def _show(found: Permission) -> None:
    output.say(f"{found.id}  {found.kind} of {found.agent_id}, {output.age(found.created_at)} ago{_standing(found)}")
    output.say(output.asked(found.title, 500))
    if found.detail:
        output.say("\n" + output.whole(found.detail))
    for question in found.questions:
        several = ", several of them" if question.multiple else ""
        other = ", or any text" if question.other or not question.options else ""
        choices = f": {', '.join(question.options)}" if question.options else ""
        output.say(f"\n{question.id}. {output.asked(question.text, 2000)}{output.asked(choices, 2000)}{several}{other}")
    if found.decisions and found.state == "open":
        output.say()
        for decision in found.decisions:
            verb, flags, does = ANSWERS[decision]
            if decision == "approve":
                flags = "".join(f" --answer {number}=TEXT" for number in range(1, len(found.questions) + 1))
            output.say(f"{f'relay-runner {verb} {found.id}{flags}':<43}  {does}")


def _standing(found: Permission) -> str:
    """Return in brackets what a person must know of it, for the end of a line."""
    from relay_runner.protocol import decisions

    if found.state != "open":
        return f" ({decisions.standing(found)}{'; ' + found.note if found.note else ''})"
    return f" ({found.note})" if found.note else ""


def _builtins(value: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(value)
