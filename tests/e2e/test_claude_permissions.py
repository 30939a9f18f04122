"""What the real Claude Code asks, answered from elsewhere, at its dialog, by nobody, and across a runner's death."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.claude import claude_environ, claude_home, model  # noqa: F401 - a fixture
from tests.e2e.test_cli_terminal import DETACH, SHOWN, person
from tests.fake_models.anthropic import FakeAnthropic
from tests.harness import Home, home, kill, until
from tests.programs import version
from tests.terminals import bindable, connected

pytestmark = [pytest.mark.claude, pytest.mark.slow]

WAITING = ("waiting: permission prompt", "waiting: input needed")
QUESTIONS = {
    "questions": [
        {
            "question": "Which?", "header": "Pick", "multiSelect": False,
            "options": [{"label": "A", "description": "aa"}, {"label": "B", "description": "bb"}],
        },
        {
            "question": "Many?", "header": "Sizes", "multiSelect": True,
            "options": [{"label": "S", "description": "s"}, {"label": "M", "description": "m"}],
        },
    ]
}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, model: FakeAnthropic) -> Iterator[Home]:
    with home(tmp_path, claude_environ(claude_home(tmp_path / "user"), model)) as made:
        yield made


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home in which the agent `cc` is ready: for every test of this module that leaves it well."""
    folder = tmp_path_factory.mktemp("desk")
    with FakeAnthropic() as model, home(folder, claude_environ(claude_home(folder / "user"), model)) as made:
        made.start("cc", "claude", "--trust-folder")
        yield made


@pytest.fixture
def cc(place: Home) -> Home:
    """A home in which the agent `cc` is ready."""
    place.start("cc", "claude", "--trust-folder")
    return place


def asks(place: Home, body: str) -> tuple[int, dict[str, Any]]:
    """Make it ask, and return the message and the permission once its dialog is up."""
    message = place.send("cc", body)
    asked = place.asked("cc", state="open")
    until("its dialog is up", lambda: place.agent("cc").get("providerState") in WAITING)
    return message, asked


def types(place: Home, line: str) -> None:
    """Enter a line at the terminal as a person would."""
    place.tmux("cc", "send-keys", "-l", line)
    until("it is typed", lambda: f"\u276f\u00a0{line}" in place.screen("cc"))
    place.tmux("cc", "send-keys", "Enter")


def choose(place: Home, label: str, press: Callable[[str], object] | None = None) -> None:
    """Answer at the dialog as a person would: by the row that says this, and again where the key was dropped."""
    row = re.compile(rf"^\s*(\d)\. {label}\b", re.MULTILINE)

    def shown() -> str:
        return place.screen("cc").rpartition("Bash command")[2].replace("\u276f", " ")

    press = press or partial(place.tmux, "cc", "send-keys")
    digit = until("the dialog is drawn", lambda: row.search(shown()))[1]
    before = shown()
    while shown() == before:  # in the first second of a dialog, a digit only marks its row (2.1.332)
        press(digit)
        with contextlib.suppress(AssertionError):
            until("it took the key", lambda: shown() != before, patience_s=5.0)


def restart(place: Home) -> None:
    """Start another runner where a question is open: the agent is not ready, and it is adopted all the same."""
    provider = place.provider_pid("cc")
    runner = place.start("cc", "claude", "--trust-folder", wait=False)
    until("it waits again", lambda: str(place.agent("cc", pid=runner.pid).get("providerState")).startswith("waiting"))
    assert place.provider_pid("cc") == provider


def test_what_is_asked_while_no_runner_is_there_is_answered_through_the_next_one(cc: Home) -> None:
    message = cc.send("cc", "HANG:4\nRUN:mkdir late")
    cc.reaches(message, "seen")
    control = cc.file("cc", "control.json")
    kill(cc.runner_pid("cc"))
    until("its hook waits in the backlog of a port that nobody can take", lambda: connected(control["port"]))
    assert not bindable(control["port"])
    restart(cc)
    asked = cc.asked("cc", state="open")
    assert asked["title"] == "mkdir late"
    cc.run("approve", asked["id"])
    assert cc.settled(message)["outcome"] == "completed" and made(cc, "late")
    assert cc.permission(asked["id"], state="closed")["resolution"] == "applied"
    assert cc.file("cc", "control.json") == control
    assert "dropped hook" not in cc.log("cc")


def made(place: Home, name: str) -> bool:
    return (place.work / name).exists()


