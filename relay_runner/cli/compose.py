"""The only composition root: which relay, which provider and which terminals there are, chosen by name.

Implementations are named by dotted path and imported when they are used.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from relay_runner import config
from relay_runner.errors import ConfigError, RelayUnauthorized, RelayUnavailable
from relay_runner.protocol.addresses import agent_principal

if TYPE_CHECKING:
    import socket

    from relay_runner.providers.base import Provider
    from relay_runner.relay.base import Relay
    from relay_runner.relay.endpoint import EndpointSource
    from relay_runner.terminal.base import SavedTerminal, Terminal, Terminals, TerminalSpec

PROVIDERS: Mapping[str, str] = {
    "claude": "relay_runner.providers.claude:ClaudeProvider",
    "codex": "relay_runner.providers.codex:CodexProvider",
    "generic": "relay_runner.providers.generic:GenericProvider",
    "demo": "relay_runner.providers.demo:DemoProvider",
}
PREFERRED = ("claude", "codex", "opencode")
"""What `start` looks for on PATH when no provider is named; one without code here does not count."""
FALLBACK = "demo"
TOKEN_HINT = "set RELAY_RUNNER_TOKEN or RELAY_RUNNER_TOKEN_FILE, or relay_token in config.toml"


@dataclass(frozen=True, slots=True)
class RelayAccess:
    """How this command reaches its relay, and who it is there."""

    url: str
    token: str
    source: EndpointSource
    embedded: bool
    inside: bool = False
    """Through the control server of the agent that this command runs in."""


def inside_agent(environ: Mapping[str, str] | None = None) -> bool:
    """Say whether this command runs inside an agent."""
    return bool((os.environ if environ is None else environ).get(config.INSIDE_VARIABLE))


def refuse_inside(what: str) -> None:
    """Raise `ConfigError` when an agent calls what only a person may do, with its environment or without it."""
    if inside_agent() or _enclosing() is not None:
        raise ConfigError(f"an agent cannot {what}", hint="ask the person who runs it")


def refuse_unmarked() -> None:
    """Raise `ConfigError` for a command of an agent that lacks the agent's environment: it would speak as a person."""
    if not inside_agent() and (agent_id := _enclosing()) is not None:
        raise ConfigError(
            f"this command runs inside agent {agent_id} without its environment",
            hint="keep the AGENT_RELAY_* variables, or run it in your own terminal",
        )


def _enclosing() -> str | None:
    from relay_runner.cli import local

    return local.enclosing(config.paths())


def provider(name: str) -> Provider:
    """Return the provider of that name; raise `ConfigError` for an unknown one."""
    check_provider(name)
    made: Provider = _load(PROVIDERS[name])()
    return made


def check_provider(name: str) -> None:
    """Raise `ConfigError` for a provider that this version has no code for."""
    if name not in PROVIDERS:
        near = get_close_matches(name, PROVIDERS, 1)
        hint = f"did you mean {near[0]}" if near else f"use {', '.join(PROVIDERS)}"
        if shutil.which(name):
            hint = f"`relay-runner start generic -- {name}` runs any terminal program"
        raise ConfigError(f"unknown provider {name!r}", hint=hint)


def choose_provider(settings: config.Settings) -> tuple[str, str]:
    """Return the provider to start when none was named, and why, in words that follow its name."""
    if settings.provider:
        return settings.provider, "it is configured"
    for name in PREFERRED:
        if name in PROVIDERS and shutil.which(name):
            return name, f"{name} is on PATH"
    looked_for = ", ".join(name for name in PREFERRED if name in PROVIDERS)
    return FALLBACK, f"none of {looked_for} is on PATH; the demo agent needs no account"


def terminals(paths: config.Paths, *, tmux: bool = True) -> tuple[Terminals, str | None]:
    """Return how terminals are made here, and a line for a person where it is not the usual way."""
    if tmux and shutil.which("tmux"):
        return _Chosen(paths, "tmux"), None
    why = "tmux is not installed: " if tmux else ""
    return _Chosen(paths, "pty"), f"{why}the agent runs in a plain pty, where nobody can attach to it"


