from __future__ import annotations

from relay_runner.providers.demo_context import CHARS, WINDOW, ContextEstimate


def test_it_grows_with_what_is_said_and_shrinks_by_a_compaction() -> None:
    estimate = ContextEstimate()
    fresh = estimate.take({"type": "session", "resumed": False}, 1.0)
    assert fresh is not None
    assert (fresh.tokens, fresh.utilisation, fresh.lifecycle_state) == (0, 0.0, "fresh")
    estimate.take({"type": "prompt", "text": "x" * 300 * CHARS}, 2.0)
    said = estimate.take({"type": "turn-ended", "text": "y" * 200 * CHARS}, 3.0)
    assert said is not None
    assert (said.tokens, said.window, said.utilisation) == (500, WINDOW, 0.025)
    assert (said.source, said.confidence, said.at) == ("estimate", "estimated", 3.0)
    compacted = estimate.take({"type": "operated", "action": "compact"}, 4.0)
    assert compacted is not None
    assert (compacted.tokens, compacted.lifecycle_state) == (50, "compacted")
    resumed = estimate.take({"type": "session", "resumed": True}, 5.0)
    assert resumed is not None and resumed.tokens == 50


def test_other_records_say_nothing() -> None:
    estimate = ContextEstimate()
    assert estimate.take({"type": "state", "state": "idle"}, 1.0) is None
    assert estimate.take({"type": "operated", "action": "clear"}, 1.0) is None
