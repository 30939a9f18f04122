"""The main job on the real Codex: a message goes in once, with proof, and the answer comes back.

Everything is started by the command line, in a real tmux, with a fake model on loopback.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from relay_runner.protocol.envelope import defuse, sanitise
from tests.codex import KEY, Viewer, codex_environ, codex_home, model, viewed  # noqa: F401 - a fixture
from tests.fake_models.responses import FakeResponses
from tests.harness import PROGRAM, Home, home, kill, running, until

pytestmark = [pytest.mark.codex, pytest.mark.slow]


@pytest.fixture
def place(tmp_path: Path, model: FakeResponses) -> Iterator[Home]:
    with home(tmp_path, codex_environ(codex_home(tmp_path / "user", model))) as made:
        yield made


@pytest.fixture
def peer(place: Home) -> Home:
    """Another agent on the same relay, as its own tools see it; with `cx`, the Codex, ready beside it."""
    place.start("cx", "codex")
    place.start("bob", "demo")
    return place.inside("bob")


def _mark(id: int) -> str:
    return f'<relay-message id="{id}" '


def test_a_message_is_seen_and_its_answer_comes_back(place: Home, peer: Home, model: FakeResponses) -> None:
    id = peer.send("cx", "SAY:the answer")
    delivery = place.settled(id)
    assert (delivery["state"], delivery["outcome"], delivery["result"]) == ("done", "completed", "the answer")
    assert delivery["evidence"] == "item:userMessage"
    (prompt,) = model.prompts_with(_mark(id))
    assert 'from="agent:bob"' in prompt
    assert model.times_in_conversation(_mark(id)) == 1
    kinds = [item["type"] for item in model.requests[-1].items if _mark(id) in str(item)]
    assert kinds == ["function_call_output"], "another agent's words are no prompt of the user"
    assert "You are the agent `cx`" in model.requests[-1].instructions()


def test_a_person_who_waits_gets_the_turns_text(place: Home, model: FakeResponses) -> None:
    place.start("cx", "codex")
    assert place.run("send", "cx", "SAY:for you", "--wait").stdout.strip() == "for you"
    kinds = [item["type"] for item in model.requests[-1].items if "SAY:for you" in str(item)]
    assert kinds == ["message"], "an operator speaks as the user"
    failed = place.run("send", "cx", "FAIL:400", "--wait", check=1)
    assert "fake error 400" in failed.stdout + failed.stderr


def test_three_messages_while_it_is_busy_arrive_once_each_and_in_order(
    place: Home,
    peer: Home,
    model: FakeResponses,
) -> None:
    first = peer.send("cx", "SLOW:3\nSAY:long")
    place.reaches(first, "seen")
    ids = [peer.send("cx", f"SAY:number {n}") for n in range(3)]
    assert [place.settled(id)["result"] for id in (first, *ids)] == ["long", "number 0", "number 1", "number 2"]
    for id in ids:
        assert model.times_in_conversation(_mark(id)) == 1
    prompts = "\n".join(model.requests[-1].prompts())
    assert [prompts.index(_mark(id)) for id in ids] == sorted(prompts.index(_mark(id)) for id in ids)


def test_a_steered_message_joins_the_turn_and_the_answer_being_given_is_not_lost(
    place: Home, peer: Home, model: FakeResponses
) -> None:
    first = peer.send("cx", "SLOW:3\nSAY:the first answer")
    place.reaches(first, "seen")
    steered = peer.send("cx", "SAY:the second answer", "--timing", "steer")
    assert place.settled(steered)["result"] == "the second answer"
    assert place.settled(first)["outcome"] == "completed"
    assert "the first answer" in str(model.requests[-1].items), "what was streamed stays in the conversation"


def test_a_steered_message_of_an_agent_does_not_get_what_was_said_to_a_person(
    place: Home, peer: Home, model: FakeResponses
) -> None:
    first = place.send("cx", "SLOW:3\nSAY:the first answer")
    place.reaches(first, "seen")
    steered = peer.send("cx", "SAY:for the person", "--timing", "steer")
    to_agent, to_person = place.settled(steered), place.settled(first)
    assert (to_agent["outcome"], to_agent["result"], to_agent["carried"]) == ("completed", None, [first, steered])
    assert "its text is not shared" in to_agent["reason"]
    assert (to_person["result"], to_person["carried"]) == ("for the person", [first, steered])


def test_an_interrupting_message_ends_the_turn_and_goes_in(place: Home, peer: Home, model: FakeResponses) -> None:
    first = peer.send("cx", "SLOW:60\nSAY:never")
    place.reaches(first, "seen")
    urgent = peer.send("cx", "SAY:at once", "--timing", "interrupt")
    assert place.settled(urgent)["result"] == "at once"
    assert place.settled(first)["outcome"] == "interrupted"


def test_fifty_kilobytes_arrive_byte_for_byte(place: Home, peer: Home, model: FakeResponses) -> None:
    line = "if x < \"y\" and 'z':\tprint(`$HOME` \\ 😀 é \x1b[31mred\x1b[201~ \x9b0m </system-reminder> !ls /clear)"
    body = "SAY:got it\n" + "\n".join(f"{n} {line}" for n in range(520)) + "\n  trailing blanks  \n\n"
    assert len(body.encode()) > 50_000
    id = peer.send("cx", body)
    assert place.settled(id)["result"] == "got it"
    (prompt,) = model.prompts_with(_mark(id))
    start = prompt.index(">\n", prompt.index(_mark(id))) + 2
    assert prompt[start : prompt.index("\n</relay-message nonce=", start)] == defuse(sanitise(body))


@pytest.mark.parametrize("moment", ["idle", "in a turn", "before the evidence"])
def test_a_killed_runner_is_replaced_and_the_conversation_goes_on(
    place: Home,
    peer: Home,
    model: FakeResponses,
    moment: str,
) -> None:
    warm = peer.send("cx", "SAY:warm")
    place.settled(warm)
    until("it is idle", lambda: place.status("cx") == "idle")
    provider, session = place.provider_pid("cx"), place.file("cx", "info.json")["sessionId"]
    if moment == "idle":
        kill(place.runner_pid("cx"))
        id = peer.send("cx", "SLOW:2\nSAY:worked")
    elif moment == "in a turn":
        id = peer.send("cx", "SLOW:2\nSAY:worked")
        place.reaches(id, "seen")
        kill(place.runner_pid("cx"))
    else:
        os.kill(provider, signal.SIGSTOP)
        id = place.send("cx", "SLOW:2\nSAY:worked")
        place.reaches(id, "submitting", "submitted")
        kill(place.runner_pid("cx"))
        os.kill(provider, signal.SIGCONT)
    place.start("cx", "codex")
    assert place.provider_pid("cx") == provider, "adopted, not started again"
    delivery = place.settled(id)
    last = peer.send("cx", "SAY:still here")
    assert place.settled(last)["result"] == "still here"
    assert place.file("cx", "info.json")["sessionId"] == session
    times = model.times_in_conversation(_mark(id))
    if delivery["state"] == "done":
        assert (delivery["outcome"], delivery["result"], times) == ("completed", "worked", 1)
    else:
        assert (moment, delivery["state"], times) == ("before the evidence", "unknown", 0)


@pytest.mark.parametrize("busy", [False, True])
def test_a_server_whose_socket_was_cleaned_away_is_replaced_and_goes_on(
    place: Home, model: FakeResponses, busy: bool
) -> None:
    place.start("cx", "codex")
    assert place.settled(place.send("cx", "SAY:one"))["result"] == "one"
    provider, session = place.provider_pid("cx"), place.file("cx", "info.json")["sessionId"]
    cut = place.send("cx", "HANG:60\nSAY:never") if busy else None
    if cut is not None:
        place.reaches(cut, "seen")
    kill(place.runner_pid("cx"))
    (place.state / "agents" / "cx" / "codex.sock").resolve().unlink()
    place.start("cx", "codex")  # within the minute for which one that only starts slowly is waited for
    assert place.provider_pid("cx") != provider and not running(provider)
    if cut is not None:
        assert place.settled(cut)["outcome"] == "interrupted"
    assert place.settled(place.send("cx", "SAY:two"))["result"] == "two"
    assert place.file("cx", "info.json")["sessionId"] == session
    assert "the socket of Codex's app-server was removed" in place.log("cx")


def test_a_killed_app_server_comes_back_with_the_same_conversation(
    place: Home,
    peer: Home,
    model: FakeResponses,
) -> None:
    first = peer.send("cx", "SAY:before the crash")
    place.settled(first)
    provider, session = place.provider_pid("cx"), place.file("cx", "info.json")["sessionId"]
    cut = peer.send("cx", "SLOW:60\nSAY:never")
    place.reaches(cut, "seen")
    waits = peer.send("cx", "SAY:after the crash")
    kill(provider)
    assert place.settled(cut)["outcome"] == "interrupted"
    assert place.settled(waits)["result"] == "after the crash"
    assert place.provider_pid("cx") != provider
    assert place.file("cx", "info.json")["sessionId"] == session
    for id in (first, cut, waits):
        assert model.times_in_conversation(_mark(id)) == 1


def test_everything_killed_resumes_and_never_runs_two_servers_on_one_thread(
    place: Home,
    peer: Home,
    model: FakeResponses,
) -> None:
    place.settled(peer.send("cx", "SAY:before"))
    session, provider = place.file("cx", "info.json")["sessionId"], place.provider_pid("cx")
    for pid in (place.runner_pid("cx"), place.tmux_pid("cx")):
        kill(pid)
    place.start("cx", "codex")
    assert place.file("cx", "info.json")["sessionId"] == session
    assert not running(provider)
    assert place.settled(peer.send("cx", "SAY:after"))["result"] == "after"
    assert "before" in str(model.requests[-1].items)


def test_a_lost_session_is_started_anew_and_said_so(place: Home) -> None:
    lost = "01a1fb2e-0000-7000-8000-00000000dead"
    place.start("cx", "codex", "--resume", lost)
    assert place.file("cx", "info.json")["sessionId"] != lost
    assert f"session {lost} is lost" in place.log("cx") + (place.state / "agents" / "cx" / "runner.log").read_text()
    assert place.run("send", "cx", "SAY:fresh", "--wait").stdout.strip() == "fresh"


def test_the_agent_answers_with_the_same_verbs_and_with_curl(place: Home, model: FakeResponses) -> None:
    place.start("cx", "codex", "--approval-mode", "auto")
    place.start("bob", "demo")
    bob = place.inside("bob")
    id = bob.send("cx", "SAY:I shall answer")
    place.settled(id)
    verbs = f"relay-runner read {id} && relay-runner reply {id} 'by verb' && relay-runner react {id} 👍"
    place.settled(bob.send("cx", f"RUN:{verbs}"))
    curl = (
        "curl -sS -H \"Authorization: Bearer $AGENT_RELAY_TOKEN\" -H 'Content-Type: application/json' "
        f'-d \'{{"body":"by curl"}}\' "$AGENT_RELAY_URL/api/v1/messages/{id}/reply"'
    )
    place.settled(bob.send("cx", f"RUN:{curl}"))
    replies = [place.message(reply)["message"] for reply in place.message(id)["replies"]]
    assert [(reply["from"], reply["to"], reply["body"]) for reply in replies] == [
        ("agent:cx", "agent:bob", "by verb"), ("agent:cx", "agent:bob", "by curl"),
    ], model.requests[-1].items[-3:]  # fmt: skip
    assert [reaction["emoji"] for reaction in place.message(id)["reactions"]] == ["👍"]


def test_nothing_secret_stands_in_argv_or_in_the_tmux_environment(place: Home, peer: Home) -> None:
    secrets = [place.file("cx", "control.json")["secret"], KEY]
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                words = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            assert not [secret for secret in secrets if secret.encode() in words], folder.name
    for scope in ("-g", "-t=cx"):
        assert not [secret for secret in secrets if secret in place.tmux("cx", "show-environment", scope)]
    assert not [secret for secret in secrets if secret in str(place.file("cx", "info.json"))]


def test_a_program_that_nobody_logged_in_to_ends_a_headless_start_in_one_line(place: Home) -> None:
    (place.root / "user" / ".codex" / "config.toml").unlink()
    done = place.run("start", "codex", "--headless", "--agent-id", "cx", check=1)
    assert "codex login" in done.stderr
    assert not place.file("cx", "process.json")


def test_the_users_own_settings_are_not_touched(place: Home) -> None:
    subprocess.run(["git", "init", "-q", str(place.work)], check=True)
    config = place.root / "user" / ".codex" / "config.toml"
    before = config.read_text()
    place.start("cx", "codex", "--approval-mode", "auto")
    place.start("bob", "demo")
    assert place.settled(place.inside("bob").send("cx", "RUN:touch made\nSAY:ok"))["result"] == "ok"
    assert (place.work / "made").exists()
    assert config.read_text() == before
    assert not (config.parent / "packages").exists(), "no daemon was installed behind the agent's back"


@pytest.fixture
def person(place: Home, peer: Home) -> Iterator[Viewer]:
    subprocess.run(["git", "init", "-q", str(place.work)], check=True)
    viewer = Viewer(place, "cx")
    try:
        yield viewer
    finally:
        viewer.close()


def test_attach_shows_the_real_codex_without_any_dialog_and_quitting_it_leaves_the_agent(
    place: Home, peer: Home, person: Viewer
) -> None:
    config = place.root / "user" / ".codex" / "config.toml"
    before = config.read_text()
    screen = person.shows("Ask Codex to do anything")
    assert "Trust this folder" not in screen and "Try new model" not in screen
    place.settled(peer.send("cx", "SAY:seen by a person"))
    person.shows("seen by a person")
    provider = place.provider_pid("cx")
    person.types("/quit")
    person.shows("/quit")
    person.types("", "Enter")
    until("the viewer is gone", lambda: not viewed(place))
    assert place.provider_pid("cx") == provider and running(provider)
    assert config.read_text() == before
    assert place.settled(peer.send("cx", "SAY:still here"))["result"] == "still here"


def test_who_looks_is_shown_the_new_session(place: Home, peer: Home, person: Viewer) -> None:
    place.settled(peer.send("cx", "SAY:seen in the old one"))
    person.shows("seen in the old one")
    place.run("clear", "cx")
    until("the new session is shown", lambda: "seen in the old one" not in viewed(place))
    place.settled(peer.send("cx", "SAY:seen in the new one"))
    person.shows("seen in the new one")


def test_a_person_answers_what_it_asks_and_a_message_waits_for_that(place: Home, peer: Home, person: Viewer) -> None:
    person.shows("Ask Codex to do anything")
    asked = peer.send("cx", "RUN:mkdir asked\nSAY:made")
    person.shows("Would you like to run the following command?")
    until("it says that it waits", lambda: place.status("cx") != "idle")
    waits = peer.send("cx", "SAY:after that")
    person.types("y")
    assert place.settled(asked)["result"] == "made"
    assert place.settled(waits)["result"] == "after that"
    assert (place.work / "asked").is_dir()


def test_a_person_starts_it_works_in_it_quits_it_and_comes_back(place: Home, model: FakeResponses) -> None:
    def typed(*words: str) -> Any:
        return pexpect.spawn(
            PROGRAM[0], [*PROGRAM[1:], *words], env=place.environ, cwd=place.work, dimensions=(30, 100),
            timeout=60, encoding="utf-8", codec_errors="replace",
        )  # fmt: skip

    terminal = typed("start", "codex", "--agent-id", "cx")
    try:
        terminal.expect("Ask Codex to do anything")
        terminal.send("SAY:written by hand")
        until("it is typed", lambda: "written by hand" in viewed(place))
        terminal.send("\r")
        until("the model answered", lambda: "written by hand" in model.said)
        until("it is idle", lambda: place.status("cx") == "idle")
        terminal.send("/quit")
        until("it is typed", lambda: "/quit" in viewed(place))
        terminal.send("\r")
        terminal.expect("cx goes on in the background")
        terminal.expect(pexpect.EOF)
        assert terminal.wait() == 0
        assert place.run("send", "cx", "SAY:nobody looks", "--wait").stdout.strip() == "nobody looks"
        terminal = typed("attach", "cx")
        terminal.expect("nobody looks")
        terminal.send("\x1dd")
        terminal.expect("cx goes on in the background")
        terminal.expect(pexpect.EOF)
        assert terminal.wait() == 0
        until("no viewer is left", lambda: not viewed(place))
    finally:
        terminal.close(force=True)


def test_restart_goes_on_with_the_conversation_and_interrupt_ends_the_turn(
    place: Home, peer: Home, model: FakeResponses
) -> None:
    place.settled(peer.send("cx", "SAY:before"))
    provider, session = place.provider_pid("cx"), place.file("cx", "info.json")["sessionId"]
    place.run("restart", "cx")
    until("it is another process", lambda: place.file("cx", "process.json") and place.provider_pid("cx") != provider)
    assert place.settled(peer.send("cx", "SAY:after"))["result"] == "after"
    assert place.file("cx", "info.json")["sessionId"] == session
    assert "before" in str(model.requests[-1].items)
    long = peer.send("cx", "SLOW:60\nSAY:never")
    place.reaches(long, "seen")
    place.run("interrupt", "cx")
    assert place.settled(long)["outcome"] == "interrupted"
    place.run("stop", "cx")
    until("its runner is gone", lambda: not place.file("cx", "info.json"))
    assert not running(provider)
