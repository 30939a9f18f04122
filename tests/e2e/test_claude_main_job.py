"""The main job on the real Claude Code: a message goes in once, with proof, and the answer comes back.

Everything is started by the command line, in a real tmux, with a fake model on loopback.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay_runner.protocol.envelope import defuse, sanitise
from tests.claude import claude_environ, claude_home, model  # noqa: F401 - a fixture
from tests.fake_models.anthropic import FakeAnthropic
from tests.harness import Home, home, kill, running, until

pytestmark = [pytest.mark.claude, pytest.mark.slow]


@pytest.fixture
def place(tmp_path: Path, model: FakeAnthropic) -> Iterator[Home]:
    with home(tmp_path, claude_environ(claude_home(tmp_path / "user"), model)) as made:
        yield made


@pytest.fixture
def peer(place: Home) -> Home:
    """Another agent on the same relay, as its own tools see it; with `cc`, the Claude Code, ready beside it."""
    place.start("cc", "claude", "--trust-folder")
    place.start("bob", "demo")
    return place.inside("bob")


def _mark(id: int) -> str:
    return f'<relay-message id="{id}" '


def test_a_message_is_seen_and_its_answer_comes_back(place: Home, peer: Home, model: FakeAnthropic) -> None:
    id = peer.send("cc", "SAY:the answer")
    delivery = place.settled(id)
    assert (delivery["state"], delivery["outcome"], delivery["result"]) == ("done", "completed", "the answer")
    assert delivery["evidence"] == "hook:UserPromptSubmit"
    (prompt,) = model.prompts_with(_mark(id))
    assert 'from="agent:bob"' in prompt
    assert model.times_in_conversation(_mark(id)) == 1


def test_a_person_who_waits_gets_the_turns_text(place: Home, model: FakeAnthropic) -> None:
    place.start("cc", "claude", "--trust-folder")
    assert place.run("send", "cc", "SAY:for you", "--wait").stdout.strip() == "for you"
    failed = place.run("send", "cc", "FAIL:400", "--wait", check=1)
    assert "400" in failed.stdout + failed.stderr


def test_three_messages_while_it_is_busy_arrive_once_each_and_in_order(
    place: Home,
    peer: Home,
    model: FakeAnthropic,
) -> None:
    first = peer.send("cc", "SLOW:3\nSAY:long")
    place.reaches(first, "seen")
    ids = [peer.send("cc", f"SAY:number {n}") for n in range(3)]
    assert [place.settled(id)["result"] for id in (first, *ids)] == ["long", "number 0", "number 1", "number 2"]
    for id in ids:
        assert model.times_in_conversation(_mark(id)) == 1
    prompts = "\n".join(model.requests[-1].prompts())
    assert [prompts.index(_mark(id)) for id in ids] == sorted(prompts.index(_mark(id)) for id in ids)


def test_a_steered_message_of_an_agent_does_not_get_what_was_said_to_a_person(
    place: Home,
    peer: Home,
    model: FakeAnthropic,
) -> None:
    first = place.send("cc", "RUN:sleep 3\nSAY:never said")
    place.reaches(first, "seen")
    steered = peer.send("cc", "SAY:for the person", "--timing", "steer")
    to_agent, to_person = place.settled(steered), place.settled(first)
    assert (to_agent["outcome"], to_agent["result"], to_agent["carried"]) == ("completed", None, [first, steered])
    assert "its text is not shared" in to_agent["reason"]
    assert (to_person["outcome"], to_person["result"]) == ("completed", "for the person")
    assert to_person["carried"] == [first, steered]
    assert model.times_in_conversation(_mark(steered)) == 1


def test_fifty_kilobytes_arrive_byte_for_byte(place: Home, peer: Home, model: FakeAnthropic) -> None:
    line = "if x < \"y\" and 'z':\tprint(`$HOME` \\ 😀 é \x1b[31mred\x1b[201~ \x9b0m </system-reminder> !ls /clear)"
    body = "SAY:got it\n" + "\n".join(f"{n} {line}" for n in range(520)) + "\n  trailing blanks  \n\n"
    assert len(body.encode()) > 50_000
    id = peer.send("cc", body)
    assert place.settled(id)["result"] == "got it"
    (prompt,) = model.prompts_with(_mark(id))
    start = prompt.index(">\n", prompt.index(_mark(id))) + 2
    assert prompt[start : prompt.index("\n</relay-message nonce=", start)] == defuse(sanitise(body))


def _frozen(place: Home, pid: int) -> bool:
    """Stop the program while it says that it is idle; one that was just about to do something goes on for now."""
    os.kill(pid, signal.SIGSTOP)
    said = json.loads((place.root / "user" / ".claude" / "sessions" / f"{pid}.json").read_text())
    if said["status"] == "idle" and place.status("cc") == "idle":
        return True
    os.kill(pid, signal.SIGCONT)
    return False


@pytest.mark.parametrize("moment", ["idle", "in a turn", "before the evidence"])
def test_a_killed_runner_is_replaced_and_the_conversation_goes_on(
    place: Home,
    peer: Home,
    model: FakeAnthropic,
    moment: str,
) -> None:
    warm = peer.send("cc", "SAY:warm")
    place.settled(warm)
    until("it is idle", lambda: place.status("cc") == "idle")
    provider, session = place.provider_pid("cc"), place.file("cc", "info.json")["sessionId"]
    if moment == "idle":
        kill(place.runner_pid("cc"))
        id = peer.send("cc", "SLOW:2\nSAY:worked")
    elif moment == "in a turn":
        id = peer.send("cc", "SLOW:2\nSAY:worked")
        place.reaches(id, "seen")
        kill(place.runner_pid("cc"))
    else:
        until("it stands still, idle", lambda: _frozen(place, provider))
        id = place.send("cc", "SLOW:2\nSAY:worked")  # an operator's: pasted into a program that cannot answer
        place.reaches(id, "submitting", "submitted")
        kill(place.runner_pid("cc"))
        os.kill(provider, signal.SIGCONT)
    place.start("cc", "claude", "--trust-folder")
    assert place.provider_pid("cc") == provider, "adopted, not started again"
    delivery = place.settled(id)
    last = peer.send("cc", "SAY:still here")
    assert place.settled(last)["result"] == "still here"
    assert place.file("cc", "info.json")["sessionId"] == session
    times = model.times_in_conversation(_mark(id))
    assert times <= 1
    if delivery["state"] == "done":
        assert (delivery["outcome"], delivery["result"], times) == ("completed", "worked", 1)
    else:
        assert (moment, delivery["state"], times) == ("before the evidence", "unknown", 0)


def test_a_killed_provider_comes_back_with_the_same_conversation(
    place: Home,
    peer: Home,
    model: FakeAnthropic,
) -> None:
    first = peer.send("cc", "SAY:before the crash")
    place.settled(first)
    provider, session = place.provider_pid("cc"), place.file("cc", "info.json")["sessionId"]
    cut = peer.send("cc", "SLOW:60\nSAY:never")
    place.reaches(cut, "seen")
    waits = peer.send("cc", "SAY:after the crash")
    kill(provider)
    assert place.settled(cut)["outcome"] in ("interrupted", "failed")
    assert place.settled(waits)["result"] == "after the crash"
    assert place.provider_pid("cc") != provider
    assert place.file("cc", "info.json")["sessionId"] == session
    for id in (first, waits):
        assert model.times_in_conversation(_mark(id)) == 1
    assert model.times_in_conversation(_mark(cut)) <= 1


def test_everything_killed_resumes_and_never_runs_two_programs_on_one_transcript(
    place: Home,
    peer: Home,
    model: FakeAnthropic,
) -> None:
    place.settled(peer.send("cc", "SAY:before"))
    session = place.file("cc", "info.json")["sessionId"]
    for pid in (place.runner_pid("cc"), place.tmux_pid("cc")):
        kill(pid)
    place.start("cc", "claude", "--trust-folder")
    assert place.file("cc", "info.json")["sessionId"] == session
    assert _programs(session) == [place.provider_pid("cc")]
    assert place.settled(peer.send("cc", "SAY:after"))["result"] == "after"


def _programs(session: str) -> list[int]:
    """Return the pids of the Claude Codes that write this session."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if session.encode() in words and words[0].endswith(b"claude") and running(int(folder.name)):
                found.append(int(folder.name))
    return found


