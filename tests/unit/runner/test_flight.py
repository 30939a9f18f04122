import pytest

from relay_runner.errors import ProviderError
from relay_runner.protocol.messages import Outcome
from relay_runner.providers.base import NOT_FOUND, Evidence
from relay_runner.runner.flight import find, interrupted
from tests.scripted import ScriptedProcess

pytestmark = pytest.mark.anyio


async def test_records_that_cannot_be_read_are_no_answer() -> None:
    process = ScriptedProcess()
    assert await find(process, "n") == NOT_FOUND

    async def broken(nonce: str) -> Evidence:
        raise ProviderError("cannot read the transcript")

    process.find = broken  # type: ignore[method-assign]
    assert await find(process, "n") is None


def test_a_turn_that_was_cut_off_was_seen_and_ended() -> None:
    cut = interrupted("the program died")
    assert (cut.seen, cut.outcome, cut.reason) == (True, Outcome.INTERRUPTED, "the program died")
