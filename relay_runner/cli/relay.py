"""relay serve, status, stop, restart: the relay of this machine. Its tokens are in `tokens`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from relay_runner.cli import loop, output, tokens, words
from relay_runner.cli.exits import Exit

_NAMES = {"relayId": "relay id", "uptimeS": "up"}
"""What a person reads for a field of `/healthz`."""
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(
        name="relay",
        help="Run this machine's own relay. The next command that needs it starts it.",
        rich_markup_mode=None,
        no_args_is_help=False,
    )
    group.callback(invoke_without_command=True)(_help)
    for command in (serve, status, stop, restart):
        group.command(command.__name__, cls=words.PlainCommand)(command)
    tokens.register(group)
    app.add_typer(group)


def _help(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def serve(
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="The address to listen on; others than loopback need tokens.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(metavar="PORT", help="Default: the one it had, or a free one.", min=0, max=65535)
    ] = None,
    lease: Annotated[
        float | None,
        typer.Option(metavar="S", help="How long a runner that is gone keeps a message (`lease_s`, 900)."),
    ] = None,
) -> None:
    """Run the relay in the foreground."""
    from relay_runner import config, log
    from relay_runner.cli import compose
    from relay_runner.server.serve import serve as run_server

    compose.refuse_inside("run the relay")
    paths = config.paths()
    config.private_dir(paths.state)
    log.setup()
    settings = config.load(paths, None)
    lease_s = settings.lease_s if lease is None else config.check_lease(lease)
    run_server(paths, host, port, max_attachment_bytes=settings.max_attachment_bytes, lease_s=lease_s)


def status(as_json: JsonFlag = False) -> int:
    """Say whether the relay runs, and where."""
    found = loop.run(_status())
    if as_json:
        output.say_json(found)
    elif found["running"]:
        output.say(f"the relay runs at {found['url']}" + (f" (pid {found['pid']})" if found["pid"] else ""))
        for key, value in found["health"].items():
            output.say(f"  {_NAMES.get(key, key) + ':':<12}{_shown(key, value)}")
    elif found["embedded"] and found["pid"] is None:
        output.say("the relay does not run; the first command that needs it starts it")
    else:
        output.note(output.line(found["reason"], 1000))
    return Exit.OK if found["running"] else Exit.FAILED


def stop() -> None:
    """End the relay; the next command that needs it starts it.

    Agents go on meanwhile."""
    from relay_runner import config
    from relay_runner.cli import compose
    from relay_runner.relay import embedded

    compose.refuse_inside("stop the relay")
    output.say("the relay has ended" if loop.run(embedded.stop(config.paths())) else "the relay did not run")


def restart() -> None:
    """End the relay and start it again.

    It keeps its port and everything in it; agents come back by themselves."""
    from relay_runner import config
    from relay_runner.cli import compose
    from relay_runner.relay import embedded

    compose.refuse_inside("restart the relay")
    paths = config.paths()

    loop.run(embedded.stop(paths))
    output.say(f"the relay runs at {loop.run(embedded.ensure(paths)).url}")


def _shown(key: str, value: Any) -> str:
    return f"for {output.lasted(value)}" if key == "uptimeS" and isinstance(value, int | float) else output.line(value)


async def _status() -> dict[str, Any]:
    """Return {running, url, pid, embedded, health} of the relay that commands would use."""
    from relay_runner import config
    from relay_runner.cli import compose, session
    from relay_runner.errors import RelayUnavailable
    from relay_runner.relay import embedded

    compose.refuse_inside("look at the relay")
    paths = config.paths()
    url = config.load(paths, None).relay_url
    file = None if url else embedded.read_file(paths)
    pid = file.pid if file is not None and (await embedded.status(paths)).running else None
    answer: dict[str, Any] = {"running": False, "url": url, "pid": pid, "embedded": not url, "health": {}}
    try:
        async with session.open_session(start=False) as opened:
            answer.update(health=await opened.relay.health(), url=opened.access.url, running=True)
    except RelayUnavailable as error:
        answer["reason"] = str(error)
    return answer
