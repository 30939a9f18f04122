"""start: put one agent on the relay, in the background of a terminal or in the foreground of a service."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from relay_runner.cli.words import PlainCommand

PROVIDER_ARGS = "relay_runner.provider_args"
GROUPS: Mapping[str, tuple[str, ...]] = {
    "Who it is": ("agent-id", "label", "tag", "capability", "cwd", "relay"),
    "What it does": ("prompt", "turn-timeout", "resume", "fresh", "budget-turns", "budget-tokens", "budget-cost"),
    "Its program": (
        "model",
        "effort",
        "system-prompt-append",
        "profile",
        "approval-mode",
        "trust-folder",
        "isolated-home",
        "secrets",
    ),
    "How it runs": ("headless", "replace", "no-tmux", "tmux-session"),
    "For spawners": (
        "info-file",
        "workspace",
        "rig",
        "policy",
        "spawn-request-id",
        "automation-id",
        "automation-run-id",
    ),
    "Options": ("help",),
}
"""The options, by what they are about (a test holds that each stands there once)."""


class StartCommand(PlainCommand):
    """A command whose words after `--` belong to the provider, and whose `--resume` may stand without an id."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line."""
        return [*super().collect_usage_pieces(ctx), "[-- ARGS...]"]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write one list per group."""
        records = {param.name: param.get_help_record(ctx) for param in self.get_params(ctx)}
        with formatter.section("Arguments"):
            formatter.write_dl([records["provider"]])
        for title, names in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([records[name.replace("-", "_")] for name in names])

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the provider's own words away before the options are read."""
        if "--" in args:
            at = args.index("--")
            ctx.meta[PROVIDER_ARGS] = tuple(args[at + 1 :])
            args = args[:at]
        # The agent's last session is resumed anyway: a `--resume` without an id asks for nothing more.
        args = [
            word
            for word, after in zip(args, [*args[1:], "-"], strict=False)
            if not (word == "--resume" and after.startswith("-"))
        ]
        return list(super().parse_args(ctx, args))


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    settings = {"allow_interspersed_args": True}
    app.command("start", cls=StartCommand, context_settings=settings)(start)


def start(
    ctx: typer.Context,
    provider: Annotated[
        str | None,
        typer.Argument(metavar="[PROVIDER]", help="claude, codex, generic or demo; default: what is installed."),
    ] = None,
    agent_id: Annotated[
        str | None, typer.Option(metavar="ID", help="The agent's id; default: FOLDER-PROVIDER.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="NAME", help="A name for people; addressed as label:NAME.")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Addressed as tag:NAME; may be repeated.")
    ] = None,
    capability: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Addressed as cap:NAME; may be repeated.")
    ] = None,
    cwd: Annotated[str | None, typer.Option(metavar="FOLDER", help="The folder to work in; default: this one.")] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="The provider's model.")] = None,
    effort: Annotated[str | None, typer.Option(metavar="LEVEL", help="The model's reasoning effort.")] = None,
    prompt: Annotated[str | None, typer.Option(metavar="TEXT", help="The first message, once per session.")] = None,
    turn_timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Interrupt a message's turn that takes longer: it has failed.", min=0.1),
    ] = None,
    system_prompt_append: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Added to the system prompt.")
    ] = None,
    approval_mode: Annotated[
        str | None, typer.Option(metavar="MODE", help="ask (default), accept-edits, auto, read-only or bypass.")
    ] = None,
    isolated_home: Annotated[
        bool, typer.Option("--isolated-home", help="Keep its settings, log-in and sessions apart from yours.")
    ] = False,
    secrets: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Copy log-in and settings from there into an isolated home.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(metavar="FILE|NAME", help="Set it up as this profile says; see `profile check`.")
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Stay in the foreground, without a terminal.")] = False,
    trust_folder: Annotated[
        bool,
        typer.Option("--trust-folder", help="Trust the folder: its hooks, MCP servers and status line run as you."),
    ] = False,
    resume: Annotated[
        str | None, typer.Option(metavar="[ID]", help="Go on with this session; default: the last.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start a new session.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Take over from a live runner of this agent.")] = False,
    relay: Annotated[
        str | None, typer.Option(metavar="URL", help="The relay to join; default: this machine's.")
    ] = None,
    no_tmux: Annotated[bool, typer.Option("--no-tmux", help="Use a plain pty (nobody can attach).")] = False,
    tmux_session: Annotated[
        str | None, typer.Option(metavar="NAME", help="The tmux session's name; default: the agent's id.")
    ] = None,
    info_file: Annotated[str | None, typer.Option(metavar="FILE", help="Write what a spawner needs to know.")] = None,
    rig: Annotated[str | None, typer.Option(metavar="NAME", help="The rig it belongs to.")] = None,
    policy: Annotated[str | None, typer.Option(metavar="NAME", help="The policy it was started by.")] = None,
    spawn_request_id: Annotated[str | None, typer.Option(metavar="ID", help="The spawn request it answers.")] = None,
    automation_id: Annotated[str | None, typer.Option(metavar="ID", help="The automation it works for.")] = None,
    automation_run_id: Annotated[str | None, typer.Option(metavar="ID", help="That automation's run.")] = None,
    workspace: Annotated[str | None, typer.Option(metavar="JSON", help="What is known of the workspace.")] = None,
    budget_turns: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Turns a day; then messages are refused.")
    ] = None,
    budget_tokens: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Tokens a day; then messages are refused.")
    ] = None,
    budget_cost: Annotated[
        float | None, typer.Option(metavar="USD", min=0.0, help="Money a day; then messages are refused.")
    ] = None,
) -> int:
    """Start an agent and show it.

    In a terminal the agent runs in the background and is shown; Ctrl-] d leaves it running. Without a terminal,
    or with --headless, the runner stays in the foreground, logs to stderr, and says one JSON line on stdout
    when the agent takes messages, or why it never will.

    What stands after -- goes to the provider; for generic it is the whole command:
    relay-runner start generic -- python3 -i
    """
    from relay_runner.cli import starting
    from relay_runner.cli.choices import Flags

    flags = Flags(
        provider=provider,
        agent_id=agent_id,
        label=label,
        tags=tuple(tag or ()),
        capabilities=tuple(capability or ()),
        cwd=cwd,
        model=model,
        effort=effort,
        prompt=prompt,
        turn_timeout=turn_timeout,
        system_prompt_append=system_prompt_append,
        approval_mode=approval_mode,
        isolated_home=isolated_home,
        secrets=secrets,
        profile=profile,
        headless=headless or not (sys.stdin.isatty() and sys.stdout.isatty()),
        trust_folder=trust_folder,
        resume=resume,
        fresh=fresh,
        replace=replace,
        relay=relay,
        tmux=not no_tmux,
        tmux_session=tmux_session,
        info_file=info_file,
        rig=rig,
        policy=policy,
        spawn_request_id=spawn_request_id,
        automation_id=automation_id,
        automation_run_id=automation_run_id,
        workspace=workspace,
        budget_turns=budget_turns,
        budget_tokens=budget_tokens,
        budget_cost=budget_cost,
        args=ctx.meta.get(PROVIDER_ARGS, ()),
    )
    return starting.start(flags)
