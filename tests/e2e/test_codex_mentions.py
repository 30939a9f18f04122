"""What another agent writes brings nothing into the conversation by being named in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.codex import codex_environ, codex_home, model  # noqa: F401 - a fixture
from tests.fake_models.responses import FakeResponses
from tests.harness import Home, home

pytestmark = [pytest.mark.codex, pytest.mark.slow]
WORDS = "The words of the skill."
SKILL = f"---\nname: deploy\ndescription: Deploys.\n---\n\n{WORDS}\n"


@pytest.fixture
def place(tmp_path: Path, model: FakeResponses) -> Iterator[Home]:
    user = codex_home(tmp_path / "user", model)
    skill = user / ".codex" / "skills" / "deploy"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text(SKILL)
    with home(tmp_path, codex_environ(user)) as made:
        yield made


def test_a_peers_mention_of_a_skill_does_not_bring_it_in(place: Home, model: FakeResponses) -> None:
    place.start("cx", "codex")
    place.start("bob", "demo")
    skill = place.root / "user" / ".codex" / "skills" / "deploy" / "SKILL.md"
    mentions, long = ("$deploy", f"[$other]({skill})"), "x" * 5000  # what is shorter goes in beside the prompt
    id = place.inside("bob").send("cx", f"SAY:done\nuse {' or '.join(mentions)} for $HOME\n{long}")
    assert place.settled(id)["result"] == "done"
    assert "for $HOME" in str(model.requests[-1].items)
    assert "use \uff04deploy or [\uff04other]" in str(model.requests[-1].items)
    assert str(model.requests[-1].items).count(WORDS) == 0
    for count, mention in enumerate(mentions, 1):
        place.settled(place.send("cx", f"SAY:again\nuse {mention}"))
        assert str(model.requests[-1].items).count(WORDS) == count, "an operator speaks as the user"
