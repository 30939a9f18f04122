"""attachment, and what send, reply and read do with files."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay_runner.cli import compose, loop, output, words
from relay_runner.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from relay_runner.cli.session import Session
    from relay_runner.protocol.attachments import Attachment
    from relay_runner.relay.base import Relay
    from relay_runner.relay.uploading import Upload

AttachOption = Annotated[
    list[str] | None, typer.Option("--attach", metavar="FILE", help="A file that goes with it; may be repeated.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("attachment", cls=words.PlainCommand)(attachment)


def attachment(
    attachment_id: Annotated[str, typer.Argument(metavar="ID", help="The attachment's id, as `read` shows it.")],
    out: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Where to put it; - is stdout. Default: here.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Fetch a file that came with a message."""
    from pathlib import Path

    path = None if out in (None, "-") else Path(str(out)).expanduser()
    folder = folder_of(Path() if path is None else path.parent)
    if path is not None and path.is_dir():
        raise ConfigError(f"{path} is a folder", hint="name a file in it")

    async def run(session: Session) -> tuple[Attachment, Path | bytes]:
        from relay_runner.relay.saving import arriving

        async with arriving(session.relay, attachment_id, folder) as arrived:
            if out == "-":
                return arrived.attachment, arrived.content()
            kept = arrived.keep_beside(arrived.attachment.name) if path is None else arrived.keep(path.name)
            return arrived.attachment, kept

    found, where = loop.run(_in_session(run))
    if isinstance(where, bytes):
        sys.stdout.buffer.write(where)
        sys.stdout.buffer.flush()
    elif as_json:
        import msgspec

        output.say_json({**msgspec.to_builtins(found), "path": str(where)})
    else:
        output.say(str(where))


def chosen(names: Sequence[str] | None) -> list[Upload]:
    """Look at the files that are to be attached; raise `ConfigError` for the first that cannot be."""
    from relay_runner.relay import uploading

    return uploading.look(names, allowed=_allowed()) if names else []


async def give(relay: Relay, files: Sequence[Upload]) -> tuple[str, ...]:
    """Upload files; return their ids."""
    from relay_runner.relay import uploading

    return await uploading.give(relay, files)


def to_save_in(folder: str) -> Path:
    """Return the folder that files are to be put into; raise `ConfigError` where they cannot be."""
    from pathlib import Path

    if compose.inside_agent():
        raise ConfigError("an agent has its files already", hint="the message names their paths")
    return folder_of(Path(folder).expanduser())


async def save_all(relay: Relay, attachments: Sequence[Attachment], place: Path) -> list[Path]:
    """Put the files of a message into a folder, and return where they are; none takes the place of another."""
    from relay_runner.relay.saving import arriving

    found: list[Path] = []
    for one in attachments:
        async with arriving(relay, one.id, place) as arrived:
            found.append(arrived.keep_beside(one.name))
    return found


def describe(attachment: Attachment) -> str:
    """Return one line about a file."""
    from relay_runner.protocol.attachments import megabytes

    return f"{attachment.name} ({attachment.content_type}, {megabytes(attachment.size)}) {attachment.id}"


def folder_of(folder: Path) -> Path:
    """Return a folder that is there; raise `ConfigError` where it is not one."""
    try:
        folder = folder.resolve()
    except FileNotFoundError as error:
        raise ConfigError("the current folder no longer exists", hint="change to one that exists") from error
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}", hint="make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"cannot write into {folder}", hint="name another folder")
    return folder


def _allowed() -> list[Path] | None:
    """Return where an agent may take files from: what it could read without asking anybody; None is everywhere.

    An agent may run `relay-runner send` unasked, which must not become a way around its own permissions.
    """
    if not compose.inside_agent():
        return None
    from pathlib import Path

    from relay_runner.config import AgentPaths

    mine = AgentPaths(Path(os.environ.get("AGENT_RELAY_CONTEXT_STATE_DIR", "/nonexistent")))
    try:
        folder = os.fsdecode(mine.folder.read_bytes())
    except OSError as error:
        raise ConfigError("this agent's folder is not known, so nothing can be attached") from error
    return [Path(folder).resolve(), mine.attachments.resolve()]


async def _in_session(run: Any) -> Any:
    from relay_runner.cli import session

    async with session.open_session() as opened:
        return await run(opened)
