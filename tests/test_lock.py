"""The locked packages: everything that pyproject.toml asks for, one version each, by hash, from wherever pip looks."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
RUNTIME = (*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"])
EXTRAS = tuple(one for extra in PROJECT["project"]["optional-dependencies"].values() for one in extra)
FILES = {"runtime.txt": RUNTIME, "dev.txt": (*RUNTIME, *EXTRAS)}


def locked(file: str) -> dict[str, str]:
    """Return the version that a file has of each package."""
    text = (ROOT / "requirements" / file).read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))


@pytest.mark.parametrize("file", FILES)
def test_the_lock_has_a_fitting_version_of_all_that_is_asked_for(file: str) -> None:
    versions = locked(file)
    for asked in map(Requirement, FILES[file]):
        version = versions.get(canonicalize_name(asked.name))
        assert version is not None, f"{asked.name} is not in {file}: run ./scripts/lock"
        assert asked.specifier.contains(version), f"{file} has {asked.name} {version}: run ./scripts/lock"


@pytest.mark.parametrize("file", FILES)
def test_every_line_of_the_lock_is_a_version_with_hashes(file: str) -> None:
    text = (ROOT / "requirements" / file).read_text(encoding="utf-8").replace("\\\n", "")
    for line in (line for line in text.splitlines() if line and not line.startswith("#")):
        assert re.fullmatch(r"[a-z0-9-]+==\S+( ; [^:]+?)?( +--hash=sha256:[0-9a-f]{64})+", line), line


def test_what_runs_is_what_was_tested() -> None:
    assert locked("runtime.txt").items() <= locked("dev.txt").items()
