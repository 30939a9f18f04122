"""What a model is told of a restart."""

from __future__ import annotations

from relay_runner.providers.restart import NOTICE


def test_the_notice_asks_nothing() -> None:
    assert NOTICE.startswith("<restart-notice>\n") and NOTICE.endswith("\n</restart-notice>")
    assert "Nothing is asked of you" in NOTICE
