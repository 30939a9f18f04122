"""What every terminal promises, on tmux and on a pty."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from relay_runner.errors import ProviderExited, TerminalError
from relay_runner.terminal import processes
from relay_runner.terminal.base import Key, Style, Terminal, Terminals
from relay_runner.terminal.pty import PtyTerminals
from relay_runner.terminal.tmux import TmuxTerminals
from tests.terminals import shown, sockets, spec, until

pytestmark = pytest.mark.anyio
__all__ = ["sockets"]

# Writes everything that comes to a file, as it comes; asks for brackets, as agents do.
COLLECT = """\
import os, sys, termios, tty
tty.setraw(0)
sys.stdout.write("\\x1b[?2004h" if sys.argv[2] == "brackets" else "")
sys.stdout.write("collecting\\r\\n"); sys.stdout.flush()
out = open(sys.argv[1], "ab", buffering=0)
while data := os.read(0, 65536):
    out.write(data)
    if b"\\x04" in data: break
"""


@pytest.fixture(params=["tmux", "pty"])
def terminals(request: pytest.FixtureRequest, sockets: Path) -> Terminals:
    return TmuxTerminals(sockets) if request.param == "tmux" else PtyTerminals()


async def finish(terminal: Terminal) -> None:
    await terminal.terminate(grace_s=1)
    await terminal.close()


async def collecting(terminals: Terminals, folder: Path, brackets: str = "brackets") -> tuple[Terminal, Path]:
    file = folder / "got"
    terminal = await terminals.open(spec(folder, sys.executable, "-c", COLLECT, str(file), brackets))
    await shown(terminal, "collecting")
    return terminal, file


async def arrived(file: Path, size: int) -> bytes:
    await until(lambda: file.exists() and file.stat().st_size >= size)
    return file.read_bytes()


async def test_a_program_runs_as_it_was_told(terminals: Terminals, tmp_path: Path) -> None:
    script = "stty size; tty -s && echo a tty; echo $SECRET; pwd; read x; exit 7"
    terminal = await terminals.open(spec(tmp_path, "sh", "-c", script, env={"SECRET": "it's a secret"}))
    await shown(terminal, str(tmp_path))
    screen = await terminal.capture()
    assert [line for line in screen.lines if line] == ["50 200", "a tty", "it's a secret", str(tmp_path)]
    assert terminal.alive()
    assert command_line(terminal.process.pid).startswith(b"sh\0-c\0stty")
    await terminal.press(Key.ENTER)
    assert (await terminal.wait_exit()).code == 7
    assert not terminal.alive()
    await terminal.close()
    assert (await terminal.wait_exit()).code == 7


async def test_the_screen_says_what_is_drawn_dim(terminals: Terminals, tmp_path: Path) -> None:
    script = r"printf '> \033[7mO\033[0;2mnce\033[0m, 漢\n'; read x"
    terminal = await terminals.open(spec(tmp_path, "sh", "-c", script))
    await shown(terminal, "> Once, 漢")
    screen = await terminal.capture()
    row = screen.lines.index("> Once, 漢")
    assert screen.style(row) == bytes([0, 0, Style.REVERSE, *[Style.DIM] * 3, 0, 0, 0])
    await finish(terminal)


@pytest.mark.parametrize("size", [10, 100_000, 1_000_000])
async def test_a_paste_of_any_size_arrives_in_brackets(terminals: Terminals, tmp_path: Path, size: int) -> None:
    terminal, file = await collecting(terminals, tmp_path)
    lines = "".join(f"{number}\tsome 'text' 漢字 🦊 \\ \n" for number in range(size // 28))
    text = (lines + "x" * size)[:size]
    await terminal.paste(text, then=Key.ENTER)
    expected = b"\x1b[200~" + text.encode() + b"\x1b[201~\r"
    assert await arrived(file, len(expected)) == expected
    await finish(terminal)


async def test_nothing_in_a_text_can_end_its_paste(terminals: Terminals, tmp_path: Path) -> None:
    terminal, file = await collecting(terminals, tmp_path)
    await terminal.paste("a\x1b[201~\rrm -rf\x03\x9b201~\x7f\x00b\r\nc")
    expected = b"\x1b[200~a[201~\nrm -rf201~b\nc\x1b[201~"
    assert await arrived(file, len(expected)) == expected
    await finish(terminal)


async def test_a_program_that_wants_no_brackets_gets_none(terminals: Terminals, tmp_path: Path) -> None:
    terminal, file = await collecting(terminals, tmp_path, "plain")
    await terminal.paste("a\nb", then=Key.ENTER)
    assert await arrived(file, 4) == b"a\nb\r"
    await finish(terminal)


async def test_pastes_do_not_mix(terminals: Terminals, tmp_path: Path) -> None:
    terminal, file = await collecting(terminals, tmp_path)
    texts = [letter * 50_000 for letter in "abcd"]
    async with asyncio.TaskGroup() as group:
        for text in texts:
            group.create_task(terminal.paste(text, then=Key.ENTER))
    got = await arrived(file, 4 * 50_013)
    whole = [f"\x1b[200~{text}\x1b[201~".encode() for text in texts]
    assert sorted(part for part in got.split(b"\r") if part) == sorted(whole)
    await finish(terminal)


async def test_keys_and_typed_text_arrive(terminals: Terminals, tmp_path: Path) -> None:
    terminal, file = await collecting(terminals, tmp_path)
    await terminal.type("it's; -l $HOME;")
    await terminal.press(Key.ESCAPE, Key.CTRL_C, Key.CTRL_U, Key.TAB, Key.UP, Key.ENTER)
    expected = b"it's; -l $HOME;\x1b\x03\x15\t\x1b[A\r"
    assert await arrived(file, len(expected)) == expected
    with pytest.raises(ValueError, match="1000"):
        await terminal.type("x" * 1001)
    await finish(terminal)


async def test_a_paste_into_a_dead_program_says_so(terminals: Terminals, tmp_path: Path) -> None:
    terminal = await terminals.open(spec(tmp_path, "sh", "-c", "echo bye; read x; exit 3"))
    await shown(terminal, "bye")
    await terminal.press(Key.ENTER)
    await terminal.wait_exit()

    async def dead() -> bool:
        return (await terminal.capture()).dead

    await until(dead)
    for _ in range(3):
        with pytest.raises(ProviderExited, match="exit code 3"):
            await terminal.paste("hello", then=Key.ENTER)
    assert "bye" in (await terminal.capture()).text
    await terminal.close()


async def test_how_it_ended_is_known_every_time(terminals: Terminals, tmp_path: Path) -> None:
    for number in range(20):
        terminal = await terminals.open(spec(tmp_path, "sh", "-c", f"read x; exit {number}"))
        await terminal.press(Key.ENTER)
        assert (await terminal.wait_exit()).code == number
        await terminal.close()


@pytest.mark.parametrize(("deaf", "code"), [(False, -15), (True, -9)])
async def test_terminate_escalates_and_leaves_nothing(
    terminals: Terminals, tmp_path: Path, deaf: bool, code: int
) -> None:
    trap = "trap '' TERM; " if deaf else ""
    script = f"{trap}sh -c 'echo $$ >child; exec sleep 60' & setsid sh -c 'echo $$ >other; exec sleep 60' & "
    script += "while [ ! -s child ] || [ ! -s other ]; do sleep 0.01; done; echo up; while :; do sleep 60; done"
    terminal = await terminals.open(spec(tmp_path, "bash", "-c", script))
    await shown(terminal, "up")
    status = await terminal.terminate(grace_s=0.5 if deaf else 10)
    assert status.code == code
    for name in ("child", "other"):
        assert processes.identity(int((tmp_path / name).read_text())) is None
    await terminal.close()


async def test_what_a_crashed_program_leaves_is_ended_by_close(terminals: Terminals, tmp_path: Path) -> None:
    script = "trap '' HUP; sleep 60 & echo $! >child; echo up; read x; kill -9 $$"
    terminal = await terminals.open(spec(tmp_path, "sh", "-c", script))
    await shown(terminal, "up")
    await terminal.press(Key.ENTER)
    assert (await terminal.wait_exit()).code == -9
    await terminal.close()
    assert processes.identity(int((tmp_path / "child").read_text())) is None


async def test_a_program_that_cannot_run_is_told_in_one_line(terminals: Terminals, tmp_path: Path) -> None:
    with pytest.raises(ProviderExited, match="no-such-program is not on PATH"):
        await terminals.open(spec(tmp_path, "no-such-program"))
    script = tmp_path / "bad"
    script.write_text("#!/nowhere/interpreter\n")
    script.chmod(0o755)
    with pytest.raises(ProviderExited, match="ended at once: exit code 12") as caught:
        await terminals.open(spec(tmp_path, str(script)))
    assert caught.value.exit_code in (126, 127)
    assert not (tmp_path / "run-test").exists()


async def test_nothing_secret_can_be_seen_from_outside(terminals: Terminals, tmp_path: Path) -> None:
    secret = "s3cr3t-" + tmp_path.name
    terminal = await terminals.open(spec(tmp_path, "sh", "-c", "read x", env={"SECRET": secret}))
    lines = [line for process in processes.everything() if (line := command_line(process.pid))]
    assert len(lines) > 1
    assert not [line for line in lines if secret.encode() in line]
    assert not [file for file in (tmp_path / "run-test").iterdir() if secret.encode() in file.read_bytes()]
    await finish(terminal)


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""  # it ended meanwhile


async def test_a_dead_program_is_not_adopted(terminals: Terminals, tmp_path: Path) -> None:
    terminal = await terminals.open(spec(tmp_path, "sh", "-c", "read x"))
    await terminal.press(Key.ENTER)
    await terminal.wait_exit()
    terminal.detach()
    assert await terminals.adopt(terminal.saved) is None
    assert not Path(terminal.saved.run_dir).exists()
    await terminal.close()


async def test_a_program_of_an_earlier_boot_is_dead(terminals: Terminals, tmp_path: Path) -> None:
    terminal = await terminals.open(spec(tmp_path, "sh", "-c", "read x"))
    (tmp_path / "run-test" / "boot").write_text("an earlier one")
    assert await terminals.adopt(terminal.saved) is None
    await finish(terminal)


async def test_only_its_own_kind_is_adopted(tmp_path: Path, sockets: Path) -> None:
    terminal = await PtyTerminals().open(spec(tmp_path, "sh", "-c", "read x"))
    with pytest.raises(TerminalError):
        await TmuxTerminals(sockets).adopt(terminal.saved)
    with pytest.raises(TerminalError, match="still runs"):
        await PtyTerminals().adopt(terminal.saved)
    await finish(terminal)


async def test_nobody_looks_at_a_terminal_that_nobody_attached_to(terminals: Terminals, tmp_path: Path) -> None:
    terminal = await terminals.open(spec(tmp_path, "cat"))
    assert not await terminal.attended()
    await finish(terminal)
    assert not await terminal.attended()
