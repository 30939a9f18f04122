"""What `start` is asked for: flags over environment over settings files become `RunnerOptions`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import msgspec

from relay_runner import config
from relay_runner.cli import compose, local, output, profiles
from relay_runner.errors import ConfigError
from relay_runner.protocol.addresses import check_agent_id, suggest_agent_id
from relay_runner.protocol.budgets import Budgets
from relay_runner.protocol.control import RunnerInfo
from relay_runner.protocol.profiles import NO_PROFILE, Profile
from relay_runner.runner.options import RunnerOptions

_OURS = frozenset({"agent_id", "headless", "replace", "prompt"})
"""The flags that say which agent is meant and how it is started, not what it is."""
_SPELLINGS = {
    "provider": "PROVIDER",
    "tags": "--tag",
    "capabilities": "--capability",
    "tmux": "--no-tmux",
    "args": "the words after --",
}
PRINCIPALS = ("agent:", "person:")
TAGS_VARIABLE = "AGENT_RELAY_TAGS"
MODE_VARIABLE = "AGENT_RELAY_WORKSPACE_MODE"
INFO_VARIABLE = "AGENT_RELAY_RUNNER_INFO_FILE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """The command line of `start`, as it was typed."""

    provider: str | None = None
    agent_id: str | None = None
    label: str | None = None
    tags: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    cwd: str | None = None
    model: str | None = None
    effort: str | None = None
    prompt: str | None = None
    turn_timeout: float | None = None
    system_prompt_append: str | None = None
    approval_mode: str | None = None
    isolated_home: bool = False
    secrets: str | None = None
    profile: str | None = None
    headless: bool = False
    trust_folder: bool = False
    resume: str | None = None
    fresh: bool = False
    replace: bool = False
    relay: str | None = None
    tmux: bool = True
    tmux_session: str | None = None
    info_file: str | None = None
    rig: str | None = None
    policy: str | None = None
    spawn_request_id: str | None = None
    automation_id: str | None = None
    automation_run_id: str | None = None
    workspace: str | None = None
    budget_turns: int | None = None
    budget_tokens: int | None = None
    budget_cost: float | None = None
    args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One start, resolved: what the runner is to be, and what it is made of."""

    options: RunnerOptions
    relay_url: str | None = None
    tmux: bool = True
    why: str | None = None
    """Why this provider, where nobody named it."""


def resolve(flags: Flags, paths: config.Paths, environ: Mapping[str, str]) -> Request:
    """Return what is to be started; raise `ConfigError` for what cannot be.

    An agent's id alone means: again as it was started last.
    """
    if flags.agent_id and flags == Flags(agent_id=flags.agent_id, headless=flags.headless):
        again = last(paths, check_agent_id(flags.agent_id))
        if again is not None and again.options.cwd.is_dir():
            return replace(again, options=_spawned(replace(again.options, headless=flags.headless), environ))
    cwd = _folder(flags.cwd)
    settings = config.load(paths, cwd, environ)
    for told in settings.notes:
        output.note(told)
    profile = profiles.load(flags.profile, paths) if flags.profile else NO_PROFILE
    name, why = _provider(flags, settings, profile)
    if name not in compose.PROVIDERS and name in local.known(paths):
        raise ConfigError(f"{name} is an agent", hint=f"`relay-runner start --agent-id {name}` starts it")
    compose.check_provider(name)
    if flags.resume and flags.fresh:
        raise ConfigError("--resume and --fresh contradict each other", hint="give one of them")
    mine = settings.of(name)
    secrets = flags.secrets or mine.secrets
    isolated = flags.isolated_home or profile.isolated or mine.isolated_home or secrets is not None
    info_file = flags.info_file or environ.get(INFO_VARIABLE)
    options = RunnerOptions(
        agent_id=check_agent_id(flags.agent_id) if flags.agent_id else agent_id(paths, cwd, name),
        provider=name,
        cwd=cwd,
        args=(*mine.args, *flags.args),
        command=mine.command,
        env={} if isolated else mine.env,
        model=flags.model or settings.model,
        effort=flags.effort or settings.effort,
        approval_mode=_mode(flags.approval_mode or profile.permissions.mode or settings.approval_mode),
        profile=profile,
        label=flags.label,
        tags=_unique(flags.tags, _csv(environ.get(TAGS_VARIABLE, "")), settings.tags, mine.tags),
        capabilities=_unique(flags.capabilities, mine.capabilities),
        prompt=flags.prompt,
        turn_timeout_s=flags.turn_timeout,
        system_prompt_append=flags.system_prompt_append,
        isolated_home=flags.isolated_home or mine.isolated_home or secrets is not None,
        secrets=Path(secrets).expanduser().absolute() if secrets else None,
        headless=flags.headless,
        trust_folder=flags.trust_folder,
        resume=flags.resume,
        fresh=flags.fresh,
        replace=flags.replace,
        tmux_session=flags.tmux_session,
        info_file=Path(info_file).absolute() if info_file else None,
        shutdown_timeout_s=mine.shutdown_timeout_s,
        permission_deadline_s=settings.permission_deadline_s,
        least_hold_s=settings.limits.least_s,
        unreachable_s=settings.limits.unreachable_s,
        budgets=_budgets(name, flags, settings.budget),
        rig=flags.rig,
        policy_name=flags.policy,
        spawn_request_id=flags.spawn_request_id,
        automation_id=flags.automation_id,
        automation_run_id=flags.automation_run_id,
        workspace=_with_mode(_workspace(flags.workspace), environ),
    )
    return Request(options, relay_url=flags.relay, tmux=flags.tmux, why=why)


