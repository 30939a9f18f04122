"""Messages by the command line, to the demo agent: answers, exit codes, JSON, and what bad input gets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import PROGRAM, Home, home, running, until


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Give a home in which the agent bob runs."""
    with home(tmp_path_factory.mktemp("messages")) as made:
        made.start("bob", "demo")
        yield made


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Home]:
    """Give a home for one test that ends what runs in it."""
    with home(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("echo hello", 0, "hello\n"),
        ("fail", 1, ""),
        ("echo \x1b[31mred\x1b[0m", 0, "[31mred[0m\n"),
    ],
)
def test_the_answer_and_the_exit_code(place: Home, body: str, code: int, said: str) -> None:
    done = place.run("send", "bob", "-", "--wait", stdin=body, check=code)
    assert said in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def test_without_waiting_one_line(place: Home) -> None:
    assert place.run("send", "bob", "echo x").stdout.endswith(" to bob: queued\n")


def test_the_json_of_an_answer(place: Home) -> None:
    found = place.json("send", "bob", "echo hello", "--wait", "--subject", "greeting")
    assert {"id", "to", "state", "outcome", "result", "reply"} <= set(found)
    assert (found["to"], found["state"], found["outcome"]) == ("agent:bob", "done", "completed")
    assert found["result"] == {"text": "hello"} and found["reply"] is None
    shown = place.run("read", str(found["id"])).stdout
    assert "subject:   greeting" in shown and "delivery:  bob: done (completed)" in shown and "echo hello" in shown


def test_out_of_time_then_interrupted(place: Home) -> None:
    late = place.run("send", "bob", "slow 120", "--wait", "--timeout", "3", check=3)
    assert "no answer after 3 s: bob has seen message " in late.stderr
    waiting = subprocess.Popen(
        [*PROGRAM, "send", "bob", "slow 120", "--wait", "--json"], env=place.environ, stdout=subprocess.PIPE, text=True
    )
    busy = next(row for row in place.json("ps") if row["agentId"] == "bob")
    assert busy["status"] == "busy" and busy["busyReasons"] and busy["since"]
    for _ in range(2):  # the running one, then the one behind it
        until("a message is in", lambda: place.status("bob") == "busy")
        assert place.run("interrupt", "bob").stdout == "bob: interrupted\n"
    out, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 5 and json.loads(out)["outcome"] == "interrupted"


def test_an_unknown_recipient_gets_the_nearest_name(place: Home) -> None:
    done = place.run("send", "bbo", "x", check=2)
    assert "bob" in done.stderr and done.stderr.count("\n") == 1
    error = place.json("send", "bbo", "x", check=2)["error"]
    assert error["code"] == "not-found" or error["code"].startswith("no-such")
    assert "bob" in (error["hint"] or "") + error["message"]


@pytest.mark.parametrize(
    ("stdin", "said"),
    [("", "empty"), (" \n", "empty"), ("x" * (1024 * 1024 + 1), "1 MiB")],
)
def test_bad_bodies_are_refused_here(place: Home, stdin: str, said: str) -> None:
    assert said in place.run("send", "bob", "-", stdin=stdin, check=2).stderr


def test_a_body_of_one_mebibyte_arrives(place: Home) -> None:
    found = place.json("send", "bob", "-", stdin="é" * (512 * 1024))
    assert len(place.message(found["id"])["message"]["body"]) == 512 * 1024


def test_a_person_s_inbox(place: Home) -> None:
    record = place.json("send", "person:alice", "for alice: \x1b[2J", "--subject", "s")
    assert record["deliveries"][0]["recipient"] == "person:alice"
    assert place.json("inbox") == [] or all(one["message"]["to"] != "person:alice" for one in place.json("inbox"))


def test_reactions_and_replies(place: Home) -> None:
    number = place.json("send", "bob", "echo x", "--wait")["id"]
    place.run("react", str(number), "👍")
    assert "👍" in place.run("read", str(number)).stdout


