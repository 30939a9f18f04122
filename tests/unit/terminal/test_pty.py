"""What only a pty does: it is read and written by us, brackets are ours to put, and it ends with the runner."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable
from pathlib import Path

import pytest

from relay_runner.errors import ProviderExited, TerminalError
from relay_runner.terminal import processes, pty
from relay_runner.terminal.base import Key, ProcessIdentity, SavedTerminal, Terminal
from relay_runner.terminal.pty import KIND, PtyTerminals
from tests.contract.test_terminals import arrived, collecting, finish
from tests.terminals import shown, spec, until

pytestmark = pytest.mark.anyio
WAIT_S = 30.0


async def run(folder: Path, script: str) -> Terminal:
    return await PtyTerminals().open(spec(folder, "sh", "-c", script))


async def test_a_capture_has_all_that_was_printed_up_to_now(tmp_path: Path) -> None:
    """The kernel hands out 4 KiB at a time; the screen of one such piece would be an old one."""
    os.mkfifo(tmp_path / "told")
    terminal = await run(tmp_path, "read x; seq 1000 2400; echo the last line; echo >told; read x")
    await terminal.press(Key.ENTER)
    # Opening the pipe holds up this loop, as a busy runner would: nothing is read before the capture.
    (tmp_path / "told").read_text()
    assert "the last line" in (await terminal.capture()).text
    await finish(terminal)


async def test_a_program_never_waits_for_us_to_read(tmp_path: Path) -> None:
    terminal = await run(tmp_path, "seq 1 50000; echo all of it; exit 5")
    assert (await terminal.wait_exit()).code == 5
    assert (await terminal.capture()).tail(1) == "all of it"
    await terminal.close()


async def test_a_letter_that_comes_in_two_pieces_is_one(tmp_path: Path) -> None:
    terminal = await run(tmp_path, r"stty -echo; printf '<\360\237'; read x; printf '\246\212>'; read x")
    await shown(terminal, "<")
    await terminal.press(Key.ENTER)
    await shown(terminal, "<🦊>")
    await finish(terminal)


async def test_brackets_come_and_go_as_the_program_asks(tmp_path: Path) -> None:
    terminal, file = await collecting(PtyTerminals(), tmp_path, "plain")
    await terminal.paste("a")
    assert await arrived(file, 1) == b"a"
    await finish(terminal)
    file.unlink()
    terminal, file = await collecting(PtyTerminals(), tmp_path)
    await terminal.paste("a")
    assert await arrived(file, 13) == b"\x1b[200~a\x1b[201~"
    await finish(terminal)


async def test_a_paste_into_a_program_that_stops_reading_ends_with_it(tmp_path: Path) -> None:
    terminal = await run(tmp_path, "stty raw -echo; echo deaf; exec sleep 600")
    await shown(terminal, "deaf")
    async with asyncio.TaskGroup() as group:
        paste = group.create_task(_outcome(terminal.paste("x" * 1_000_000)))
        await asyncio.sleep(0)  # it fills what the kernel holds, and waits
        assert not paste.done()
        assert "deaf" in (await terminal.capture()).text
        await terminal.terminate(grace_s=1)
    assert isinstance(paste.result(), TerminalError | ProviderExited)
    await terminal.close()


async def test_a_program_that_stops_reading_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pty, "WRITE_S", 0.1)
    terminal = await run(tmp_path, "stty raw -echo; echo deaf; exec sleep 600")
    await shown(terminal, "deaf")
    async with asyncio.timeout(WAIT_S):
        with pytest.raises(TerminalError, match="read nothing"):
            await terminal.paste("x" * 1_000_000)
    await terminal.terminate(grace_s=1)
    await terminal.close()


async def _outcome(work: Awaitable[None]) -> Exception | None:
    try:
        await work
    except (TerminalError, ProviderExited) as error:
        return error
    return None


async def test_keys_after_the_end_say_how_it_ended(tmp_path: Path) -> None:
    terminal = await run(tmp_path, "read x; kill -9 $$")
    await terminal.press(Key.ENTER)
    await terminal.wait_exit()
    for put in (terminal.press(Key.ENTER), terminal.type("x"), terminal.paste("x")):
        with pytest.raises(ProviderExited, match="killed by signal 9") as caught:
            await put
        assert caught.value.exit_code == -9
    await terminal.close()


async def test_the_last_words_of_a_program_that_cannot_start_are_kept(tmp_path: Path) -> None:
    with pytest.raises(ProviderExited, match="exit code 3") as caught:
        # It may run for a moment: then the first key finds it dead.
        terminal = await run(tmp_path, "echo no licence; exit 3")
        try:
            await terminal.wait_exit()
            assert "no licence" in (await terminal.capture()).text
            await terminal.press(Key.ENTER)
        finally:
            await terminal.close()
    assert caught.value.tail in ("", "no licence")


async def test_the_program_has_a_terminal_of_its_own_and_nothing_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_SECRET", "ours")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("TMUX", "/somewhere,1,0")
    terminal = await run(tmp_path, 'echo "[$TERM|${TMUX-none}|${A_SECRET-none}|$LANG]"; read x')
    await shown(terminal, "[xterm-256color|none|none|C.UTF-8]")
    found = processes.stat(terminal.process.pid)
    assert found is not None and found.session not in (0, os.getsid(0))
    await finish(terminal)


async def test_nobody_else_can_look_at_it(tmp_path: Path) -> None:
    terminal = await run(tmp_path, "read x")
    assert terminal.attach_command() == ()
    assert (terminal.saved.kind, terminal.saved.socket, terminal.saved.pane) == (KIND, None, None)
    await finish(terminal)


RUNNER = """
import asyncio, dataclasses, json, os, sys
from pathlib import Path
from relay_runner.terminal.pty import PtyTerminals
from tests.terminals import shown, spec
async def main():
    terminal = await PtyTerminals().open(spec(Path(sys.argv[1]), "sh", "-c", sys.argv[2]))
    await shown(terminal, "up")
    print(json.dumps(dataclasses.asdict(terminal.saved)), flush=True)
    os._exit(0)
