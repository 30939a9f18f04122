"""What is run against each version, and how."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.programs import ROOT, variable

PROVIDERS = {"claude-code": "claude", "codex": "codex"}
"""The provider that drives each package."""
SUITES: Mapping[str, Sequence[str]] = {
    "main job": ("tests/e2e/test_{}_main_job.py",),
    "provider contract": ("tests/contract/test_providers.py",),
    "permissions": ("tests/contract/test_provider_permissions.py", "tests/e2e/test_{}_permissions.py"),
    "kills": ("tests/faults",),
}
"""The suites; of files that drive several providers only the tests of one are taken."""
MAIN_JOB = "main job"


@dataclass(frozen=True, slots=True)
class Counts:
    """How one suite ended."""

    passed: int
    failed: int
    skipped: int
    failures: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " / ".join(map(str, (self.passed, self.failed, self.skipped)))


def run(package: str, version: str, suite: str, workers: int) -> Counts:
    """Run one suite against one installed version; what pytest says goes to stderr."""
    provider = PROVIDERS[package]
    files = [file.format(provider) for file in SUITES[suite]]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "-n", str(workers), "--dist", "worksteal"),
                *(*files, "-k", provider, f"--junitxml={report}"),
            ],
            env={**os.environ, variable(package): version},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            check=False,
        )
        return counted(report.read_text(encoding="utf-8"))


def counted(report: str) -> Counts:
    """Read pytest's report; a test that could not be set up or taken down has failed."""
    passed, skipped, failures = 0, 0, []
    for case in ElementTree.fromstring(report).iter("testcase"):
        results = {child.tag for child in case}
        if results & {"failure", "error"}:
            failures.append(f"{case.get('classname')}::{case.get('name')}")
        elif "skipped" in results:
            skipped += 1
        else:
            passed += 1
    return Counts(passed, len(failures), skipped, tuple(failures))
