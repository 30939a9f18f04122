"""relay token new, list, revoke: who may speak to the relay.

A token is shown once, where it was asked to go, and never again: the relay itself does not keep it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay_runner.cli import loop, output, words
from relay_runner.cli.exits import Exit

if TYPE_CHECKING:
    from relay_runner.protocol.tokens import TokenInfo, TokenRequest

_DURATION = re.compile(r"(\d+)([smhd]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_MIN_PREFIX = 4
_SHOWN = 12
"""How many characters of an id are shown: enough to be the only one."""
_USABLE = ("good", "replaced")
"""The states of tokens that the relay takes: one that was renewed is good until it runs out."""
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(relay: typer.Typer) -> None:
    """Add the commands of this module to the group `relay`."""
    group = typer.Typer(
        name="token", help="Make, list and revoke tokens for a relay.", rich_markup_mode=None, no_args_is_help=False
    )
    group.callback(invoke_without_command=True)(_help)
    group.command("new", cls=words.PlainCommand)(new)
    group.command("list", cls=words.PlainCommand)(list_)
    group.command("revoke", cls=words.PlainCommand)(revoke)
    relay.add_typer(group)


def _help(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def new(
    whom: Annotated[str, typer.Argument(metavar="WHOM", help="For whom: an agent's id, or person:LOGIN.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(metavar="SCOPE", help="Beside its own: send, operator, admin or agent:ID; may be repeated."),
    ] = None,
    ttl: Annotated[str, typer.Option(metavar="TIME", help="How long it is good, like 30m, 12h or 7d.")] = "24h",
    profile: Annotated[
        str | None, typer.Option(metavar="NAME", help="Default: provider-agent (renews itself), or person.")
    ] = None,
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the token there, readable by you alone, not to stdout.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a token and show it once.

    An agent that runs elsewhere finds it in RELAY_RUNNER_TOKEN, or in the file that RELAY_RUNNER_TOKEN_FILE names: that
    is read again whenever its token was lost."""
    wanted = _request(whom, tuple(scope or ()), _seconds(ttl), profile)
    told = loop.run(_new(wanted, Path(out).expanduser().absolute() if out else None))
    if as_json:
        output.say_json(told)
        return
    about = f"token {told['jti']} for {told['subject']}, good until {output.clock(told['expiresAt'])}"
    output.note(about if out is None else f"{about}, in {told['file']}")
    if out is None:
        output.say(told["token"])


