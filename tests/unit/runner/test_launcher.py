from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relay_runner.config import Paths
from relay_runner.errors import ProviderNotFound, ProviderUnsupported
from relay_runner.providers.base import Capabilities, LaunchPlan, LaunchSpec
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner import record
from relay_runner.runner.control import ControlServer
from relay_runner.runner.journal import Journal
from relay_runner.runner.launcher import Launcher
from relay_runner.runner.options import RunnerOptions
from tests.scripted import ScriptedProvider, ScriptedTerminals

pytestmark = pytest.mark.anyio


class Yard:
    """A launcher and what it works with."""

    def __init__(self, root: Path, journal: Journal) -> None:
        self.paths = Paths(root, root).agent("bob")
        self.journal = journal
        self.terminals = ScriptedTerminals()
        self.provider = ScriptedProvider(Capabilities(resume=True, hooks=True))
        self.control = ControlServer(MemoryRelay(), self.paths.control, status=lambda: b"{}")
        self.control.bind(None)

    def launcher(self, **options: Any) -> Launcher:
        return Launcher(
            RunnerOptions(agent_id="bob", provider="scripted", cwd=self.paths.root, **options),
            provider=self.provider,
            terminals=self.terminals,
            paths=self.paths,
            control=self.control,
            journal=self.journal,
            runner_id="r",
            environ={"PATH": "/usr/bin", "AGENT_RELAY_ID": "outer", "ANTHROPIC_API_KEY": "a", "OPENAI_API_KEY": "o"},
        )


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    root = tmp_path / "agents" / "bob"
    (root / "run").mkdir(parents=True)
    with Journal(root / "journal.db") as journal:
        yard = Yard(tmp_path, journal)
        yield yard
        if yard.control._socket is not None:
            yard.control._socket.close()


async def test_there_is_nothing_to_adopt_at_first(yard: Yard) -> None:
    assert await yard.launcher().adopt() is None


async def test_what_is_launched_is_saved_and_adopted_by_the_next_one(yard: Yard) -> None:
    first = await yard.launcher().launch()
    saved = record.load(yard.paths.process)
    assert saved is not None and saved.control == yard.control.endpoint
    adopted = await yard.launcher().adopt()
    assert adopted is not None and adopted.adopted and not adopted.deaf
    assert (adopted.terminal, adopted.plan.session_id) == (first.terminal, "session-1")


async def test_the_terminal_has_the_size_that_was_asked_for(yard: Yard) -> None:
    await yard.launcher().launch()
    await yard.launcher(screen=(90, 30)).launch()
    sizes = [(one.spec.width, one.spec.height) for one in yard.terminals.opened]
    assert sizes == [(200, 50), (90, 30)]


async def test_a_dead_process_is_not_adopted_and_its_record_goes(yard: Yard) -> None:
    await yard.launcher().launch()
    yard.terminals.opened[0].ends(-9)
    assert await yard.launcher().adopt() is None
    assert record.load(yard.paths.process) is None


async def test_a_process_whose_port_is_gone_is_deaf(yard: Yard) -> None:
    await yard.launcher().launch()
    yard.control.new_process()  # as a server that had to take another port
    adopted = await yard.launcher().adopt()
    assert adopted is not None and adopted.deaf


async def test_the_last_session_is_resumed_even_when_it_changed_meanwhile(yard: Yard) -> None:
    launcher = yard.launcher()
    await launcher.launch()
    launcher.session_is("after-a-clear")
    saved = record.load(yard.paths.process)
    assert saved is not None and saved.session_id == "after-a-clear"
    await launcher.launch()
    assert yard.provider.specs[-1].resume_session == "after-a-clear"
    await launcher.launch(resume=False)
    assert yard.provider.specs[-1].resume_session is None


async def test_a_provider_that_is_not_there_leaves_nothing_behind(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(spec: object) -> None:
        raise ProviderNotFound("scripted is not installed", hint="install it")

    monkeypatch.setattr(yard.provider, "check", check)
    with pytest.raises(ProviderNotFound):
        await yard.launcher().launch()
    assert yard.terminals.opened == [] and record.load(yard.paths.process) is None


async def test_what_is_forgotten_cannot_be_adopted(yard: Yard) -> None:
    launcher = yard.launcher()
    launched = await launcher.launch()
    launcher.forget(launched)
    assert record.load(yard.paths.process) is None
    assert not Path(launched.terminal.saved.run_dir).exists()


class Forgetful(ScriptedProvider):
    """A provider that knows none of its sessions any more, and begins them anew."""

    def plan(self, spec: LaunchSpec) -> LaunchPlan:
        return replace(super().plan(spec), resumed=False)


async def test_a_session_that_begins_anew_is_lost_only_where_something_was_said_in_it(yard: Yard) -> None:
    yard.provider = Forgetful(Capabilities(resume=True))
    launcher = yard.launcher()
    assert (await launcher.launch()).lost is None
    launcher.session_is("session-1")
    assert (await launcher.launch()).lost is None, "nothing was said in it"
    launcher.spoken_in("session-1")
    assert (await launcher.launch()).lost == "session-1"
    assert (await yard.launcher(fresh=True).launch()).lost is None
    assert (await yard.launcher(resume="chosen").launch()).lost == "chosen", "somebody asked for it"


async def test_an_isolated_home_is_refused_where_the_provider_has_none(yard: Yard) -> None:
    with pytest.raises(ProviderUnsupported, match="scripted has no isolated home"):
        await yard.launcher(isolated_home=True).launch()
    assert yard.terminals.opened == []
    yard.provider = ScriptedProvider(Capabilities(isolated_home=True))
    await yard.launcher(isolated_home=True, secrets=Path("/secrets")).launch()
    assert (yard.provider.specs[0].isolated_home, yard.provider.specs[0].secrets) == (True, Path("/secrets"))


async def test_headless_it_gets_the_keys_of_its_own_provider_and_those_that_were_given_on_purpose(yard: Yard) -> None:
    for options, keys in (
        ({"headless": True}, {"ANTHROPIC_API_KEY"}),
        ({"headless": True, "env": {"OPENAI_API_KEY": "p"}}, {"ANTHROPIC_API_KEY", "OPENAI_API_KEY"}),
        ({}, {"ANTHROPIC_API_KEY", "OPENAI_API_KEY"}),  # in a terminal it is the person's own shell
    ):
        launched = await yard.launcher(**options).launch()
        assert {name for name in launched.spec.environ if name.endswith("_API_KEY")} == keys
