"""The checks of `doctor`: each one looks at one thing and never fails itself."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import sys
from dataclasses import dataclass

from relay_runner import config
from relay_runner.cli import asking, compose, local, output, session, versions
from relay_runner.errors import RelayRunnerError

OK, WARN, FAIL = "ok", "warn", "fail"
VERSION_S = 10.0
MIN_PYTHON = (3, 11)
FULL_BYTES = config.MIB
SCARCE_BYTES = 100 * config.MIB


@dataclass(frozen=True, slots=True)
class Check:
    """What one look found: `ok`, `warn` or `fail`, and what to do."""

    state: str
    what: str
    detail: str
    fix: str | None = None


async def run() -> list[Check]:
    """Look at everything; the slow looks at the same time."""
    async with asyncio.TaskGroup() as group:
        slow = [group.create_task(look) for look in (_tmux(), *map(_provider, compose.PREFERRED), _relay())]
    return [_python(), _state(), _disk(), _settings(), *(task.result() for task in slow), _agents()]


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < MIN_PYTHON:
        return Check(FAIL, "python", version, "use Python 3.11 or newer")
    return Check(OK, "python", version)


def _state() -> Check:
    folder = config.paths().state
    if not folder.exists():
        return Check(OK, "state folder", f"{folder}, made at the first start")
    status = folder.stat()
    if status.st_uid != os.getuid():
        return Check(FAIL, "state folder", f"{folder} belongs to somebody else", f"set {config.HOME_VARIABLE}")
    if not os.access(folder, os.W_OK | os.X_OK):
        return Check(FAIL, "state folder", f"{folder} cannot be written", f"chmod u+rwx {folder}")
    if stat.S_IMODE(status.st_mode) & 0o077:
        return Check(WARN, "state folder", f"{folder} is open to others", f"chmod 700 {folder}")
    if os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 0):
        how = f"set {config.HOME_VARIABLE} to another folder: hooks and relay-runner inside agents cannot run there"
        return Check(WARN, "state folder", f"{folder} is mounted noexec", how)
    return Check(OK, "state folder", str(folder))


def _disk() -> Check:
    folder = config.paths().state
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    found = f"{free / config.MIB:,.0f} MiB free for {folder}"
    if free < FULL_BYTES:
        return Check(FAIL, "disk", found, "free some space: messages wait until then")
    return Check(WARN, "disk", found, "free some space soon") if free < SCARCE_BYTES else Check(OK, "disk", found)


def _settings() -> Check:
    from pathlib import Path

    paths = config.paths()
    try:
        notes = config.load(paths, Path.cwd()).notes
    except FileNotFoundError:
        return Check(WARN, "settings", "the current folder no longer exists", "change to one that exists")
    except RelayRunnerError as error:
        return Check(FAIL, "settings", error.message, error.hint)
    if notes:
        return Check(
            WARN, "settings", "; ".join(notes), "remove the settings there, or set them in your own config.toml"
        )
    return Check(OK, "settings", str(paths.config_file) if paths.config_file.exists() else "defaults")


async def _tmux() -> Check:
    if not shutil.which("tmux"):
        return Check(WARN, "tmux", "not installed; agents run in a plain pty", "install tmux to attach to agents")
    said = await asking.ask("tmux", "-V", timeout_s=VERSION_S)
    if said.trouble:
        return Check(FAIL, "tmux", f"`tmux -V` {said.trouble}", "reinstall tmux")
    return Check(OK, "tmux", said.text)


async def _provider(name: str) -> Check:
    if name not in compose.PROVIDERS:
        return Check(OK, name, "not driven by this version; `start generic -- " + name + "` runs it")
    driven = compose.provider(name).versions
    if driven is None or not shutil.which(name):
        return Check(WARN, name, "not on PATH", driven.install if driven is not None else None)
    said = await asking.ask(name, "--version", timeout_s=VERSION_S)
    if said.trouble:
        return Check(WARN, name, f"unknown version: it {said.trouble}", f"run `{name}` once")
    return Check(OK, name, versions.describe(driven, said.text))


async def _relay() -> Check:
    try:
        async with asyncio.timeout(VERSION_S), session.open_session(start=False) as opened:
            health = await opened.relay.health()
            await opened.relay.agents()  # /healthz is open to everybody: this tells whether our token is good
            return Check(OK, "relay", f"{opened.access.url}, version {output.line(health.get('version', '?'))}")
    except RelayRunnerError as error:
        configured = _configured_relay()
        if configured is None and error.retryable:
            return Check(OK, "relay", "does not run; it starts when it is needed")
        return Check(FAIL, "relay", error.message, error.hint or "check the relay's URL and token")
    except TimeoutError:
        return Check(FAIL, "relay", f"no answer within {VERSION_S:g} s", "`relay-runner relay restart`")


def _configured_relay() -> str | None:
    try:
        return config.load(config.paths(), None).relay_url
    except RelayRunnerError:
        return None


def _agents() -> Check:
    runners = local.all_live(config.paths())
    return Check(OK, "agents here", ", ".join(runners) or "none run")
