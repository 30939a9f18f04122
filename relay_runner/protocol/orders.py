"""The rules of commands: which ones a relay takes, how they move on, and when they come too late."""

from __future__ import annotations

from msgspec.structs import replace

from relay_runner.errors import RelayRefused
from relay_runner.protocol.commands import MAX_COMMAND_TIMEOUT_S, Command, CommandState, CommandUpdate, NewCommand

MIN_COMMAND_TIMEOUT_S = 0.001
RUNNING_SLACK_S = 30.0
"""How much longer than its timeout a running command may stay silent before it counts as failed."""

SETTLED = frozenset({CommandState.SUCCEEDED, CommandState.FAILED})
_MOVES: dict[CommandState, frozenset[CommandState]] = {
    CommandState.ACCEPTED: frozenset({CommandState.RUNNING, *SETTLED}),
    CommandState.RUNNING: frozenset({CommandState.RUNNING, *SETTLED}),
    CommandState.SUCCEEDED: frozenset(),
    CommandState.FAILED: frozenset(),
}


def check_command(new: NewCommand) -> None:
    """Raise `RelayRefused` with one line for an order that cannot be taken."""
    if not MIN_COMMAND_TIMEOUT_S <= new.timeout_s <= MAX_COMMAND_TIMEOUT_S:
        raise RelayRefused(f"timeoutS must be from {MIN_COMMAND_TIMEOUT_S} to {MAX_COMMAND_TIMEOUT_S:g}", status=422)
    if not new.type.startswith("agent."):
        raise RelayRefused(f"there is no command {new.type[:80]!r}", hint="they begin with agent.", status=422)


def move_command(command: Command, update: CommandUpdate, now: float) -> Command:
    """Return the command after a report; what was told first of its end stands."""
    if command.state in SETTLED and update.state is command.state:
        return command
    if update.state not in _MOVES[command.state]:
        raise RelayRefused(
            f"command {command.id} is {command.state} and cannot become {update.state}",
            status=409,
            code="illegal-move",
        )
    return replace(command, state=update.state, result=update.result, updated_at=now)


def command_due_at(command: Command) -> float | None:
    """Return the instant when a command fails by itself, None for a settled one."""
    if command.state is CommandState.ACCEPTED:
        return command.updated_at + command.timeout_s
    if command.state is CommandState.RUNNING:
        return command.updated_at + command.timeout_s + RUNNING_SLACK_S
    return None


def lapse_command(command: Command, now: float) -> Command:
    """Return a command that nobody took or answered in time as failed: an old one must not hit a later start."""
    due_at = command_due_at(command)
    if due_at is None or due_at > now:
        return command
    did = "take" if command.state is CommandState.ACCEPTED else "answer"
    reason = f"the agent did not {did} it in time"
    return replace(command, state=CommandState.FAILED, result={"reason": reason}, updated_at=now)