class _Chosen:
    """Open terminals of one kind, and adopt those of any: what still runs was perhaps started otherwise."""

    def __init__(self, paths: config.Paths, kind: str) -> None:
        self._paths = paths
        self._kind = kind

    async def open(self, spec: TerminalSpec) -> Terminal:
        """Start the program; see `Terminals.open`."""
        return await terminals_of(self._paths, self._kind).open(spec)

    async def adopt(self, saved: SavedTerminal) -> Terminal | None:
        """Return the terminal of an earlier runner; see `Terminals.adopt`."""
        return await terminals_of(self._paths, saved.kind).adopt(saved)

    async def listener(self, saved: SavedTerminal) -> socket.socket | None:
        """Return the socket that is kept for a program; see `Terminals.listener`."""
        return await terminals_of(self._paths, saved.kind).listener(saved)


def terminals_of(paths: config.Paths, kind: str) -> Terminals:
    """Return the terminals of one kind, `tmux` or `pty`."""
    if kind == "tmux":
        made = _load("relay_runner.terminal.tmux:TmuxTerminals")
        return cast("Terminals", made(paths.sockets(), restore=paths.sockets))
    return cast("Terminals", _load("relay_runner.terminal.pty:PtyTerminals")(paths.sockets()))


async def access(
    paths: config.Paths,
    settings: config.Settings,
    *,
    url: str | None = None,
    start: bool = True,
    environ: Mapping[str, str] | None = None,
) -> RelayAccess:
    """Return the relay to use: the enclosing agent's, the configured one, or this machine's own.

    The last is started if need be; with `start=False` one that does not run is `RelayUnavailable`.
    """
    from relay_runner.relay import embedded
    from relay_runner.relay.endpoint import fixed, through

    environ = os.environ if environ is None else environ
    if inside_agent(environ):
        source = through(
            fixed(environ["AGENT_RELAY_URL"], environ["AGENT_RELAY_TOKEN"]), environ.get("AGENT_RELAY_SOCKET")
        )
        found = await source()
        return RelayAccess(found.url, found.token, source, embedded=False, inside=True)
    url = url or settings.relay_url
    if url:
        found = await fixed(url, settings.relay_token or "")()
        return RelayAccess(found.url, found.token, fixed(found.url, found.token), embedded=False)
    if not start and (await embedded.status(paths)).health is None:
        raise RelayUnavailable("the relay does not run", hint="`relay-runner relay restart` starts it")
    found = await embedded.ensure(paths)
    return RelayAccess(found.url, found.token, embedded.source(paths), embedded=True)


def unused_token(settings: config.Settings, url: str | None) -> str | None:
    """Return a line for a person who configured a token and no relay that it is for; None where there is none."""
    if settings.relay_token is None or url or settings.relay_url or inside_agent():
        return None
    return (
        "a relay token is configured, but no relay: using this machine's own relay and its token; "
        "set RELAY_RUNNER_URL (or relay_url in config.toml) to use another relay"
    )


def relay_at(found: RelayAccess) -> Relay:
    """Return the relay, not opened yet; it asks again where the relay is whenever it has lost it."""
    from relay_runner.relay.http import HttpRelay

    return HttpRelay(found.source)


@contextmanager
def token_wanted(found: RelayAccess) -> Iterator[None]:
    """Tell a person whose token a relay elsewhere does not take what to do about it."""
    try:
        yield
    except RelayUnauthorized as error:
        if error.status != 401 or found.embedded or found.inside:
            raise
        raise RelayUnauthorized(
            f"the relay at {found.url} wants {'another' if found.token else 'a'} token",
            hint=TOKEN_HINT,
            code=error.code,
        ) from error


def me(found: RelayAccess) -> str | None:
    """Return the principal that this command speaks for, or None where its token does not say."""
    if found.inside:
        return agent_principal(os.environ.get("AGENT_RELAY_ID", ""))
    return _subject(found.token)


def _subject(token: str) -> str | None:
    """Read a token's subject; whether the token is good is the relay's business."""
    try:
        body = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return str(claims["sub"])
    except (IndexError, ValueError, KeyError, TypeError):
        return None


def _load(dotted: str) -> Any:
    module, _, name = dotted.partition(":")
    return getattr(import_module(module), name)
