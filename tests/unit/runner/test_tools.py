import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relay_runner.errors import RelayUnavailable
from relay_runner.protocol.messages import MessageQuery, MessageRecord, NewMessage
from relay_runner.providers.base import ToolCall, ToolResult
from relay_runner.providers.codex.launch import introduction
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner import tools as module
from relay_runner.runner.attachments import AttachmentCache
from relay_runner.runner.journal import KEEP_S, Journal
from relay_runner.runner.tools import KNOWN_S, OFFERED, RelayTools
from tests.terminals import until
from tests.unit.runner.desk import Desk

pytestmark = pytest.mark.anyio


class Flaky(MemoryRelay):
    """A relay that takes a message and loses its answer, as often as the test says."""

    lost = 0
    silent = False

    async def send(self, new: NewMessage) -> MessageRecord:
        record = await super().send(new)
        if self.silent:
            await asyncio.sleep(3600)
        if self.lost:
            self.lost -= 1
            raise RelayUnavailable("the relay hung up")
        return record


class Agent:
    """Bob's tools, eve beside him, and an operator who looks on."""

    def __init__(self, operator: MemoryRelay, journal: Journal, root: Path) -> None:
        self.root = root
        (root / "work").mkdir()
        self.operator = operator
        self.relay = Flaky.of_agent("bob", operator.hub)
        self.journal = journal
        self.now = 1000.0
        self.tools = self.again()

    def again(self) -> RelayTools:
        """Return the tools of the next runner."""
        cache = AttachmentCache(self.relay, self.root / "attachments")
        return RelayTools(
            self.relay, self.journal, "bob", cwd=self.root / "work", attachments=cache, now=lambda: self.now
        )

    async def do(self, name: str, key: str = "k", /, **arguments: Any) -> ToolResult:
        return await self.tools.call(ToolCall(key, name, arguments))

    async def sent_any(self) -> bool:
        return bool(await self.sent())

    async def sent(self) -> list[MessageRecord]:
        return await self.operator.messages(MessageQuery(sender="agent:bob"))


@pytest.fixture
async def bob(tmp_path: Path) -> AsyncIterator[Agent]:
    operator = MemoryRelay()
    with Journal(tmp_path / "a.db") as one, Journal(tmp_path / "b.db") as two:
        async with Desk(one, operator, "bob").running(None), Desk(two, operator, "eve", instance_id="e").running(None):
            yield Agent(operator, one, tmp_path)


async def test_what_it_sends_is_the_agents_own(bob: Agent) -> None:
    told = await bob.do("relay_send", to="eve", text="hi", subject="s", replyRequired=True, timing="steer")
    (record,) = await bob.sent()
    message = record.message
    assert told == ToolResult(f"Message {message.id} is on its way to agent:eve.")
    assert (message.sender, message.to, message.body, message.subject) == ("agent:bob", "agent:eve", "hi", "s")
    assert (message.reply_required, message.timing, message.operator) == (True, "steer", False)


async def test_it_reads_replies_and_reacts_to_what_came(bob: Agent) -> None:
    id = (await bob.operator.send(NewMessage(to="bob", body="how are you </relay-message>"))).message.id
    listed = await bob.do("relay_inbox", "1")
    assert listed.text.startswith(f"{id} from person:operator: how are you") and "</relay-message" not in listed.text
    read = (await bob.do("relay_read", "2", id=id)).text
    assert f'<relay-message id="{id}"' in read and "agent:bob: " in read
    assert (await bob.do("relay_inbox", "3")).text == "There are no messages for you."
    assert str(id) in (await bob.do("relay_inbox", "4", all=True)).text
    assert (await bob.do("relay_reply", "5", id=id, text="fine")).success
    assert (await bob.do("relay_react", "6", id=id, emoji="👍")).text == f"👍 is on message {id}."
    record = await bob.operator.message(id)
    assert len(record.replies) == 1 and record.reactions[0].emoji == "👍"
    assert f"replies: {record.replies[0]}" in (await bob.do("relay_read", "7", id=id)).text


async def test_it_sees_who_is_there(bob: Agent) -> None:
    lines = (await bob.do("relay_agents")).text.splitlines()
    assert [line.split(" - ")[0] for line in lines] == ["bob (you)", "eve"]


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("relay_send", {"to": "evee", "text": "x"}, "eve"),
        ("relay_send", {"to": "not an id!", "text": "x"}, "not"),
        ("relay_send", {"text": "x"}, "missing required field `to`"),
        ("relay_send", {"to": "eve", "text": "x", "operator": True}, "unknown field `operator`"),
        ("relay_reply", {"id": "41", "text": "x"}, "Expected `int`"),
        ("relay_read", {"id": 999}, "999"),
        ("relay_approve", {"id": "p"}, "no tool 'relay_approve'"),
    ],
)
async def test_what_is_wrong_is_told_to_the_model(bob: Agent, name: str, arguments: dict[str, Any], words: str) -> None:
    told = await bob.do(name, "k", **arguments)
    assert not told.success and words in told.text and "\n" not in told.text
    assert await bob.sent() == []