def test_every_decision_from_elsewhere(desk: Home) -> None:
    message, asked = asks(desk, "RUN:mkdir one")
    assert (asked["kind"], asked["title"], asked["detail"]) == ("command", "mkdir one", "fake run")
    assert desk.json("ps")[0]["busyReasons"][0] == f"asks for permission {asked['id']}: mkdir one"
    assert not made(desk, "one")
    assert "approved" in desk.run("approve", asked["id"][:4]).stdout
    assert desk.settled(message)["outcome"] == "completed" and made(desk, "one")
    assert desk.permission(asked["id"], state="closed")["resolution"] == "applied"
    assert "already answered with approve" in desk.run("deny", asked["id"], check=1).stderr

    message, asked = asks(desk, "RUN:mkdir two")
    desk.run("deny", asked["id"], "--reason", "use the other folder")
    assert "use the other folder" in desk.settled(message)["result"]
    assert desk.settled(message)["outcome"] == "completed" and not made(desk, "two")

    message, asked = asks(desk, "RUN:mkdir three")
    assert "the turn ended" in desk.run("deny", asked["id"], "--abort").stdout
    assert desk.settled(message)["outcome"] == "interrupted" and not made(desk, "three")


def test_an_approval_for_the_session_is_exact_and_leaves_the_mode_alone(desk: Home) -> None:
    message, asked = asks(desk, "RUN:touch 'a*'")
    desk.run("approve", asked["id"], "--session")
    desk.settled(message)
    again = desk.send("cc", "RUN:touch 'a*'")
    assert desk.settled(again)["outcome"] == "completed"
    assert desk.get_list("/api/v1/permissions?agentId=cc")[-1]["id"] == asked["id"]
    for body in ("RUN:touch 'abc'", "RUN:touch 'a*' && mkdir other"):
        message, asked = asks(desk, body)
        desk.run("deny", asked["id"])
        desk.settled(message)
    file = desk.work / "mine.txt"
    write = "TOOL:Write " + json.dumps({"file_path": str(file), "content": "one"})
    message, asked = asks(desk, write)
    assert (asked["kind"], asked["detail"]) == ("change", "one")
    desk.run("approve", asked["id"], "--session")
    desk.settled(message)
    assert desk.settled(desk.send("cc", write.replace("one", "two")))["outcome"] == "completed"
    assert file.read_text() == "two"
    message, asked = asks(desk, write.replace("mine", "theirs"))
    desk.run("deny", asked["id"], "--abort")
    desk.settled(message)
    assert "accept edits" not in desk.screen("cc")
    user = desk.root / "user" / ".claude"
    assert not [file for folder in (user, desk.work) for file in folder.rglob("settings*.json")]


def test_questions_and_plans_are_answered(desk: Home) -> None:
    message, asked = asks(desk, "TOOL:AskUserQuestion " + json.dumps(QUESTIONS))
    assert (asked["kind"], [question["id"] for question in asked["questions"]]) == ("question", ["1", "2"])
    assert "1=TEXT" in desk.run("approve", asked["id"], check=2).stderr
    desk.run("approve", asked["id"], "--answer", "1=B", "--answer", "2=S", "--answer", "2=M")
    result = desk.settled(message)["result"]
    assert '"Which?"="B"' in result and '"Many?"="S, M"' in result
    message, asked = asks(desk, 'TOOL:EnterPlanMode {}\nTOOL:ExitPlanMode {"plan": "do it"}\nRUN:mkdir planned')
    assert asked["kind"] == "plan"
    desk.run("approve", asked["id"])
    asked = desk.asked("cc", state="open")
    assert asked["title"] == "mkdir planned", "leaving plan mode leads back to asking"
    desk.run("approve", asked["id"])
    assert desk.settled(message)["outcome"] == "completed"


@pytest.mark.parametrize(("label", "decision", "outcome"), [("Yes", None, "completed"), ("No", "abort", "interrupted")])
def test_a_person_answers_at_the_dialog(desk: Home, label: str, decision: str | None, outcome: str) -> None:
    message, asked = asks(desk, f"RUN:mkdir by-key-{label}")
    choose(desk, label)
    closed = desk.permission(asked["id"], state="closed")
    assert (closed["resolution"], closed["decision"]) == ("terminal", decision)
    assert "answered at the terminal" in desk.run("deny", asked["id"], check=1).stderr
    assert desk.settled(message)["outcome"] == outcome
    assert made(desk, f"by-key-{label}") is (label == "Yes")


def test_what_is_asked_is_withdrawn_when_the_agent_is_interrupted(desk: Home) -> None:
    message, asked = asks(desk, "RUN:mkdir interrupted")
    desk.run("interrupt", "cc")
    assert desk.settled(message)["outcome"] == "interrupted"
    assert desk.permission(asked["id"], state="closed")["resolution"] == "withdrawn"
    assert "asked no more" in desk.run("approve", asked["id"], check=1).stderr
    assert not made(desk, "interrupted")


