"""The commands, and the one place where an error becomes a line and an exit code.

Only typer is imported here: every command imports what it needs when it runs, so that `--help` costs no more than it
must. Commands return their exit code (None is 0) and raise our own errors.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from relay_runner.cli import exits
from relay_runner.errors import ConfigError, RelayRunnerError

PROGRAM = "relay-runner"
DEBUG_VARIABLE = "RELAY_RUNNER_DEBUG"

# Typer carries its own click or imports the real one, by version; the root of usage errors is the same place in both.
_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
_CLICK_ERROR: type[Exception] = typer.BadParameter.__mro__[2]

SECTIONS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "Agents": {
        "start": ("start", "Start an agent and show it."),
        "ps": ("agents", "List the agents and what they do."),
        "attach": ("agents", "Show an agent's terminal; leave it by Ctrl-] d."),
        "logs": ("agents", "Show what an agent's runner logged."),
        "stop": ("agents", "End an agent; messages for it wait."),
        "kill": ("agents", "End an agent by force."),
        "restart": ("agents", "Restart an agent's program in the same session."),
        "interrupt": ("agents", "Stop what an agent is doing now."),
    },
    "Messages": {
        "send": ("messages", "Send a message to an agent."),
        "inbox": ("messages", "List the messages for you."),
        "read": ("messages", "Show one message and what became of it."),
        "reply": ("messages", "Answer a message."),
        "react": ("messages", "Put an emoji on a message."),
        "dead": ("messages", "List messages that are dead or unknown."),
        "redeliver": ("messages", "Queue a dead or unknown message again."),
    },
    "The machine": {
        "relay": ("relay", "Run this machine's own relay."),
        "doctor": ("doctor", "Check this machine, and say what to do."),
        "version": ("doctor", "Show the version."),
    },
}
"""The commands: the module that has it, and the first sentence of its help (a test compares them)."""
_MODULES = {name: module for commands in SECTIONS.values() for name, (module, _) in commands.items()}
_HIDDEN = {"_run": "start"}


class LazyCommands(MutableMapping[str, Any]):
    """The commands by name, each made when it is asked for: building all of them would double the time of `--help`."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            module = import_module(f"relay_runner.cli.{(_MODULES | _HIDDEN)[name]}")
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
    as_json = "--json" in words
    debug = "--debug" in words or os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")
    # `--debug` is for the whole program and may stand anywhere before `--`.
    argv = [word for word in words if word != "--debug"] + list(argv[len(words) :])
    try:
        with _foreign_errors():
            return int(app(args=argv, prog_name=PROGRAM, standalone_mode=False) or 0)
    except BrokenPipeError:
        # The reader of our stdout went away (`| head`): nothing is wrong, and nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(exits.Exit.OK)
    except (KeyboardInterrupt, typer.Abort):
        return exits.INTERRUPTED_BY_PERSON
    except (RelayRunnerError, ExceptionGroup) as raised:
        from relay_runner.cli import output

        error = _first(raised)
        output.fail(error, as_json=as_json, debug=debug)
        return int(exits.of_error(error))


@contextmanager
def _foreign_errors() -> Iterator[None]:
    """Map what typer and the system raise to our own errors; what nobody foresaw is told as the bug it is."""
    try:
        yield
    except (RelayRunnerError, ExceptionGroup, BrokenPipeError, typer.Abort):
        raise
    except _CLICK_ERROR as error:
        raise _usage(error) from error
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        raise RelayRunnerError(f"cannot use{where}: {error.strerror or error}", hint="--debug tells more") from error
    except Exception as error:
        what = f"a bug of ours: {type(error).__name__}: {error}"
        raise RelayRunnerError(what, hint="please report it with what --debug shows") from error


def _usage(error: Exception) -> ConfigError:
    message = getattr(error, "format_message", error.__str__)().strip().rstrip(".")
    ctx = getattr(error, "ctx", None) if isinstance(error, _USAGE_ERROR) else None
    return ConfigError(message[:1].lower() + message[1:], hint=f"see `{ctx.command_path if ctx else PROGRAM} --help`")


def _first(raised: Exception) -> RelayRunnerError:
    """Return the first of our own errors in a group; a group without one is a bug and goes up as it is."""
    if isinstance(raised, RelayRunnerError):
        return raised
    if isinstance(raised, ExceptionGroup) and (mine := raised.subgroup(RelayRunnerError)) is not None:
        return _first(mine.exceptions[0])
    raise raised
