"""How Claude Code is started: its arguments, its environment, and the settings file rendered for one process.

The user's own settings are never written: what the runner needs stands in a 0600 file given by `--settings`, and in the
plugin, which is the same for everybody. The secret of the control server is in that file and in no argument.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from relay_runner.config import AgentPaths, unproxied, write_private
from relay_runner.errors import ConfigError, ProviderUnsupported
from relay_runner.protocol.control import ControlEndpoint
from relay_runner.providers.base import LaunchPlan, LaunchSpec
from relay_runner.providers.claude import editor, editor_client, hiding, hook_client, profile
from relay_runner.providers.claude.asks import HOOK as PERMISSION_HOOK
from relay_runner.providers.claude.flags import offers
from relay_runner.providers.claude.home import ClaudeHome
from relay_runner.providers.claude.profile import READ_ONLY, SOURCES_FLAG

SETTINGS_FILE = "claude-settings.json"
HOOK_PROGRAM = "relay-runner-hook"
HTTP_EVENTS = (
    *("UserPromptSubmit", "Stop", "StopFailure", "SubagentStart", "SubagentStop"),
    *("PreCompact", "PostCompact", "SessionEnd"),
)
"""Every one costs Claude Code 5 to 40 ms when it fires, so only what nothing else tells stands here."""
HOOK_TIMEOUT_S = 10
HELD_LONGER_S = 60
"""How much longer than our own deadline Claude Code holds the hook that waits for a person's answer."""

PERMISSION_MODES = {
    "ask": "default",
    "accept-edits": "acceptEdits",
    "auto": "auto",
    "read-only": "default",
    "bypass": "bypassPermissions",
}
WRITING_TOOLS = (
    *("Bash", "Edit", "Write", "NotebookEdit", "EnterWorktree", "Workflow", "Monitor"),
    *("CronCreate", "CronDelete"),  # they write into the folder what is to run later
    *("SendMessage", "ListAgents"),  # they reach agents that may do more, past the relay
)
"""What a read-only agent does not have, and its subagents neither."""
SOURCES = ("local", "project", "user")
"""The settings files, the nearest first; all but the user's own come with the repository."""
OWN_SOURCE = "user"
SNAPSHOT_FLAG = "--system-prompt-snapshot"
RELAY_VERBS = ("send", "reply", "read", "react", "inbox", "ps")
"""Of `relay-runner`, what the agent may run without asking: the control server lets nothing else through."""

RESERVED = frozenset(
    {
        "--session-id",
        "--resume",
        "-r",
        "--continue",
        "-c",
        "--fork-session",
        "--print",
        "-p",
        "--bare",
        "--safe-mode",
        "--settings",
        "--permission-mode",
        "--dangerously-skip-permissions",
        "--allow-dangerously-skip-permissions",
    }
)
"""Arguments of the program that are the runner's own: giving them twice breaks hooks, session or approval mode."""

# Long enough that a resumed session never asks whether to start from a summary.
_NEVER_MINUTES = "525600"


def check_args(args: tuple[str, ...]) -> None:
    """Raise `ProviderUnsupported` for an argument that is the runner's own."""
    for arg in args:
        name = arg.partition("=")[0]
        if name in RESERVED:
            raise ProviderUnsupported(
                f"{name} cannot be passed on to claude", hint="use relay-runner's own options (see `start --help`)"
            )