def test_a_subagent_asks_and_is_answered(desk: Home) -> None:
    message = desk.send("cc", "TASK:RUN=mkdir sub")  # 2.1.332 has it in the background, where it has no dialog
    asked = desk.asked("cc", state="open")
    assert asked["metadata"]["subagentId"] and "subagent" in asked["detail"]
    desk.run("approve", asked["id"])
    assert desk.settled(message)["outcome"] == "completed" and made(desk, "sub")
    message = desk.send("cc", "BGTASK:RUN=mkdir background\nSAY:started")
    asked = desk.asked("cc", state="open")
    desk.run("approve", asked["id"])
    assert desk.settled(message)["outcome"] == "completed" and made(desk, "background")
    assert desk.permission(asked["id"], state="closed")["resolution"] == "applied"


def test_two_subagents_ask_at_once_and_each_is_answered(desk: Home) -> None:
    both = [
        ["Agent", {"description": name, "prompt": f"RUN:mkdir {name}", "subagent_type": "general-purpose"}]
        for name in ("left", "right")
    ]
    message = desk.send("cc", "TOOLS:" + json.dumps(both) + "\nSAY:both")
    found = until("both ask", lambda: _open(desk, 2))
    if version("claude-code") != "2.1.197":  # they are in the background, and have no dialogs
        desk.run("approve", found[0]["id"])
        desk.run("deny", found[1]["id"], "--reason", "one is enough")
        assert desk.settled(message)["outcome"] == "completed"
        assert made(desk, found[0]["title"].split()[1]) and not made(desk, found[1]["title"].split()[1])
        return
    until("a dialog is drawn", lambda: "Do you want to proceed?" in desk.screen("cc"))
    settled = max(one["createdAt"] for one in found) + 2
    until("it is clear which one lies above", lambda: time.time() > settled)
    above = next(one for one in found if one["title"] in desk.screen("cc").rpartition("────")[2])
    (below,) = [one for one in found if one is not above]
    choose(desk, "Yes")
    assert desk.permission(above["id"], state="closed")["resolution"] == "terminal"
    assert desk.permission(below["id"])["state"] == "open"
    desk.run("deny", below["id"], "--reason", "one is enough")
    assert desk.settled(message)["outcome"] == "completed"
    assert made(desk, above["title"].split()[1]) and not made(desk, below["title"].split()[1])


def _open(place: Home, count: int) -> list[dict[str, Any]]:
    found = place.get_list("/api/v1/permissions?agentId=cc&open=true")
    return found if len(found) == count else []


def deadline(place: Home, seconds: float) -> None:
    place.state.mkdir(exist_ok=True)
    (place.state / "config.toml").write_text(f"permission_deadline_s = {seconds}\n")


def test_nobody_answers_a_headless_agent(place: Home) -> None:
    deadline(place, 1)
    place.start("cc", "claude", "--trust-folder")
    message = place.send("cc", "RUN:mkdir one")
    assert "nobody answered within 1 s" in place.settled(message)["result"]
    assert place.asked("cc", state="closed")["resolution"] == "expired" and not made(place, "one")


def test_whatever_is_open_at_a_headless_agent_is_cancelled_at_the_deadline(place: Home) -> None:
    deadline(place, 1)
    place.start("cc", "claude", "--trust-folder")
    types(place, "/config")
    until("it is open", lambda: place.agent("cc").get("providerState") == "waiting: dialog open")
    message = place.send("cc", "SAY:through")
    asked = place.asked("cc", state="closed")
    assert (asked["kind"], asked["resolution"]) == ("tool", "expired")
    assert place.settled(message)["result"] == "through"


def test_nobody_answers_an_agent_in_a_terminal(place: Home) -> None:
    deadline(place, 1)
    with person(place, "start", "claude", "--agent-id", "cc", "--trust-folder") as terminal:
        terminal.expect(SHOWN)
        message = place.send("cc", "RUN:mkdir one")
        left = place.asked("cc", note="answer at the terminal")
        assert (left["state"], left["decisions"]) == ("open", [])
        choose(place, "Yes", terminal.send)
        assert place.settled(message)["outcome"] == "completed" and made(place, "one")
        assert place.permission(left["id"], state="closed")["resolution"] == "terminal"
        terminal.send(DETACH + "d")
    place.run("stop", "cc")