asyncio.run(main())
"""


async def test_it_ends_with_its_runner_and_what_stays_is_ended_by_the_next(tmp_path: Path) -> None:
    script = "(trap '' HUP; exec sleep 600) & echo $! >stays; echo up; read x"
    words = [sys.executable, "-c", RUNNER, str(tmp_path), script]
    runner = await asyncio.to_thread(subprocess.run, words, capture_output=True, check=True, timeout=WAIT_S)
    told = json.loads(runner.stdout)
    identities = {name: ProcessIdentity(**told[name]) for name in ("process", "pane_process")}
    saved = SavedTerminal(**{**told, **identities})
    await until(lambda: not processes.runs(saved.process))
    stays = processes.identity(int((tmp_path / "stays").read_text()))
    assert stays is not None
    assert await PtyTerminals().adopt(saved) is None
    assert not processes.runs(stays)
    assert not Path(saved.run_dir).exists()


async def test_what_opening_took_is_given_back(tmp_path: Path) -> None:
    """Descriptors and zombies would add up in a runner that restarts its program for weeks."""

    async def cycle() -> tuple[int, list[int]]:
        await finish(await run(tmp_path, "read x"))
        with pytest.raises(ProviderExited):
            await PtyTerminals().open(spec(tmp_path, str(bad)))
        children = [found.pid for found in processes.everything() if found.parent == os.getpid()]
        return len(list(Path("/proc/self/fd").iterdir())), sorted(children)

    bad = tmp_path / "bad"
    bad.write_text("#!/nowhere/interpreter\n")
    bad.chmod(0o755)
    before = await cycle()
    assert await cycle() == before