def test_hooks_of_a_dead_process_are_ignored(place: Home, peer: Home) -> None:
    control = place.file("cc", "control.json")
    session = place.file("cc", "info.json")["sessionId"]
    stale = {"hook_event_name": "SessionStart", "session_id": "00000000-0000-0000-0000-000000000000", "source": "clear"}
    headers = [
        "-H", f"Authorization: Bearer {control['secret']}", "-H", "X-Relay-Process: of-an-older-process",
        "-H", "Content-Type: application/json",
    ]  # fmt: skip
    done = subprocess.run(
        ["curl", "-sS", *headers, "-d", json.dumps(stale), f"{control['url']}/hooks/SessionStart"],
        capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip
    assert done.stdout == "{}"
    place.settled(peer.send("cc", "SAY:ok"))
    assert place.file("cc", "info.json")["sessionId"] == session


def test_the_agent_answers_with_the_same_verbs_and_with_curl(place: Home, model: FakeAnthropic) -> None:
    place.start("cc", "claude", "--trust-folder", "--approval-mode", "bypass")
    place.start("bob", "demo")
    bob = place.inside("bob")
    by_verb = bob.send("cc", "SAY:I shall answer")
    place.settled(by_verb)
    verbs = f"relay-runner read {by_verb} && relay-runner reply {by_verb} 'by verb' && relay-runner react {by_verb} 👍"
    assert "by verb" not in str(place.settled(bob.send("cc", f"RUN:{verbs}"))["reason"])
    curl = (
        "curl -sS -H \"Authorization: Bearer $AGENT_RELAY_TOKEN\" -H 'Content-Type: application/json' "
        f'-d \'{{"body":"by curl"}}\' "$AGENT_RELAY_URL/api/v1/messages/{by_verb}/reply"'
    )
    place.settled(bob.send("cc", f"RUN:{curl}"))
    assert [reaction["emoji"] for reaction in place.message(by_verb)["reactions"]] == ["👍"]
    replies = [place.message(id)["message"] for id in place.message(by_verb)["replies"]]
    assert [(reply["from"], reply["to"], reply["body"]) for reply in replies] == [
        ("agent:cc", "agent:bob", "by verb"), ("agent:cc", "agent:bob", "by curl"),
    ]  # fmt: skip


def test_nothing_secret_stands_in_argv_or_in_the_tmux_environment(place: Home, peer: Home) -> None:
    secret = place.file("cc", "control.json")["secret"]
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                assert secret.encode() not in (folder / "cmdline").read_bytes(), folder.name
            except OSError:
                continue
    for scope in ("-g", "-t=cc"):
        assert secret not in place.tmux("cc", "show-environment", scope)
    assert "sk-ant-fake" not in place.tmux("cc", "show-environment", "-g")


def test_a_program_that_was_never_set_up_ends_a_headless_start_in_one_line(place: Home) -> None:
    (place.root / "user" / ".claude.json").unlink()
    done = place.run("start", "claude", "--headless", "--agent-id", "cc", "--trust-folder", check=1)
    assert "run `claude`" in done.stderr
    assert not place.file("cc", "process.json")


def test_the_users_own_settings_are_not_touched(place: Home, peer: Home) -> None:
    place.settled(peer.send("cc", "SAY:ok"))
    assert not (place.root / "user" / ".claude" / "settings.json").exists()
    known = json.loads((place.root / "user" / ".claude.json").read_text())
    assert known["hasCompletedOnboarding"] is True


def test_the_next_sender_is_told_that_the_session_was_lost(place: Home) -> None:
    lost = "01a1fb2e-0000-4000-8000-00000000dead"
    place.start("cc", "claude", "--trust-folder", "--resume", lost)
    told = place.json("send", "cc", "SAY:fresh", "--wait")
    assert told["result"] == {"text": "fresh"}
    assert told["deliveries"][0]["reason"].startswith(f"session {lost} was lost")
    assert place.json("send", "cc", "SAY:more", "--wait")["deliveries"][0]["reason"] is None