def _spawned(options: RunnerOptions, environ: Mapping[str, str]) -> RunnerOptions:
    """Return a start again with what the one who starts it now says by the environment."""
    info_file = environ.get(INFO_VARIABLE)
    return replace(
        options,
        workspace=_with_mode(options.workspace, environ),
        tags=_unique(options.tags, _csv(environ.get(TAGS_VARIABLE, ""))),
        info_file=Path(info_file).absolute() if info_file else None,
    )


def _provider(flags: Flags, settings: config.Settings, profile: Profile) -> tuple[str, str | None]:
    """Return the provider, and why it is that one where nobody named it."""
    if flags.provider:
        return flags.provider, None
    if profile.provider:
        return profile.provider, f"the profile {profile.name} says so"
    return compose.choose_provider(settings)


def agent_id(paths: config.Paths, cwd: Path, provider: str) -> str:
    """Return the id of this folder's agent: the one it had before, or the first that no other folder has."""
    base = suggest_agent_id(cwd.name or "root", provider)
    for number in range(1, 1000):
        candidate = base if number == 1 else f"{base[: 47 - len(str(number))]}-{number}"
        owner = last(paths, candidate)
        if owner is None or (owner.options.cwd == cwd and owner.options.provider == provider):
            return candidate
    raise ConfigError(f"there are too many agents called {base}", hint="name this one with --agent-id")


def encode(request: Request) -> bytes:
    """Return a request as it travels to the background process."""
    return msgspec.json.encode(request, enc_hook=str)


def decode(data: bytes) -> Request:
    """Return the request that `encode` wrote."""
    return msgspec.json.decode(data, type=Request, dec_hook=_decode_path)


def remember(request: Request, paths: config.Paths) -> None:
    """Save a start for the next one; what was meant for that one only is left out."""
    options = replace(
        request.options, prompt=None, resume=None, fresh=False, replace=False, info_file=None, screen=None
    )
    config.write_private(paths.agent(options.agent_id).launch, encode(replace(request, options=options, why=None)))


def last(paths: config.Paths, agent_id: str) -> Request | None:
    """Return how the agent was started last, or None where nothing readable says so."""
    try:
        return decode(paths.agent(agent_id).launch.read_bytes())
    except (OSError, msgspec.DecodeError):
        return None