def test_inside_an_agent_the_verbs_go_through_its_control_server(place: Home) -> None:
    control = place.file("bob", "control.json")
    inside = {
        **place.environ,
        "AGENT_RELAY_URL": control["url"],
        "AGENT_RELAY_TOKEN": control["secret"],
        "AGENT_RELAY_ID": "bob",
        "AGENT_RELAY_PROVIDER_SESSION_ID": control["providerSessionId"],
    }

    def run(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*PROGRAM, *words],
            env=inside,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    sent = place.json("send", "bob", "echo question", "--wait")["id"]
    login = place.message(sent)["message"]["from"]
    assert run("reply", str(sent), "the answer").stdout.startswith("message ")
    assert [row["agentId"] for row in json.loads(run("ps", "--json").stdout)] == ["bob"]
    run("react", str(sent), "ok")
    answer = place.json("inbox")[0]
    assert answer["message"]["from"] == "agent:bob" and answer["message"]["to"] == login
    assert place.run("read", str(answer["message"]["id"])).stdout.endswith("\nthe answer\n")
    assert place.json("inbox") == []
    own = json.loads(run("send", login, "hello", "--json").stdout)
    assert place.message(own["id"])["message"]["from"] == "agent:bob"
    mine = json.loads(run("inbox", "--all", "--json").stdout)
    assert {one["message"]["to"] for one in mine} == {"agent:bob"}
    for words in (["stop", "bob"], ["kill", "bob"], ["restart", "bob"], ["dead"], ["relay", "stop"], ["attach", "bob"]):
        assert "an agent cannot" in run(*words, code=2).stderr


def test_a_generic_program_proves_nothing_and_says_so(own: Home) -> None:
    own.start("calc", "generic", "--", "python3", "-i", "-q")
    done = own.run("send", "calc", "6 * 7", "--wait")
    assert "message 1 to calc: submitted (unproven): this provider cannot prove more" in done.stderr
    assert "42" in done.stdout


def test_stop_and_kill_without_a_relay(own: Home) -> None:
    one, two = own.start("one", "demo"), own.start("two", "demo")
    providers = [own.provider_pid("one"), own.provider_pid("two")]
    assert own.run("relay", "stop").stdout == "the relay has ended\n"
    assert own.run("relay", "status", check=1).stdout.startswith("the relay does not run")
    assert own.run("stop", "one").stdout == "one: stopped\n"
    assert one.wait(30) == 0
    os.kill(two.pid, signal.SIGSTOP)
    assert own.run("kill", "two").stdout == "two: killed\n"
    assert two.wait(30) == -signal.SIGKILL
    assert not any(map(running, providers))
    assert own.run("stop", "one").stdout == "one: does not run\n"
    assert "no agent three" in own.run("attach", "three", check=2).stderr


def test_two_signals_end_a_headless_runner(own: Home) -> None:
    runner = own.start("bob", "demo")
    provider = own.provider_pid("bob")
    runner.send_signal(signal.SIGTERM)
    assert runner.wait(30) == 0
    assert not running(provider)
    assert "bob ended: SIGTERM" in own.log("bob")
    assert "joined the relay" in own.run("logs", "bob").stdout
    assert len(own.run("logs", "bob", "-n", "1").stdout.splitlines()) == 1


def test_an_agent_starts_again_by_its_id_alone(own: Home) -> None:
    first = own.start("bob", "demo", "--label", "Front desk")
    first.send_signal(signal.SIGTERM)
    first.wait(30)
    again = subprocess.Popen(
        [*PROGRAM, "start", "--headless", "--agent-id", "bob"], env=own.environ, cwd="/", stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    own.runners.append(again)
    until("bob is ready", lambda: own.agent("bob", pid=again.pid).get("ready"))
    assert own.run("send", "label:Front desk", "echo again", "--wait").stdout == "again\n"


def test_a_dead_relay_at_start_is_waited_for(own: Home) -> None:
    runner = own.start("bob", "demo", "--relay", "http://127.0.0.1:9", wait=False)
    until("it is told", lambda: "trying until it answers" in own.log("bob"))
    runner.send_signal(signal.SIGINT)
    assert runner.wait(30) == 130


def test_doctor_and_version(own: Home) -> None:
    checks = {one["check"]: one for one in own.json("doctor")}
    assert checks["tmux"]["state"] == "ok" and checks["python"]["state"] == "ok"
    assert own.json("version")["protocol"] == 1
    (own.state / "config.toml").parent.mkdir(exist_ok=True)
    (own.state / "config.toml").write_text("colour = 1\n")
    assert {one["check"]: one["state"] for one in own.json("doctor", check=1)}["settings"] == "fail"
