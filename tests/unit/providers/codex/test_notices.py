from __future__ import annotations

import pytest

from relay_runner.providers.base import Warned
from relay_runner.providers.codex.notices import Notices


@pytest.mark.parametrize(
    ("method", "params", "told"),
    [
        ("warning", {"threadId": "t", "message": "no\x1b[1m metadata"}, Warned("warning", "no[1m metadata")),
        ("configWarning", {"summary": "ignored", "details": "line 3"}, Warned("config-warning", "ignored: line 3")),
        (
            "configWarning",
            {"summary": "odd", "details": None, "path": "/c"},
            Warned("config-warning", "odd: /c"),
        ),
        ("deprecationNotice", {"summary": "going"}, Warned("deprecation", "going")),
        ("deprecationNotice", {"summary": ""}, None),
        ("error", {"message": "no"}, None),
        ("warning", {"message": {"odd": 1}}, None),
    ],
)
def test_a_warning_is_told_in_one_line(method: str, params: dict[str, object], told: Warned | None) -> None:
    assert Notices().take(method, params) == told


def test_each_is_told_once() -> None:
    notices = Notices()
    assert notices.take("warning", {"message": "a"}) == Warned("warning", "a")
    assert notices.take("warning", {"message": "b"}) == Warned("warning", "b")
    assert notices.take("warning", {"message": "a"}) is None