def not_applied(flags: Flags, before: Request | None, running: RunnerInfo) -> list[str]:
    """Return the flags, as they are typed, that a live agent does not have, and cannot get without a new start."""
    options = before.options if before is not None else None
    has: dict[str, Any] = {
        "provider": running.provider,
        "cwd": running.cwd,
        "resume": running.session_id,
        "policy": options and options.policy_name,
        "turn_timeout": options and options.turn_timeout_s,
        "info_file": None,
        "budget_turns": options and options.budgets.agent.turns,
        "budget_tokens": options and options.budgets.agent.tokens,
        "budget_cost": options and options.budgets.agent.cost_usd,
        "args": None,
        "profile": flags.profile if _same_profile(flags.profile, options) else None,
        "relay": before and before.relay_url,
        "tmux": before.tmux if before is not None else True,
    }
    asked: dict[str, Any] = {
        field.name: getattr(flags, field.name) for field in fields(Flags) if field.name not in _OURS
    }
    asked["cwd"] = str(_folder(flags.cwd)) if flags.cwd else None
    none = asdict(Flags())
    return [
        _SPELLINGS.get(name, f"--{name.replace('_', '-')}")
        for name, value in asked.items()
        if value != none[name] and value != has.get(name, getattr(options, name, None))
    ]


def _same_profile(name: str | None, options: RunnerOptions | None) -> bool:
    """Say whether a live agent was started by the profile of that name or file."""
    return name is not None and options is not None and options.profile.name in (name, Path(name).stem)


def describe(request: Request) -> str:
    """Return one line that says what is started, and why."""
    options = request.options
    why = f" ({request.why})" if request.why else ""
    mode = "" if options.approval_mode == "ask" else f", approval mode {options.approval_mode}"
    return output.line(f"starting {options.agent_id}: {options.provider}{why} in {options.cwd}{mode}", 400)


def _decode_path(type_: type[Any], value: Any) -> Any:
    if type_ is Path:
        return Path(value)
    raise TypeError(f"no way to read a {type_}")


def _folder(text: str | None) -> Path:
    try:
        folder = Path(text).expanduser().resolve() if text else Path.cwd()
    except FileNotFoundError as error:
        raise ConfigError(
            "the current folder no longer exists", hint="change to one that exists, or use --cwd"
        ) from error
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}", hint="make it, or give another --cwd")
    return folder


def check_mode(text: str | None) -> None:
    """Raise `ConfigError` for an approval mode that nobody knows; None is none."""
    if text is not None:
        _mode(text)


def _mode(text: str) -> str:
    if text not in config.APPROVAL_MODES:
        raise ConfigError(f"unknown approval mode {text!r}", hint=f"use {', '.join(config.APPROVAL_MODES)}")
    return text


def _budgets(provider: str, flags: Flags, configured: Budgets) -> Budgets:
    """Return the budgets of the settings, the agent's own by the flags; refuse what the provider cannot measure."""
    asked = {"turns": flags.budget_turns, "tokens": flags.budget_tokens, "cost_usd": flags.budget_cost}
    given = {name: value for name, value in asked.items() if value is not None}
    budgets = msgspec.structs.replace(configured, agent=msgspec.structs.replace(configured.agent, **given))
    for name in budgets.senders:
        if not name.startswith(PRINCIPALS):
            raise ConfigError(f"budget.senders: {name!r} is nobody", hint=f"write agent:{name} or person:{name}")
    wanted = budgets.wanted() - {"turns"}
    can = compose.provider(provider).capabilities if wanted else None
    for what, told in (("tokens", "how many tokens a turn uses"), ("cost", "what a turn costs")):
        if what in wanted and can is not None and not getattr(can, what):
            hint = "use --budget-tokens or --budget-turns" if can.tokens else "use --budget-turns"
            raise ConfigError(f"{provider} does not tell {told}: a budget of it cannot be kept", hint=hint)
    return budgets


def _workspace(text: str | None) -> Mapping[str, Any]:
    if not text:
        return {}
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigError(
            f"--workspace is not JSON: {error}", hint='give an object, like {"mode": "shared"}'
        ) from error
    if not isinstance(value, dict):
        raise ConfigError("--workspace is not a JSON object", hint='give one, like {"mode": "shared"}')
    return value


def _with_mode(workspace: Mapping[str, Any], environ: Mapping[str, str]) -> Mapping[str, Any]:
    """Return what is known of the workspace, with the mode that the environment says where nothing else does."""
    mode = environ.get(MODE_VARIABLE)
    return {**workspace, "mode": mode} if mode and not workspace.get("mode") else workspace


def _csv(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _unique(*groups: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for group in groups for word in group))