def plan(spec: LaunchSpec, command: tuple[str, ...], home: ClaudeHome) -> LaunchPlan:
    """Render the settings and return how to start `command`, the program with its first arguments."""
    check_args(spec.args)
    settings = spec.agent_dir / SETTINGS_FILE
    write_private(settings, msgspec.json.format(msgspec.json.encode(settings_of(spec)), indent=2))
    editor.prepare(spec.agent_dir, spec.control.provider_session_id, home.config_dir)
    for old in spec.agent_dir.glob("rewake-*.lock"):
        old.unlink(missing_ok=True)
    session, session_id, notes = _session(spec, home)
    mode = _permission_mode(spec.approval_mode)
    env, more = _environment(spec)
    argv = [
        *command,
        "--plugin-dir",
        str(profile.relay_plugin(spec, plugin_dir())),
        "--settings",
        str(settings),
        *session,
    ]
    argv += ["--permission-mode", mode, "--name", spec.label or spec.agent_id]
    if spec.approval_mode == READ_ONLY:
        argv.append(f"--disallowedTools={','.join(WRITING_TOOLS)}")
    if spec.model:
        argv += ["--model", spec.model]
    if spec.effort:
        argv += ["--effort", spec.effort]
    return LaunchPlan(
        argv=(*argv, *_appended(spec, command[0]), *profile.arguments(spec), *spec.args, *_only_sources(spec)),
        env=env,
        cwd=spec.cwd,
        session_id=session_id,
        resumed=session[0] == "--resume",
        title=spec.label or spec.agent_id,
        programs={
            HOOK_PROGRAM: (sys.executable, "-S", "-E", str(Path(hook_client.__file__))),
            editor.PROGRAM: (sys.executable, "-S", "-E", str(Path(editor_client.__file__))),
        },
        notes=(*notes, *more),
    )


def settings_of(spec: LaunchSpec) -> dict[str, Any]:
    """Return the settings of one process: hooks that post by themselves, and dialogs that nobody could answer."""
    settings: dict[str, Any] = {
        "hooks": {
            **{event: [{"hooks": [_http_hook(event, spec.control)]}] for event in HTTP_EVENTS},
            PERMISSION_HOOK: [
                {"hooks": [_http_hook(PERMISSION_HOOK, spec.control, spec.permission_deadline_s + HELD_LONGER_S)]}
            ],
        },
        "permissions": {"allow": [*(f"Bash(relay-runner {verb}:*)" for verb in RELAY_VERBS), _may_read(spec)]},
    }
    settings["statusLine"] = status_line(spec)
    # What a settings file sets goes before the environment, and ours before theirs.
    set_there = ClaudeHome.of(spec.environ).environs(spec.cwd, settings_sources(spec))
    settings["env"] = {**unproxied(spec.environ, *set_there), **editor.variables(spec.environ, *set_there)}
    # What another program of this user writes to its inbox socket comes past the relay, unnamed; at an agent that
    # bypasses permissions it even opens a dialog (2.1.260 on). A project's own stricter value would win.
    settings["crossSessionInbound"] = "refuse"
    if spec.approval_mode == "bypass":
        settings["skipDangerousModePermissionPrompt"] = True
    if spec.trust_folder:
        settings["enableAllProjectMcpServers"] = True
    if spec.approval_mode == READ_ONLY:
        settings["permissions"]["deny"] = list(WRITING_TOOLS)
        settings["disableSkillShellExecution"] = True  # a skill's text may have commands in it that run when it is read
    hiding.hide(settings, spec)
    profile.extend(settings, spec)
    return settings


def status_line(spec: LaunchSpec) -> dict[str, Any]:
    """Return our status line, with the fields of the user's own around it: it shows what the user's own shows."""
    sources = settings_sources(spec)
    own = ClaudeHome.of(spec.environ).status_line(spec.cwd, sources)
    return {**own, "type": "command", "command": f"{HOOK_PROGRAM} statusline {','.join(sources) or '-'}"}


def settings_sources(spec: LaunchSpec) -> tuple[str, ...]:
    """Return which settings files count: those that `--setting-sources` names; a read-only agent has the user's only.

    With a repository's files stays out what they start: hooks, status line, skills and agents of its own (2.1.197).
    """
    args = (*spec.args, *([profile.NO_SOURCES] if spec.profile.hooks.mode == "none" else []))
    counted: tuple[str, ...] = SOURCES
    for place, arg in enumerate(args):
        name, given, value = arg.partition("=")
        if name == SOURCES_FLAG:
            named = value if given else "".join(args[place + 1 : place + 2])
            counted = tuple(source for source in SOURCES if source in named.split(","))
            break
    return tuple(one for one in counted if one == OWN_SOURCE) if spec.approval_mode == READ_ONLY else counted


