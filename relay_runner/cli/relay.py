"""relay serve, status, stop, restart: the relay of this machine."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from relay_runner.cli import loop, output
from relay_runner.cli.exits import Exit

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(
        name="relay",
        help="Run this machine's own relay. It starts by itself when it is needed.",
        rich_markup_mode=None,
        no_args_is_help=False,
    )
    group.callback(invoke_without_command=True)(_help)
    for command in (serve, status, stop, restart):
        group.command(command.__name__)(command)
    app.add_typer(group)


def _help(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def serve(
    host: Annotated[
        str, typer.Option(help="The address to listen on; others than loopback need tokens.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(help="The port; default: the one it had, or a free one.", min=0, max=65535)
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
    run_server(paths, host, port)


def status(as_json: JsonFlag = False) -> int:
    """Say whether the relay runs, and where."""
    found = loop.run(_status())
    if as_json:
        output.say_json(found)
    elif found["running"]:
        output.say(f"the relay runs at {found['url']}" + (f" (pid {found['pid']})" if found["pid"] else ""))
        for key, value in found["health"].items():
            output.say(f"  {key + ':':<12}{output.line(value)}")
    else:
        output.say("the relay does not run; the first command that needs it starts it")
    return Exit.OK if found["running"] else Exit.FAILED


def stop() -> None:
    """End the relay; agents go on, and their next need starts it again."""
    from relay_runner import config
    from relay_runner.cli import compose
    from relay_runner.relay import embedded

    compose.refuse_inside("stop the relay")
    stopped = loop.run(embedded.stop(config.paths()))
    output.say("the relay has ended" if stopped else "the relay did not run")


def restart() -> None:
    """End the relay and start it again, on the same port and with everything in it."""
    from relay_runner import config
    from relay_runner.cli import compose
    from relay_runner.relay import embedded

    compose.refuse_inside("restart the relay")
    paths = config.paths()

    async def run() -> str:
        await embedded.stop(paths)
        return str((await embedded.ensure(paths)).url)

    output.say(f"the relay runs at {loop.run(run())}")


async def _status() -> dict[str, Any]:
    """Return {running, url, pid, embedded, health} of the relay that commands would use."""
    from relay_runner.cli import session
    from relay_runner.errors import RelayUnavailable

    answer: dict[str, Any] = {"running": False, "url": None, "pid": None, "embedded": True, "health": {}}
    try:
        async with session.open_session(only_person="look at the relay", start=False) as opened:
            answer.update(url=opened.access.url, embedded=opened.access.embedded, pid=opened.access.pid)
            answer["health"] = await opened.relay.health()
            answer["running"] = True
    except RelayUnavailable:
        return answer
    return answer
