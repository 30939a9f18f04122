"""`pip install .` gives the same program, with the plugins inside."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_wheel_has_the_program_and_the_plugins(tmp_path: Path) -> None:
    wheels, target = tmp_path / "wheels", tmp_path / "target"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(ROOT)], check=True, timeout=300)
    (wheel,) = wheels.glob("relay_runner-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    plugins = {
        f"relay_runner/_plugins/{file.relative_to(ROOT / 'plugins')}"
        for file in (ROOT / "plugins").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    sources = {
        str(file.relative_to(ROOT)) for suffix in ("py", "sql") for file in (ROOT / "relay_runner").rglob(f"*.{suffix}")
    }
    assert plugins and plugins <= names
    assert sources <= names
    subprocess.run([*pip, "install", "--no-deps", "--target", str(target), str(wheel)], check=True, timeout=300)
    # -I: only the installed copy and the venv's packages, never this checkout.
    script = f"import sys; sys.path.insert(0, {str(target)!r}); from relay_runner.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, "version"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.startswith("relay-runner ")
