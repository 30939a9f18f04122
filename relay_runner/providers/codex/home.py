"""The user's own Codex files, read and never written: is there a log-in, is the folder trusted."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BUILT_IN = "openai"
OUTSIDE_FILES = frozenset({"keyring", "auto"})
"""Where `cli_auth_credentials_store` says so, a log-in leaves no file that could be looked for."""


@dataclass(frozen=True)
class CodexHome:
    """Where one user's Codex keeps its files, and what stands in them."""

    folder: Path

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> CodexHome:
        """Return the home that a program with this environment uses."""
        moved = environ.get("CODEX_HOME")
        return cls(Path(moved) if moved else Path(environ.get("HOME") or Path.home()) / ".codex")

    def config(self) -> dict[str, Any]:
        """Return `config.toml`; empty where there is none that can be read (the program says what is wrong in it)."""
        try:
            return tomllib.loads((self.folder / "config.toml").read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
            return {}

    def missing_login(self, environ: Mapping[str, str]) -> str | None:
        """Return what stands in the way of a first answer, in a few words, or None where nothing is known to."""
        config = self.config()
        name = config.get("model_provider", BUILT_IN)
        providers = config.get("model_providers")
        provider = providers.get(name, {}) if isinstance(providers, dict) else {}
        variable = provider.get("env_key")
        if variable and not environ.get(str(variable)):
            return f"the environment variable {variable} of its model provider {name!r} is not set"
        if name != BUILT_IN and not provider.get("requires_openai_auth"):
            return None
        if (self.folder / "auth.json").is_file() or config.get("cli_auth_credentials_store") in OUTSIDE_FILES:
            return None
        return "it is not logged in"

    def env_keys(self) -> tuple[str, ...]:
        """Return the environment variables that its model providers take their keys from."""
        providers = self.config().get("model_providers")
        found = providers.values() if isinstance(providers, dict) else ()
        return tuple(str(one["env_key"]) for one in found if isinstance(one, dict) and one.get("env_key"))

    def trust(self, folder: Path) -> str | None:
        """Return what the user decided about a folder or one above it, or None."""
        projects = self.config().get("projects")
        if not isinstance(projects, dict):
            return None
        for place in (folder.resolve(), *folder.resolve().parents):
            entry = projects.get(str(place))
            if isinstance(entry, dict) and entry.get("trust_level"):
                return str(entry["trust_level"])
        return None

    def rollout(self, thread_id: str) -> Path | None:
        """Return the newest file of a thread, or None before its first turn."""
        return next(iter(self.rollouts(thread_id)), None)

    def rollouts(self, thread_id: str) -> list[Path]:
        """Return the files of a thread, the newest first: one that was reverted goes on in another (0.169.0)."""
        places = ("sessions/*/*/*", "archived_sessions")
        found = [file for place in places for file in self.folder.glob(f"{place}/rollout-*{thread_id}*.jsonl")]
        return sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True)
