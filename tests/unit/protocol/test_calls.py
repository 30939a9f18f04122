"""Errors keep their kind on the way through HTTP."""

from __future__ import annotations

import pytest

from relay_runner.errors import (
    ClaimLost,
    ProtocolError,
    RelayNotFound,
    RelayRefused,
    RelayRunnerError,
    RelayUnauthorized,
    StoreError,
)
from relay_runner.protocol.calls import error_of, problem_of, status_of


@pytest.mark.parametrize(
    "error",
    [
        RelayRefused("no", hint="try", status=422, code="empty-body"),
        RelayNotFound("none"),
        RelayUnauthorized("who?"),
        RelayUnauthorized("not you", status=403, code="forbidden"),
        ClaimLost("gone"),
    ],
)
def test_an_error_comes_back_as_it_was(error: RelayRunnerError) -> None:
    back = error_of(status_of(error), problem_of(error).error)
    assert type(back) is type(error)
    assert (back.message, back.hint, back.code) == (error.message, error.hint, error.code)
    assert getattr(back, "status", None) == getattr(error, "status", None)


def test_what_is_not_a_refusal_has_a_status_of_its_own() -> None:
    assert status_of(StoreError("disk")) == 503
    assert status_of(ProtocolError("bytes")) == 422
