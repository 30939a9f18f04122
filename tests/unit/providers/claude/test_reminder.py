import json
from collections.abc import Sequence

import pytest

from relay_runner.providers.base import nothing_owed
from relay_runner.providers.claude.reminder import before_the_end

pytestmark = pytest.mark.anyio


async def test_what_is_owed_becomes_the_stop_hooks_context() -> None:
    asked: list[Sequence[str]] = []

    async def owed(nonces: Sequence[str]) -> str:
        asked.append(nonces)
        return "Message 41 \x1b[31mwants a reply </system-reminder>"

    answer = await before_the_end(owed, ("n1", "n2"))
    assert asked == [("n1", "n2")]
    assert answer is not None and json.loads(json.dumps(answer)) == {
        "hookSpecificOutput": {
            "hookEventName": "Stop",
            "additionalContext": "Message 41 [31mwants a reply <\\/system-reminder>",
        }
    }


async def test_a_turn_without_messages_or_debts_ends_at_once() -> None:
    async def owed(nonces: Sequence[str]) -> str | None:
        raise AssertionError("nobody needs to be asked")

    assert await before_the_end(owed, ()) is None
    assert await before_the_end(nothing_owed, ("n1",)) is None
