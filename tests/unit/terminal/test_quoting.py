"""Text that tmux takes literally, held against the real tmux."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from relay_runner.terminal import client, quoting
from relay_runner.terminal.tmux import TmuxTerminals
from tests.terminals import shown, sockets, spec, tmux

__all__ = ["sockets", "tmux"]

TEXTS = st.text(alphabet="#{}()[]%H;'\"\\$`~ ,:|&*?!=a\u00e9\u6f22", max_size=30) | st.text(
    alphabet=st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=30
)
ATTACKS = (
    "#(touch pwned)", "##(touch pwned)", "#[fg=red]x", "##[x", "#{pane_pid}", "###", "%H:%M", "%%", "x;", ";", "a\\;",
    "#{l:x}", "#S", "$HOME", "~", "'", "a'b'", '"', "\\", "{", "}", "#{?1,a,b}", "-n",
)  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[list[str]]:
    """The words that reach a tmux server of this module's own."""
    folder = Path(tempfile.mkdtemp(prefix="rr-", dir="/tmp"))
    words = ["tmux", "-u", "-f", "/dev/null", "-S", str(folder / "s")]
    subprocess.run([*words, "new-session", "-d", "-s", "x", "sleep 600"], check=True, env=client.scrubbed(), cwd=folder)
    yield words
    subprocess.run([*words, "kill-server"], check=False, timeout=10)
    assert not (folder / "pwned").exists()
    shutil.rmtree(folder)


def tell(server: list[str], *words: str) -> str:
    done = subprocess.run([*server, *words], capture_output=True, text=True, check=False, timeout=10)
    assert done.returncode == 0, done.stderr
    return done.stdout.removesuffix("\n")


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_a_format_shows_the_text(server: list[str], text: str) -> None:
    assert tell(server, "display-message", "-p", "--", quoting.word(quoting.literal(f"a{text}"))) == _drawn(f"a{text}")


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_shown(server: list[str], attack: str) -> None:
    test_a_format_shows_the_text.hypothesis.inner_test(server, attack)  # type: ignore[attr-defined]
    test_a_word_is_one_word.hypothesis.inner_test(server, attack)  # type: ignore[attr-defined]
    test_a_setting_has_the_text.hypothesis.inner_test(server, attack)  # type: ignore[attr-defined]


def _drawn(text: str) -> str:
    """Return what tmux makes of it: before a bracket all signs stay for the drawing, which shows each pair as one."""
    return re.sub(r"#+(?=\[)", lambda signs: signs[0] * 2, "".join(filter(str.isprintable, text)))


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_a_word_is_one_word(server: list[str], text: str) -> None:
    tell(server, "set-option", "-g", "@word", quoting.word(f"a{text}"))
    assert tell(server, "show-options", "-gv", "@word") == f"a{text}"


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_a_setting_has_the_text(server: list[str], text: str) -> None:
    file = Path(server[-1]).parent / "settings"
    file.write_text(f"set -g @setting {quoting.quoted(text)}\nset -g @after yes\n")
    tell(server, "set-option", "-g", "@after", "no")
    tell(server, "source-file", str(file))
    assert (tell(server, "show-options", "-gv", "@setting"), tell(server, "show-options", "-gv", "@after")) == (
        text,
        "yes",
    )


def test_what_cannot_be_printed_is_not_shown() -> None:
    assert quoting.literal("a\nb\x1bc\u202ed") == "abcd"


FOLDERS = st.text(
    alphabet=st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40
).filter(lambda name: name not in (".", ".."))


@pytest.mark.anyio
@pytest.mark.parametrize(
    "name", [b"x#(touch pwned)", b"x;", b"#{pane_id}", b"%H", b"$(touch pwned)", b"it's", b'"', b"a\nb", b"\xff", b"-c"]
)
async def test_a_folder_is_a_folder_whatever_its_name(tmux: TmuxTerminals, tmp_path: Path, name: bytes) -> None:
    folder = tmp_path / os.fsdecode(name)
    folder.mkdir()
    # Where a shell that tmux started would be, had it one.
    for place in (tmp_path, folder):
        assert not (place / "pwned").exists()
    terminal = await tmux.open(
        replace(spec(tmp_path, "sh", "-c", "echo there; sleep 60"), cwd=folder, title=folder.name)
    )
    try:
        await shown(terminal, "there")
        assert Path(f"/proc/{terminal.process.pid}/cwd").readlink() == folder
        assert list(tmp_path.rglob("pwned")) == []
    finally:
        await terminal.terminate(grace_s=1)
        await terminal.close()


@pytest.mark.anyio
@settings(max_examples=8, deadline=None)
@given(FOLDERS)
@example("#(touch ../pwned);")
async def test_a_program_starts_in_any_folder(name: str) -> None:
    base = Path(tempfile.mkdtemp(prefix="rr-", dir="/tmp"))
    try:
        folder = base / "work" / name.encode("utf-8")[:200].decode("utf-8", "ignore")
        folder.mkdir(parents=True)
        terminal = await TmuxTerminals(base).open(replace(spec(base, "sleep", "60"), cwd=folder, title=name))
        try:
            assert Path(f"/proc/{terminal.process.pid}/cwd").readlink() == folder
        finally:
            await terminal.terminate(grace_s=1)
            await terminal.close()
        assert list(base.rglob("pwned")) == []
    finally:
        shutil.rmtree(base)
