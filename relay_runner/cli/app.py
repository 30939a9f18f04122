"""The commands, by name.

Only typer is imported here: every command imports what it needs when it runs, so that `--help` costs no more than it
must. Commands return their exit code (None is 0) and raise our own errors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from relay_runner.cli import exits, spawned
from relay_runner.cli.failing import guarded
from relay_runner.errors import ConfigError, RelayRunnerError

PROGRAM = "relay-runner"

# Typer carries its own click or imports the real one, by version; the root of usage errors is the same place in both.
_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
_CLICK_ERROR: type[Exception] = typer.BadParameter.__mro__[2]
_PLAIN = tuple(
    (re.compile(pattern), plain)
    for pattern, plain in (
        (r"\. Did you mean '([^\n]{1,500})'\?", r"; did you mean '\1'?"),
        (r" \(Possible options: ([^()\n]{1,1000})\)", r"; did you mean \1?"),
        (r"Input should be a valid integer.*", "not a whole number"),
        (r"Input should be a valid number.*", "not a number"),
        (r"Input should be greater than or equal to", "must be at least"),
        (r"Input should be less than or equal to", "must be at most"),
        (r"[Ii]nvalid value for '\[?([^'\]]+)\]?'(?: / '[^']+')?:", r"invalid value for \1:"),
        (r"[Gg]ot unexpected extra argument(?:\(s\)|s)? \(([^\n]{0,1000})\)$", r"unexpected argument: \1"),
    )
)
"""What typer and its validator say, and how a person reads it."""

SECTIONS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "Agents": {
        "start": ("start", "Start an agent and show it."),
        "ps": ("agents", "List the agents and what they do."),
        "watch": ("watch", "Watch agents, permissions and messages live."),
        "attach": ("agents", "Show an agent's terminal; leave it by Ctrl-] d."),
        "logs": ("agents", "Show what an agent's runner logged."),
        "stop": ("agents", "End an agent; messages for it wait."),
        "kill": ("agents", "End an agent by force."),
        "restart": ("agents", "Restart an agent's program in the same session."),
        "interrupt": ("agents", "Stop what an agent is doing now."),
        "retry": ("agents", "End an agent's wait for a rate limit now."),
    },
    "Sessions": {
        "compact": ("agents", "Let an agent shorten what it remembers."),
        "clear": ("agents", "Begin a new session in an agent."),
        "inject": ("agents", "Give an agent context, without a turn of its own."),
        "review": ("operations", "Let an agent review changes, and show what it says."),
        "fork": ("operations", "Copy an agent's session into a new one."),
        "revert": ("operations", "Take an agent's last turns back."),
        "models": ("operations", "List the models that an agent could use."),
        "usage": ("operations", "Show the tokens that an agent's session used."),
        "limits": ("operations", "Show the rate limits of an agent's account."),
        "operate": ("operations", "Let an agent's program do one of its own operations, or list them."),
    },
    "Permissions": {
        "permissions": ("permissions", "List what agents ask permission for."),
        "approve": ("permissions", "Answer an agent's permission question with yes."),
        "deny": ("permissions", "Answer an agent's permission question with no."),
    },
    "Messages": {
        "send": ("messages", "Send a message to an agent."),
        "inbox": ("messages", "List the messages for you."),
        "read": ("messages", "Show one message and what became of it."),
        "attachment": ("files", "Fetch a file that came with a message."),
        "reply": ("messages", "Answer a message."),
        "react": ("messages", "Put an emoji on a message."),
        "dead": ("dead", "List messages that are dead or unknown."),
        "redeliver": ("dead", "Queue a message again unless its turn completed."),
        "drop": ("dead", "Give up a message that is queued or unknown."),
        "task": ("tasks", "See and move tasks."),
    },
    "The machine": {
        "relay": ("relay", "Run this machine's own relay."),
        "profile": ("profile", "Look at profiles, which set agents up."),
        "doctor": ("doctor", "Check this machine, and say what to do."),
        "version": ("doctor", "Show the version."),
    },
}
"""The commands: the module that has it, and the first sentence of its help (a test compares them)."""
_MODULES = {name: module for commands in SECTIONS.values() for name, (module, _) in commands.items()}


class LazyCommands(MutableMapping[str, Any]):
    """The commands by name, each made when it is asked for: building all of them would double the time of `--help`."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            module = import_module(f"relay_runner.cli.{_MODULES[name]}")
            group = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
            group.callback()(lambda: None)
            module.register(group)
            self._made.update(typer.main.get_group(group).commands)
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        del self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


class Sections(TyperGroup):
    """A command group whose help lists the commands by what they are about, and imports none of them."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = LazyCommands()

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one list per section."""
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, text) for name, (_, text) in commands.items()])


app = typer.Typer(
    cls=Sections,
    help="Put one coding agent on a relay: messages go in once, with proof, and answers come back.",
    epilog=exits.EPILOG,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.callback(invoke_without_command=True)
def root(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Put one coding agent on a relay: messages go in once, with proof, and answers come back."""
    if version:
        from relay_runner.cli import doctor

        doctor.version(as_json=False)
        raise typer.Exit(0)
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def run(argv: Sequence[str]) -> int:
    """Run one command line and return its exit code; errors are printed, none escapes."""
    words = argv[: argv.index("--")] if "--" in argv else argv
    # `--debug` is for the whole program and may stand anywhere before `--`.
    rest = [word for word in words if word != "--debug"] + list(argv[len(words) :])
    also = spawned.tell_error if spawned.is_headless_start([word for word in words if word != "--debug"]) else _ignore
    return guarded(lambda: _typed(rest), as_json="--json" in words, debug="--debug" in words, also=also)


def _ignore(error: RelayRunnerError) -> None:
    return None


def _typed(argv: Sequence[str]) -> int:
    """Let typer run the words, and map what it raises to our own errors."""
    try:
        return int(app(args=argv, prog_name=PROGRAM, standalone_mode=False) or 0)
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    except _CLICK_ERROR as error:
        raise _usage(error) from error


def _usage(error: Exception) -> ConfigError:
    message = getattr(error, "format_message", error.__str__)().strip().rstrip(".")
    for pattern, plain in _PLAIN:
        message = pattern.sub(plain, message)
    ctx = getattr(error, "ctx", None) if isinstance(error, _USAGE_ERROR) else None
    return ConfigError(message[:1].lower() + message[1:], hint=f"see `{ctx.command_path if ctx else PROGRAM} --help`")