def _only_sources(spec: LaunchSpec) -> list[str]:
    """Return the argument that keeps a read-only agent's settings files to the user's own; the last one counts."""
    return [f"{SOURCES_FLAG}={','.join(settings_sources(spec))}"] if spec.approval_mode == READ_ONLY else []


def _appended(spec: LaunchSpec, program: str) -> list[str]:
    """Return what makes a changed system prompt count at a restart, where the program would reuse the recorded one."""
    if not profile.appended(spec) or not offers(program, SNAPSHOT_FLAG, spec.agent_dir, spec.environ):
        return []
    return [SNAPSHOT_FLAG, "off"]


def plugin_dir() -> Path:
    """Return the plugin's folder: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).parents[2]
    for folder in (package / "_plugins" / "claude", package.parent / "plugins" / "claude"):
        if (folder / ".claude-plugin" / "plugin.json").is_file():
            return folder
    raise ConfigError("the Claude plugin is missing from this installation", hint="install relay-runner again")


def _may_read(spec: LaunchSpec) -> str:
    """Return the rule that lets it read what came with its messages, which is outside of its folder."""
    return f"Read(/{AgentPaths(spec.agent_dir.resolve()).attachments}/**)"


def _http_hook(event: str, control: ControlEndpoint, timeout_s: float = HOOK_TIMEOUT_S) -> dict[str, Any]:
    return {
        "type": "http",
        "url": f"{control.url}/hooks/{event}",
        "timeout": timeout_s,
        "headers": {
            "Authorization": f"Bearer {control.secret}",
            "X-Relay-Process": control.provider_session_id,
        },
    }


def _session(spec: LaunchSpec, home: ClaudeHome) -> tuple[tuple[str, str], str, tuple[str, ...]]:
    """Return the session's arguments, its id, and a note where a session could not be resumed."""
    session_id = spec.resume_session
    if session_id is None:
        session_id = str(uuid.uuid4())
        return ("--session-id", session_id), session_id, ()
    if home.transcript(session_id) is not None:
        return ("--resume", session_id), session_id, ()
    # A session without a transcript cannot be resumed, but nothing was ever said in it: it can begin under its id.
    note = f"session {session_id} has no transcript: it starts empty"
    return ("--session-id", session_id), session_id, (note,)


def _permission_mode(approval_mode: str) -> str:
    try:
        return PERMISSION_MODES[approval_mode]
    except KeyError:
        raise ProviderUnsupported(
            f"claude has no approval mode {approval_mode!r}", hint=f"use {', '.join(PERMISSION_MODES)}"
        ) from None


def _environment(spec: LaunchSpec) -> tuple[Mapping[str, str], tuple[str, ...]]:
    env = dict(spec.environ)
    notes: tuple[str, ...] = ()
    # A left arrow on an empty line would open a view that forks the session and then ends the process.
    env["CLAUDE_CODE_DISABLE_AGENT_VIEW"] = "1"
    # It would clone its marketplace over https and ssh at each start, whatever else is switched off (2.1.332).
    env["CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL"] = "1"
    env["CLAUDE_CODE_RESUME_THRESHOLD_MINUTES"] = _NEVER_MINUTES
    # A suggested prompt in the input row could not be told from what a person typed.
    env["CLAUDE_CODE_ENABLE_PROMPT_SUGGESTION"] = "false"
    if spec.trust_folder:
        env["CLAUDE_CODE_SANDBOXED"] = "1"
    if spec.approval_mode == "bypass" and os.geteuid() == 0:
        env["IS_SANDBOX"] = "1"
        notes = ("claude bypasses permissions as root: IS_SANDBOX=1 was set for it",)
    return env, notes