def list_(
    everything: Annotated[bool, typer.Option("--all", help="Also those that are revoked or over.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """List the tokens that are good, never the tokens themselves."""
    now, rows = loop.run(_list(everything))
    if as_json:
        output.say_json([_shape(row, now) for row in rows])
        return
    output.table(
        ("token", "for", "state", "issued", "expires", *(["renewed as"] if everything else []), "may"),
        [
            (
                row.jti[:_SHOWN],
                row.subject,
                _state(row, now),
                f"{output.age(row.issued_at, now)} ago",
                f"in {output.lasted(row.expires_at - now)}" if row.expires_at > now else "over",
                *([" ".join(one[:_SHOWN] for one in row.successors) or "-"] if everything else []),
                " ".join(scope for scope in row.scopes if scope != row.subject) or "-",
            )
            for row in rows
        ],
        empty="no token is good" if not everything else "there are no tokens",
    )


def revoke(
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="Its id as `relay token list` shows it, or its start.")],
    as_json: JsonFlag = False,
) -> int:
    """Make a token worthless at once.

    Every token that was renewed from it goes with it."""
    told = loop.run(_revoke(token))
    if as_json:
        output.say_json(told)
    else:
        heirs = f", and {len(told['successors'])} renewed from it" if told["successors"] else ""
        output.say(f"token {told['jti']} of {told['subject']} is revoked{heirs}")
    return Exit.OK


async def _new(wanted: TokenRequest, out: Path | None) -> dict[str, Any]:
    from msgspec import to_builtins

    from relay_runner import config
    from relay_runner.cli import session
    from relay_runner.errors import ConfigError

    async with session.open_session(only_person="make a token") as opened:
        grant = await opened.relay.issue_token(wanted)
        told: dict[str, Any] = to_builtins(grant)
        if out is None:
            return told
        try:
            config.write_private(out, told.pop("token").encode() + b"\n")
        except OSError as error:
            await opened.relay.revoke_token(grant.jti)
            raise ConfigError(f"cannot write {out} ({error.strerror})", hint="name another file") from error
    return {**told, "file": str(out)}


async def _list(everything: bool) -> tuple[float, list[TokenInfo]]:
    import time

    from relay_runner.cli import session

    async with session.open_session(only_person="list tokens") as opened:
        rows = await opened.relay.list_tokens()
    now = time.time()
    return now, [row for row in rows if everything or _state(row, now) in _USABLE]


async def _revoke(text: str) -> dict[str, Any]:
    from relay_runner.cli import session
    from relay_runner.errors import ConfigError

    async with session.open_session(only_person="revoke a token") as opened:
        found = _find(text, await opened.relay.list_tokens())
        if found.jti == (await opened.relay.who_am_i()).jti:
            raise ConfigError(
                f"{found.jti} is the token that this command uses",
                hint="`relay-runner relay restart` replaces this machine's own; revoke others with another one",
            )
        await opened.relay.revoke_token(found.jti)
    return {"jti": found.jti, "subject": found.subject, "successors": list(found.successors)}


def _find(text: str, known: list[TokenInfo]) -> TokenInfo:
    """Return the token that an id or the start of one means; raise `ConfigError` where that is none or several."""
    from relay_runner.errors import ConfigError, RelayNotFound

    found = [row for row in known if row.jti == text] or [row for row in known if row.jti.startswith(text)]
    if not found:
        raise RelayNotFound(
            f"there is no token {output.line(text, 60)}", hint="see `relay-runner relay token list --all`"
        )
    if len(found) > 1 or (len(text) < _MIN_PREFIX and found[0].jti != text):
        names = ", ".join(row.jti for row in found[:4])
        raise ConfigError(f"{text!r} could be {names}", hint=f"give more of its id, {_MIN_PREFIX} characters at least")
    return found[0]


def _request(whom: str, scopes: tuple[str, ...], ttl_s: float, profile: str | None) -> TokenRequest:
    from relay_runner.errors import ConfigError
    from relay_runner.protocol.addresses import Address, Kind
    from relay_runner.protocol.tokens import AGENT_PROFILE, PERSON_PROFILE, SEND, TokenRequest, agent_scope

    address = Address.parse(whom)
    if address.kind not in (Kind.AGENT, Kind.PERSON):
        raise ConfigError(f"{whom!r} cannot hold a token", hint="use an agent's id or person:LOGIN")
    agent = address.kind is Kind.AGENT
    own = (agent_scope(address.value), SEND) if agent else (SEND,)
    return TokenRequest(
        subject=str(address),
        scopes=tuple(dict.fromkeys((*own, *scopes))),
        profile_id=profile or (AGENT_PROFILE if agent else PERSON_PROFILE),
        ttl_s=ttl_s,
    )


def _seconds(text: str) -> float:
    found = _DURATION.fullmatch(text.strip())
    if found is None or int(found[1]) < 1:
        raise typer.BadParameter(f"{text!r} is no time; use a number with s, m, h or d, like 12h", param_hint="--ttl")
    return float(int(found[1]) * _UNITS[found[2]])


def _state(row: TokenInfo, now: float) -> str:
    if row.revoked_at is not None:
        return "revoked"
    if row.expires_at <= now:
        return "expired"
    return "replaced" if row.successors else "good"


def _shape(row: TokenInfo, now: float) -> dict[str, Any]:
    from msgspec import to_builtins

    return {**to_builtins(row), "state": _state(row, now)}
