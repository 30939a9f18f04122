"""profile check: what a profile says, and what a provider makes of it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from relay_runner.cli import output, words

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(
        name="profile", help="Look at profiles, which set agents up.", rich_markup_mode=None, no_args_is_help=False
    )
    group.callback(invoke_without_command=True)(_help)
    group.command("check", cls=words.PlainCommand)(check)
    group.command("list", cls=words.PlainCommand)(list_)
    app.add_typer(group)


def _help(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def check(
    profile: Annotated[str, typer.Argument(metavar="FILE|NAME", help="The profile.")],
    provider: Annotated[
        str | None, typer.Option(metavar="NAME", help="For this provider; default: the profile's, or all.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Say what a provider makes of a profile.

    Nothing is started. Whatever is not listed is left as the program has it."""
    import msgspec

    from relay_runner import config
    from relay_runner.cli import choices, compose, profiles

    found = profiles.load(profile, config.paths())
    choices.check_mode(found.permissions.mode)
    named = provider or found.provider
    names = [named] if named else list(compose.PROVIDERS)
    reports = {name: compose.provider(name).project(found) for name in names}
    if as_json:
        projected: list[dict[str, Any]] = [
            {"provider": name, "projection": msgspec.to_builtins(report)} for name, report in reports.items()
        ]
        output.say_json({"profile": msgspec.to_builtins(found), "providers": projected})
        return
    rows = [(name, one.key, one.fate, one.why or "-") for name, report in reports.items() for one in report]
    output.table(("provider", "what", "result", "why"), rows, empty=f"{found.name} asks for nothing")


def list_(as_json: JsonFlag = False) -> None:
    """List your profiles."""
    from relay_runner import config
    from relay_runner.cli import profiles

    names = profiles.known(config.paths())
    if as_json:
        output.say_json(names)
    else:
        output.table(("name",), [(name,) for name in names], empty="no profiles")
