"""Which versions are meant, and how one gets into .node."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence

from tests.compat.suites import PROVIDERS
from tests.programs import COMMAND, DEFAULT, ROOT

LATEST = "latest"
NPM = {"claude-code": "@anthropic-ai/claude-code", "codex": "@openai/codex"}
ALIASES = {provider: package for package, provider in PROVIDERS.items()}


class Wrong(Exception):
    """A word that names no version."""


def pins() -> list[tuple[str, str]]:
    """Return every pinned version of every package that is driven, the packages in order, oldest first."""
    found = []
    for folder in (ROOT / "tests" / "pins").iterdir():
        package, _, version = folder.name.rpartition("-")
        if package in PROVIDERS:
            found.append((package, version))
    return sorted(found, key=lambda pin: (pin[0], tuple(map(int, pin[1].split(".")))))


def others() -> list[tuple[str, str]]:
    """Return the pins that no test drives unless it is asked to."""
    return [(package, version) for package, version in pins() if version != DEFAULT[package]]


def meant(words: Sequence[str]) -> list[tuple[str, str]]:
    """Return the versions that the words name; `latest` is what npm serves now, of all or of one package."""
    found = []
    for word in words:
        name, _, version = word.rpartition("@")
        package = ALIASES.get(name, name)
        if word == LATEST:
            found += [(one, latest(one)) for one in PROVIDERS]
        elif package not in PROVIDERS or not version:
            raise Wrong(f"{word!r} names no version: write latest, or {' or '.join(f'{one}@1.2.3' for one in ALIASES)}")
        else:
            found.append((package, latest(package) if version == LATEST else version))
    return found


def latest(package: str) -> str:
    """Return the version that npm serves to who asks for none."""
    asked = ["npm", "view", NPM[package], "version", "--json"]
    return str(json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout))


def install(package: str, version: str) -> None:
    """Put a version into .node that is not pinned; there is no lock for it."""
    folder = ROOT / ".node" / f"{package}-{version}"
    if (folder / "node_modules" / ".bin" / COMMAND[package]).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text('{"private": true}\n', encoding="utf-8")
    try:
        subprocess.run(
            ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", f"{NPM[package]}@{version}"],
            check=True,
            capture_output=True,
            text=True,
        )
    except subprocess.CalledProcessError as error:
        shutil.rmtree(folder)
        raise Wrong(f"npm cannot install {NPM[package]}@{version}: {error.stderr.strip()[-300:]}") from error
