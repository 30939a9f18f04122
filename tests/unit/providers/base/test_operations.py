from __future__ import annotations

import pytest

from relay_runner.errors import ProviderRefused
from relay_runner.providers.base import CLEAR, INJECT


def test_an_argument_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    INJECT.check("inject", {"content": "x", "reason": None, "colour": None})
    with pytest.raises(ProviderRefused, match="inject has no argument 'colour': it takes content, reason, memoryIds"):
        INJECT.check("inject", {"colour": "red"})
    with pytest.raises(ProviderRefused, match="clear has no argument 'x': it takes no arguments"):
        CLEAR.check("clear", {"x": False})
