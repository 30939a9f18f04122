"""What a kind of provider can do: the runner asks here, and never by a provider's name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What this kind of provider can do; the runner asks here and never by the provider's name."""

    evidence: bool = False
    """It can prove that the model saw a message. Without it a delivery ends at `submitted`, `unproven`."""
    results: bool = False
    """It tells a turn's final text."""
    steer: bool = False
    interrupt: bool = False
    compact: bool = False
    clear: bool = False
    """It can begin a new, empty session."""
    inject: bool = False
    """It takes words as system context, without a turn of their own."""
    tokens: bool = False
    """It tells how many tokens a turn used."""
    cost: bool = False
    """It tells what a turn cost in money."""
    resume: bool = False
    """A new process can go on with an old session."""
    subagents: bool = False
    permissions: bool = False
    """It asks permission questions that can be answered from elsewhere: `PermissionAsked`, `Process.answer`."""
    approval_modes: frozenset[str] = frozenset({"ask"})
    grace_s: float = 5.0
    """How long its program gets from TERM to KILL where nobody says otherwise."""
    hooks: bool = False
    """It calls the control server's `/hooks/{name}`."""
    viewer: bool = False
    """A person sees it by a program of its own (`Process.viewer`), not by what its terminal shows."""
    isolated_home: bool = False
    """It can have a home of its own instead of the user's."""
    session_files: bool = True
    """The model may read and write files."""
    session_shell: bool = True
    """The model may run commands."""
    read_only_shell: bool = False
    """In the mode `read-only` it still may, in a sandbox that lets them write nothing."""