async def test_another_agents_messages_are_not_readable(bob: Agent) -> None:
    id = (await bob.operator.send(NewMessage(to="eve", body="secret"))).message.id
    told = await bob.do("relay_read", id=id)
    assert not told.success and "secret" not in told.text


async def test_the_same_call_is_done_once_and_told_the_same(bob: Agent) -> None:
    first = await bob.do("relay_send", to="eve", text="hi")
    bob.tools = bob.again()
    assert await bob.do("relay_send", to="eve", text="hi") == first
    assert len(await bob.sent()) == 1
    assert await bob.do("relay_send", "another", to="eve", text="hi") != first
    assert len(await bob.sent()) == 2


async def test_a_runner_that_died_in_the_middle_sends_once(bob: Agent) -> None:
    bob.relay.silent = True
    async with asyncio.TaskGroup() as group:
        doing = group.create_task(bob.do("relay_send", to="eve", text="hi"))
        await until(bob.sent_any)
        doing.cancel()
    bob.relay.silent = False
    assert (await bob.do("relay_send", to="eve", text="hi")).success
    assert len(await bob.sent()) == 1


async def test_an_answer_that_was_lost_is_asked_for_again(bob: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    bob.relay.lost = 2
    assert (await bob.do("relay_send", to="eve", text="hi")).success
    assert len(await bob.sent()) == 1


async def test_a_relay_that_stays_away_leaves_it_open_and_says_so(bob: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RELAY_S", -1.0)
    bob.relay.lost = 1
    told = await bob.do("relay_send", to="eve", text="hi")
    assert not told.success and told.text.startswith("the relay hung up. It may or may not have been done")
    assert await bob.do("relay_send", to="eve", text="hi") == told, "the same call is not done again"
    assert len(await bob.sent()) == 1


async def test_what_the_relay_may_have_forgotten_is_not_sent_again(bob: Agent) -> None:
    bob.journal.remember("tool:k", '{"at": 1000.0}')
    bob.now = 1000.0 + KNOWN_S + 1
    told = await bob.do("relay_send", to="eve", text="hi")
    assert not told.success and "begun long ago" in told.text
    assert await bob.sent() == []


async def test_the_journal_forgets_calls_that_are_long_over(bob: Agent) -> None:
    await bob.do("relay_agents")
    bob.journal.prune(bob.now + KEEP_S - 1)
    assert bob.journal.fact("tool:k") is not None
    bob.journal.prune(bob.now + KEEP_S + 1)
    assert bob.journal.fact("tool:k") is None


def test_every_tool_that_is_offered_is_there_with_a_schema_of_its_own(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.db") as journal:
        assert {tool.name for tool in OFFERED} == set(_tools(journal, tmp_path)._verbs)
    for tool in OFFERED:
        assert set(tool.schema.get("required", ())) <= set(tool.schema["properties"])


def _tools(journal: Journal, root: Path) -> RelayTools:
    relay = MemoryRelay()
    return RelayTools(relay, journal, "bob", cwd=root, attachments=AttachmentCache(relay, root / "attachments"))


async def test_files_of_its_own_folder_go_along_and_come_back(bob: Agent) -> None:
    (bob.root / "work" / "chart.svg").write_text("<svg/>")
    assert (await bob.do("relay_send", "k1", to="eve", text="see", attach=["chart.svg"])).success
    (record,) = await bob.sent()
    (attachment,) = record.message.attachments
    assert (attachment.name, attachment.content_type) == ("chart.svg", "image/svg+xml")
    told = await bob.operator.send(NewMessage(to="bob", body="yours", attachments=(attachment.id,)))
    read = await bob.do("relay_read", "k2", id=told.message.id)
    path = read.text.partition('path="')[2].partition('"')[0]
    assert Path(path).read_text() == "<svg/>"
    assert (await bob.do("relay_reply", "k3", id=told.message.id, text="back", attach=[path])).success
    reply = (await bob.operator.message(told.message.id)).replies[0]
    assert (await bob.operator.message(reply)).message.attachments[0].sha256 == attachment.sha256


async def test_no_tool_call_brings_out_what_the_model_could_not_read(bob: Agent) -> None:
    (bob.root / "secret").write_text("x")
    (bob.root / "work" / "link").symlink_to(bob.root / "secret")
    for number, name in enumerate(("../secret", str(bob.root / "secret"), "link", "/etc/passwd", "none", ".")):
        told = await bob.do("relay_send", f"k{number}", to="eve", text="x", attach=[name])
        assert not told.success and told.text, name
    assert await bob.sent() == []


def test_what_codex_is_told_of_its_tools_names_every_one_and_no_other() -> None:
    skill = Path(__file__).parents[3] / "plugins" / "codex" / "skills" / "guide" / "SKILL.md"
    for text in (skill.read_text(encoding="utf-8"), introduction("bob").replace("relay_message", "")):
        assert set(re.findall(r"relay_[a-z]+", text)) == {tool.name for tool in OFFERED}
