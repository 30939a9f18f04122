"""What people do with messages, as they see it."""

from __future__ import annotations

import asyncio
import io
import sys
from typing import Any

import pytest

from relay_runner.cli import messages, sending
from relay_runner.errors import ConfigError
from relay_runner.protocol.agents import Status
from relay_runner.protocol.messages import NewMessage, Outcome
from tests.unit.cli.conftest import World, carry

NASTY = "evil \x1b[2J[bold]b[/bold]"


class Stdin(io.TextIOWrapper):
    """A stdin of given bytes."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))


def test_send_says_what_the_relay_has(world: World) -> None:
    world.agent("bob")
    assert world.run("send", "bob", "hello") == ("message 1 to bob: queued\n", "")
    sent = world.hub.mail.record(world.person._caller, 1).message
    assert (sent.to, sent.body, sent.timing) == ("agent:bob", "hello", "queue")


def test_every_flag_of_send_reaches_the_message(world: World) -> None:
    world.agent("bob", tags=("x",))
    flags = ["--timing", "steer", "--subject", "s", "--reply-required", "--claimable"]
    found = world.json("send", "tag:x", "hello", *flags)
    sent = world.hub.mail.record(world.person._caller, found["id"]).message
    assert (sent.timing, sent.subject, sent.reply_required, sent.claimable) == ("steer", "s", True, True)


@pytest.mark.parametrize(
    ("outcome", "code", "said", "noted"),
    [
        (Outcome.COMPLETED, 0, "the answer\n", ""),
        (Outcome.FAILED, 1, "the answer\n", "relay-runner: message 1 to bob: done (failed)\n"),
        (Outcome.INTERRUPTED, 5, "the answer\n", "relay-runner: message 1 to bob: done (interrupted)\n"),
    ],
)
def test_waiting_prints_the_turn_s_text_and_its_end(
    world: World, outcome: Outcome, code: int, said: str, noted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = world.agent("bob")
    answer(world, monkeypatch, lambda number: carry(bob, "bob", number, outcome, "the answer"))
    assert world.run("send", "bob", "question", "--wait", code=code) == (said, noted)


@pytest.mark.parametrize(
    ("result", "noted"),
    [
        ("text", "relay-runner: the same turn also carried message 7\n"),
        (None, "relay-runner: the same turn also carried message 7\nrelay-runner: no text: it answered ann\n"),
    ],
)
def test_what_else_was_in_the_turn_is_said(
    world: World, result: str | None, noted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = world.agent("bob")

    async def share(number: int) -> None:
        await carry(bob, "bob", number, Outcome.COMPLETED, result, carried=(number, 7), reason="it answered ann")

    answer(world, monkeypatch, share)
    assert world.run("send", "bob", "question", "--wait") == (f"{result}\n" if result else "", noted)
    assert "with:      message 7 in the same turn" in world.run("read", "1")[0]


def test_a_reply_is_printed_instead_of_the_turn_s_text(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    bob = world.agent("bob")

    async def reply(number: int) -> None:
        await bob.send(NewMessage(to="person:operator", body=NASTY, reply_to=number))
        await carry(bob, "bob", number, Outcome.COMPLETED, "done talking")

    answer(world, monkeypatch, reply)
    assert world.run("send", "bob", "question", "--wait")[0] == "evil [2J[bold]b[/bold]\n"


def test_out_of_time_tells_the_receipt_reached(world: World) -> None:
    world.agent("bob")
    out, err = world.run("send", "bob", "x", "--wait", "--timeout", "0.05", code=3)
    assert out == "" and err == (
        "relay-runner: no answer after 0.05 s: bob has not taken message 1 yet; `relay-runner read 1` shows more\n"
    )
    assert world.json("send", "bob", "x", "--wait", "--timeout", "0.05", code=3)["state"] == "queued"


def answer(world: World, monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    """Let `act` happen right after the next message was accepted."""
    send = world.person.send

    async def and_then(new: NewMessage) -> Any:
        record = await send(new)
        await act(record.message.id)
        return record

    monkeypatch.setattr(world.person, "send", and_then)


def test_an_agent_that_waits_for_a_person_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "LOOK_S", 0.01)
    bob = world.agent("bob")
    asyncio.run(bob.put_status("bob", "i1", Status(provider_state="waiting: permission prompt")))
    _, err = world.run("send", "bob", "x", "--wait", "--timeout", "1", code=3)
    assert err.splitlines()[0] == "relay-runner: bob waits at a permission prompt: `relay-runner attach bob`"
    assert err.count("permission") == 1
    asks = Status(provider_state="waiting: prompt", busy_reasons=("asks for permission 3f9a: mkdir x",))
    asyncio.run(bob.put_status("bob", "i1", asks))
    _, err = world.run("send", "bob", "x", "--wait", "--timeout", "1", code=3)
    said = "bob waits for an answer (3f9a: mkdir x): `relay-runner permissions 3f9a` shows it"
    assert err.splitlines()[0] == f"relay-runner: {said}"


def test_an_unknown_recipient_gets_the_nearest_name(world: World) -> None:
    world.agent("bob")
    _, err = world.run("send", "bop", "x", code=2)
    assert "bob" in err and err.count("\n") == 1


def test_inbox_read_and_reply(world: World) -> None:
    bob = world.agent("bob")
    assert world.run("inbox") == ("", "relay-runner: no unread messages\n")
    asyncio.run(bob.send(NewMessage(to="person:operator", body=NASTY + "\nsecond line", subject=None)))
    out, _ = world.run("inbox")
    assert out.splitlines()[1].split(maxsplit=3)[2:] == ["agent:bob", "evil [2J[bold]b[/bold] second line"]
    shown, _ = world.run("read", "1")
    assert "from:      agent:bob" in shown and shown.endswith("\nevil [2J[bold]b[/bold]\nsecond line\n")
    assert world.json("inbox") == []
    assert len(world.json("inbox", "--all")) == 1
    assert world.run("reply", "1", "thanks")[0] == "message 2 to bob: queued\n"
    assert world.run("react", "1", "👍")[0] == "message 1: 👍\n"
    again = world.json("read", "1")
    assert again["replies"] == [2] and again["reactions"][0]["emoji"] == "👍"


def test_a_message_that_wants_a_reply_says_so_until_it_has_one(world: World) -> None:
    bob = world.agent("bob")
    asyncio.run(bob.send(NewMessage(to="person:operator", body="may I?", reply_required=True)))
    assert "(wants a reply) may I?" in world.run("inbox")[0]
    world.run("reply", "1", "you may")
    assert "(wants a reply)" not in world.run("inbox", "--all")[0]


def test_reading_somebody_else_s_message_marks_nothing(world: World) -> None:
    world.agent("bob")
    world.send("bob", "for bob")
    world.run("read", "1")
    assert world.hub.mail.record(world.person._caller, 1).deliveries[0].read_at is None


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"", "empty"), (b" \n\t", "empty"), (b"x" * (1024 * 1024 + 1), "1 MiB"), (b"\xff\xfe", "UTF-8")],
)
def test_what_stdin_may_not_be(data: bytes, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Stdin(data))
    with pytest.raises(ConfigError, match=said):
        messages.read_body("-")


def test_stdin_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a\tb\r\n\u00e9 \U0001f600\n\n"
    monkeypatch.setattr(sys, "stdin", Stdin(text.encode()))
    assert messages.read_body("-") == text
    monkeypatch.setattr(sys, "stdin", Stdin(("é" * 512 * 1024).encode()))
    assert len(messages.read_body("-")) == 512 * 1024