def test_a_person_who_looks_sees_what_a_background_subagent_asks(place: Home) -> None:
    with person(place, "start", "claude", "--agent-id", "cc", "--trust-folder") as terminal:
        terminal.expect(SHOWN)
        message = place.send("cc", "BGTASK:RUN=mkdir background\nSAY:started")
        until("its dialog is up", lambda: "Do you want to proceed?" in place.screen("cc"))
        asked = until("it asks by the dialog alone", lambda: _newest_by_key(place))
        assert "approved" in place.run("approve", asked["id"]).stdout
        assert place.settled(message)["outcome"] == "completed" and made(place, "background")
        terminal.send(DETACH + "d")
    place.run("stop", "cc")


def _newest_by_key(place: Home) -> dict[str, Any] | None:
    found = place.get_list("/api/v1/permissions?agentId=cc")
    return found[-1] if found and found[-1]["decisions"] == ["approve", "abort"] else None


@pytest.mark.parametrize("when", ["after", "meanwhile"])
def test_a_killed_runners_successor_answers_by_the_dialogs_key(cc: Home, when: str) -> None:
    message, asked = asks(cc, "RUN:mkdir one")
    kill(cc.runner_pid("cc"))
    if when == "meanwhile":
        cc.run("approve", asked["id"])
        cc.start("cc", "claude", "--trust-folder")
    else:
        restart(cc)
        again = until("it asks again", lambda: _by_key(cc, asked["id"]))
        assert again["decisions"] == ["approve", "abort"]
        assert "approved" in cc.run("approve", asked["id"]).stdout
    assert cc.settled(message)["outcome"] == "completed" and made(cc, "one")
    assert cc.permission(asked["id"], state="closed")["resolution"] == "applied"
    assert "\u276f\u00a01" not in cc.screen("cc"), "no key went into the input row"


def _by_key(place: Home, id: str) -> dict[str, Any] | None:
    found = place.get(f"/api/v1/permissions/{id}")
    return found if found.get("decisions") == ["approve", "abort"] else None


def test_a_killed_runners_successor_answers_nothing_that_the_screen_does_not_prove(cc: Home) -> None:
    message, asked = asks(cc, "RUN:mkdir one &&\\\nmkdir two")
    kill(cc.runner_pid("cc"))
    restart(cc)
    cc.permission(asked["id"], note="answer at the terminal", decisions=[])
    assert "answer at the terminal" in cc.run("approve", asked["id"], check=1).stderr
    choose(cc, "Yes")
    assert cc.settled(message)["outcome"] == "completed"
    assert cc.permission(asked["id"], state="closed")["resolution"] == "terminal"


@pytest.mark.parametrize("answered", ["at it", "from elsewhere"])
def test_a_dialog_that_no_hook_told_of_is_asked_as_its_screen_shows_it(place: Home, answered: str) -> None:
    settings = place.root / "user" / ".claude" / "settings.json"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text('{"disableAllHooks": true}')
    place.start("cc", "claude", "--trust-folder")
    types(place, "RUN:mkdir one")
    asked = place.asked("cc", state="open")
    assert (asked["title"], asked["decisions"]) == ("Bash command: mkdir one", ["approve", "abort"])
    assert "mkdir one" in asked["detail"]
    if answered == "at it":
        choose(place, "Yes")
    else:
        place.run("approve", asked["id"])
    resolution = "terminal" if answered == "at it" else "applied"
    assert place.permission(asked["id"], state="closed")["resolution"] == resolution
    until("it did it", lambda: made(place, "one"))


def test_the_relay_is_down_while_it_asks(cc: Home) -> None:
    message, asked = asks(cc, "RUN:mkdir one")
    kill(cc.relay_pid())
    assert "approved" in cc.run("approve", asked["id"]).stdout
    assert cc.settled(message)["outcome"] == "completed" and made(cc, "one")


def test_the_agent_cannot_answer_itself(desk: Home) -> None:
    message, asked = asks(desk, f"RUN:relay-runner approve {'0' * 10}; mkdir itself")
    desk.run("approve", asked["id"])
    result = desk.settled(message)["result"] or ""
    assert "an agent cannot answer permissions" in result
    curl = (
        'curl -sS -o /dev/null -w "%{http_code}" -X POST -H "Authorization: Bearer $AGENT_RELAY_TOKEN" '
        f'-d \'{{"decision":"approve"}}\' "$AGENT_RELAY_URL/api/v1/permissions/{asked["id"]}/decision"'
    )
    message, asked = asks(desk, f"RUN:{curl}")
    desk.run("approve", asked["id"])
    assert "404" in (desk.settled(message)["result"] or "")
