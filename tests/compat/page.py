"""docs/compatibility.md, from what was found of each version and what the providers know of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from relay_runner.providers.base import Versions
from relay_runner.providers.claude.versions import VERSIONS as CLAUDE
from relay_runner.providers.codex.versions import VERSIONS as CODEX
from tests.compat.suites import SUITES, Counts
from tests.programs import DEFAULT, ROOT

RESULTS = Path(__file__).parent / "results.json"
PAGE = ROOT / "docs" / "compatibility.md"
KNOWN: Mapping[str, Versions] = {"claude-code": CLAUDE, "codex": CODEX}
TITLES = {"claude-code": "Claude Code", "codex": "Codex"}
Results = dict[str, dict[str, Any]]
"""By `package@version`: the date, and the counts of each suite."""


def load() -> Results:
    """Return what was found until now."""
    found: Results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    return found


def note(results: Results, package: str, version: str, date: str, counts: Mapping[str, Counts]) -> None:
    """Take in what was found of one version."""
    found = {suite: [one.passed, one.failed, one.skipped] for suite, one in counts.items()}
    failures = [failure for one in counts.values() for failure in one.failures]
    results[f"{package}@{version}"] = {"date": date, "suites": found, "failures": failures}


def save(results: Results) -> None:
    """Write what was found, and the page."""
    ordered = dict(sorted(results.items(), key=lambda item: _order(item[0])))
    RESULTS.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(render(ordered), encoding="utf-8")


def render(results: Results) -> str:
    """Return the page."""
    text = [INTRODUCTION]
    for package, title in TITLES.items():
        head = ("version", *SUITES, "date")
        text += [f"## {title}\n", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
        versions = [key.partition("@")[2] for key in results if key.partition("@")[0] == package]
        text += [_row(package, version, results[f"{package}@{version}"]) for version in versions]
        text.append("")
        text += [f"- {one.version}: {one.known}." for one in KNOWN[package].tried]
        for version in versions:
            failures = results[f"{package}@{version}"]["failures"]
            text += [f"- {version} failed: {', '.join(f'`{one}`' for one in failures)}."] if failures else []
        text.append("")
    return "\n".join(text)


INTRODUCTION = """\
# Tested versions

Written by `./scripts/compat [claude@VERSION | codex@VERSION | latest ...]`, which runs these suites against real
programs and fake models. A cell shows passed / failed / skipped; a skipped test covers something that the program
cannot do. CI runs every test against the default version, and the main job against the other pinned ones.
`relay-runner doctor` and `start` report an installed version that is newer or older than all of these. relay-runner
asks the program what it can do and never infers it from the version number.
"""


def _row(package: str, version: str, found: Mapping[str, Any]) -> str:
    name = f"{version} (default)" if version == DEFAULT[package] else version
    counts = (" / ".join(map(str, found["suites"].get(suite, ()))) for suite in SUITES)
    return f"| {' | '.join((name, *counts, found['date']))} |"


def _order(key: str) -> tuple[str, tuple[int, ...]]:
    package, _, version = key.partition("@")
    return package, tuple(map(int, version.split(".")))
