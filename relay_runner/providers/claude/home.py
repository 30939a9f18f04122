"""The user's own Claude Code files, read and never written: is it set up, logged in, is the folder trusted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from relay_runner.providers.tail import readable

CREDENTIAL_VARIABLES = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CODE_USE_FOUNDRY",
)
KEY_TAIL = 20
_SESSION = re.compile(r"[0-9a-fA-F-]+")
"""The end of an API key by which Claude Code remembers whether the user approved it."""


@dataclass(frozen=True)
class ClaudeHome:
    """Where one user's Claude Code keeps its files, and what stands in them."""

    config_dir: Path
    main_file: Path
    """`.claude.json`: in the home folder, or in CLAUDE_CONFIG_DIR where that is set."""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> ClaudeHome:
        """Return the home that a program with this environment uses."""
        home = Path(environ.get("HOME") or Path.home())
        moved = environ.get("CLAUDE_CONFIG_DIR")
        if moved:
            return cls(Path(moved), Path(moved) / ".claude.json")
        return cls(home / ".claude", home / ".claude.json")

    def onboarded(self) -> bool:
        """Say whether the first-run dialogs are behind the user."""
        return self._main().get("hasCompletedOnboarding") is True

    def logged_in(self, environ: Mapping[str, str]) -> bool:
        """Say whether there is any sign of a log-in or a key; whether it is good only the program can tell."""
        if any(environ.get(name) for name in CREDENTIAL_VARIABLES):
            return True
        main, settings = self._main(), _read(self.config_dir / "settings.json")
        variables = settings.get("env")
        return bool(
            main.get("oauthAccount")
            or main.get("primaryApiKey")
            or (self.config_dir / ".credentials.json").is_file()
            or settings.get("apiKeyHelper")
            or (isinstance(variables, dict) and any(variables.get(name) for name in CREDENTIAL_VARIABLES))
        )

    def asks_for_key(self, environ: Mapping[str, str]) -> bool:
        """Say whether the program would ask the user if it may use the API key of the environment."""
        key = environ.get("ANTHROPIC_API_KEY")
        if not key or environ.get("ANTHROPIC_AUTH_TOKEN"):
            return False
        answers = self._main().get("customApiKeyResponses")
        known = [*answers.get("approved", []), *answers.get("rejected", [])] if isinstance(answers, dict) else []
        return key[-KEY_TAIL:] not in known

    def status_line(self, project: Path, sources: Iterable[str]) -> dict[str, Any]:
        """Return the user's own status line from the first of these settings files that has one; empty for none."""
        lines = (settings.get("statusLine") for settings in self._settings(project, sources))
        return next((line for line in lines if isinstance(line, dict)), {})

    def environs(self, project: Path, sources: Iterable[str]) -> list[dict[str, str]]:
        """Return the variables that each of these settings files sets for the program."""
        found = (settings.get("env") for settings in self._settings(project, sources))
        return [{str(name): str(value) for name, value in one.items()} for one in found if isinstance(one, dict)]

    def _settings(self, project: Path, sources: Iterable[str]) -> list[dict[str, Any]]:
        files = {
            "local": project / ".claude" / "settings.local.json",
            "project": project / ".claude" / "settings.json",
            "user": self.config_dir / "settings.json",
        }
        return [_read(files[source]) for source in sources]

    def trusts(self, folder: Path) -> bool:
        """Say whether the user trusted the folder, or one above it."""
        projects = self._main().get("projects")
        if not isinstance(projects, dict):
            return False
        places = {folder.absolute(), folder.resolve()}
        above = {str(parent) for place in places for parent in (place, *place.parents)}
        return any(
            isinstance(entry, dict) and entry.get("hasTrustDialogAccepted") is True
            for name, entry in projects.items()
            if name in above
        )

    def transcript(self, session_id: str) -> Path | None:
        """Return the transcript of a session, of whatever folder, or None before its first message.

        Raise `ProviderError` when it cannot be looked for.
        """
        if not _SESSION.fullmatch(session_id):
            return None
        projects = self.config_dir / "projects"
        try:
            with readable(projects):
                return next(iter(sorted(projects.glob(f"*/{session_id}.jsonl"))), None)
        except FileNotFoundError:
            return None

    def state_file(self, pid: int) -> Path:
        """Return the live state file of one process; it need not exist."""
        return self.config_dir / "sessions" / f"{pid}.json"

    def _main(self) -> dict[str, Any]:
        return _read(self.main_file)


def _read(file: Path) -> dict[str, Any]:
    """Return the object in a JSON file; empty where there is none that can be read."""
    try:
        value = msgspec.json.decode(file.read_bytes())
    except (OSError, msgspec.DecodeError):
        return {}
    return value if isinstance(value, dict) else {}
