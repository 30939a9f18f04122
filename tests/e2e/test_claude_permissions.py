"""What the real Claude Code asks, answered from elsewhere, at its dialog, by nobody, and across a runner's death."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.claude import claude_environ, claude_home, model  # noqa: F401 - a fixture
from tests.e2e.test_cli_terminal import DETACH, SHOWN, person
from tests.fake_models.anthropic import FakeAnthropic
from tests.harness import Home, home, kill, until

pytestmark = [pytest.mark.claude, pytest.mark.slow]

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


@pytest.fixture
def cc(place: Home) -> Home:
    """A home in which the agent `cc` is ready."""
    place.start("cc", "claude", "--trust-folder")
    return place


def asks(place: Home, body: str) -> tuple[int, dict[str, Any]]:
    """Make it ask, and return the message and the permission once its dialog is up."""
    message = place.send("cc", body)
    asked = place.asked("cc", state="open")
    until("its dialog is up", lambda: place.agent("cc").get("providerState") == "waiting: permission prompt")
    return message, asked


def restart(place: Home) -> None:
    """Start another runner where a question is open: the agent is not ready, and it is adopted all the same."""
    provider = place.provider_pid("cc")
    runner = place.start("cc", "claude", "--trust-folder", wait=False)
    until("it waits again", lambda: str(place.agent("cc", pid=runner.pid).get("providerState")).startswith("waiting"))
    assert place.provider_pid("cc") == provider


def made(place: Home, name: str) -> bool:
    return (place.work / name).exists()


def test_every_decision_from_elsewhere(cc: Home, model: FakeAnthropic) -> None:
    message, asked = asks(cc, "RUN:mkdir one")
    assert (asked["kind"], asked["title"], asked["detail"]) == ("command", "mkdir one", "fake run")
    assert cc.json("ps")[0]["busyReasons"][0] == f"asks for permission {asked['id']}: mkdir one"
    assert not made(cc, "one")
    assert "approved" in cc.run("approve", asked["id"][:4]).stdout
    assert cc.settled(message)["outcome"] == "completed" and made(cc, "one")
    assert cc.permission(asked["id"], state="closed")["resolution"] == "applied"
    assert "already answered with approve" in cc.run("deny", asked["id"], check=1).stderr

    message, asked = asks(cc, "RUN:mkdir two")
    cc.run("deny", asked["id"], "--reason", "use the other folder")
    assert "use the other folder" in cc.settled(message)["result"]
    assert cc.settled(message)["outcome"] == "completed" and not made(cc, "two")

    message, asked = asks(cc, "RUN:mkdir three")
    assert "the turn ended" in cc.run("deny", asked["id"], "--abort").stdout
    assert cc.settled(message)["outcome"] == "interrupted" and not made(cc, "three")


def test_an_approval_for_the_session_is_exact_and_leaves_the_mode_alone(cc: Home, model: FakeAnthropic) -> None:
    message, asked = asks(cc, "RUN:touch 'a*'")
    cc.run("approve", asked["id"], "--session")
    cc.settled(message)
    again = cc.send("cc", "RUN:touch 'a*'")
    assert cc.settled(again)["outcome"] == "completed"
    assert len(cc.get_list("/api/v1/permissions?agentId=cc")) == 1
    for body in ("RUN:touch 'abc'", "RUN:touch 'a*' && mkdir other"):
        message, asked = asks(cc, body)
        cc.run("deny", asked["id"])
        cc.settled(message)
    file = cc.work / "mine.txt"
    write = "TOOL:Write " + json.dumps({"file_path": str(file), "content": "one"})
    message, asked = asks(cc, write)
    assert (asked["kind"], asked["detail"]) == ("change", "one")
    cc.run("approve", asked["id"], "--session")
    cc.settled(message)
    assert cc.settled(cc.send("cc", write.replace("one", "two")))["outcome"] == "completed"
    assert file.read_text() == "two"
    message, asked = asks(cc, write.replace("mine", "theirs"))
    cc.run("deny", asked["id"], "--abort")
    cc.settled(message)
    assert "accept edits" not in cc.screen("cc")
    user = cc.root / "user" / ".claude"
    assert not [file for folder in (user, cc.work) for file in folder.rglob("settings*.json")]


def test_questions_and_plans_are_answered(cc: Home, model: FakeAnthropic) -> None:
    message, asked = asks(cc, "TOOL:AskUserQuestion " + json.dumps(QUESTIONS))
    assert (asked["kind"], [question["id"] for question in asked["questions"]]) == ("question", ["1", "2"])
    assert "1=TEXT" in cc.run("approve", asked["id"], check=1).stderr
    cc.run("approve", asked["id"], "--answer", "1=B", "--answer", "2=S", "--answer", "2=M")
    result = cc.settled(message)["result"]
    assert '"Which?"="B"' in result and '"Many?"="S, M"' in result
    message, asked = asks(cc, 'TOOL:EnterPlanMode {}\nTOOL:ExitPlanMode {"plan": "do it"}\nRUN:mkdir planned')
    assert (asked["kind"], asked["detail"]) == ("plan", "do it")
    cc.run("approve", asked["id"])
    asked = cc.asked("cc", state="open")
    assert asked["title"] == "mkdir planned", "leaving plan mode leads back to asking"
    cc.run("approve", asked["id"])
    assert cc.settled(message)["outcome"] == "completed"


@pytest.mark.parametrize(("key", "decision", "outcome"), [("1", None, "completed"), ("3", "abort", "interrupted")])
def test_a_person_answers_at_the_dialog(cc: Home, key: str, decision: str | None, outcome: str) -> None:
    message, asked = asks(cc, "RUN:mkdir one")
    until("the dialog is drawn", lambda: "Do you want to proceed?" in cc.screen("cc"))
    cc.tmux("cc", "send-keys", key)
    closed = cc.permission(asked["id"], state="closed")
    assert (closed["resolution"], closed["decision"]) == ("terminal", decision)
    assert "answered at the terminal" in cc.run("deny", asked["id"], check=1).stderr
    assert cc.settled(message)["outcome"] == outcome
    assert made(cc, "one") is (key == "1")


def test_what_is_asked_is_withdrawn_when_the_agent_is_interrupted(cc: Home) -> None:
    message, asked = asks(cc, "RUN:mkdir one")
    cc.run("interrupt", "cc")
    assert cc.settled(message)["outcome"] == "interrupted"
    assert cc.permission(asked["id"], state="closed")["resolution"] == "withdrawn"
    assert "asked no more" in cc.run("approve", asked["id"], check=1).stderr
    assert not made(cc, "one")


def test_a_subagent_asks_and_is_answered(cc: Home) -> None:
    message, asked = asks(cc, "TASK:RUN=mkdir sub")
    assert asked["metadata"]["subagentId"] and "subagent" in asked["detail"]
    cc.run("approve", asked["id"])
    assert cc.settled(message)["outcome"] == "completed" and made(cc, "sub")
    message = cc.send("cc", "BGTASK:RUN=mkdir background\nSAY:started")
    asked = cc.asked("cc", state="open")
    cc.run("approve", asked["id"])
    assert cc.settled(message)["outcome"] == "completed" and made(cc, "background")
    assert cc.permission(asked["id"], state="closed")["resolution"] == "applied"


def deadline(place: Home, seconds: float) -> None:
    place.state.mkdir(exist_ok=True)
    (place.state / "config.toml").write_text(f"permission_deadline_s = {seconds}\n")


def test_nobody_answers_a_headless_agent(place: Home) -> None:
    deadline(place, 1)
    place.start("cc", "claude", "--trust-folder")
    message = place.send("cc", "RUN:mkdir one")
    assert "nobody answered within 1 s" in place.settled(message)["result"]
    assert place.asked("cc", state="closed")["resolution"] == "expired" and not made(place, "one")


def test_nobody_answers_an_agent_in_a_terminal(place: Home) -> None:
    deadline(place, 1)
    with person(place, "start", "claude", "--agent-id", "cc", "--trust-folder") as terminal:
        terminal.expect(SHOWN)
        message = place.send("cc", "RUN:mkdir one")
        left = place.asked("cc", note="answer at the terminal")
        assert (left["state"], left["decisions"]) == ("open", [])
        terminal.send("1")
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
    cc.tmux("cc", "send-keys", "1")
    assert cc.settled(message)["outcome"] == "completed"
    assert cc.permission(asked["id"], state="closed")["resolution"] == "terminal"


def test_a_dialog_that_no_runner_was_there_for_is_told_all_the_same(cc: Home) -> None:
    until("it is idle", lambda: cc.status("cc") == "idle")
    kill(cc.runner_pid("cc"))
    cc.tmux("cc", "send-keys", "-l", "RUN:mkdir one")
    cc.tmux("cc", "send-keys", "Enter")
    until("the dialog is up", lambda: "Do you want to proceed?" in cc.screen("cc"))
    restart(cc)
    asked = cc.asked("cc", note="answer at the terminal")
    assert (asked["title"], asked["decisions"]) == ("Bash command: mkdir one", [])
    cc.tmux("cc", "send-keys", "1")
    assert cc.permission(asked["id"], state="closed")["resolution"] == "terminal"
    until("it did it", lambda: made(cc, "one"))


def test_the_relay_is_down_while_it_asks(cc: Home) -> None:
    message, asked = asks(cc, "RUN:mkdir one")
    kill(cc.relay_pid())
    assert "approved" in cc.run("approve", asked["id"]).stdout
    assert cc.settled(message)["outcome"] == "completed" and made(cc, "one")


def test_the_agent_cannot_answer_itself(cc: Home) -> None:
    message, asked = asks(cc, f"RUN:relay-runner approve {'0' * 10}; mkdir one")
    cc.run("approve", asked["id"])
    result = cc.settled(message)["result"] or ""
    assert "an agent cannot answer permissions" in result
    curl = (
        'curl -sS -o /dev/null -w "%{http_code}" -X POST -H "Authorization: Bearer $AGENT_RELAY_TOKEN" '
        f'-d \'{{"decision":"approve"}}\' "$AGENT_RELAY_URL/api/v1/permissions/{asked["id"]}/decision"'
    )
    message, asked = asks(cc, f"RUN:{curl}")
    cc.run("approve", asked["id"])
    assert "404" in (cc.settled(message)["result"] or "")
