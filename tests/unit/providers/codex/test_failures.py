from __future__ import annotations

from typing import Any

import pytest

from relay_runner.providers.base import Limit
from relay_runner.providers.codex import failures


@pytest.mark.parametrize(
    ("info", "kind"),
    [
        ("usageLimitExceeded", "rate-limited"),
        ("rateLimitExceeded", "rate-limited"),
        ({"responseTooManyFailedAttempts": {"httpStatusCode": 429}}, "rate-limited"),
        ({"httpConnectionFailed": {"httpStatusCode": 401}}, "auth-failed"),
        ("serverOverloaded", "overloaded"),
        ("unauthorized", "auth-failed"),
        ("contextWindowExceeded", "context-window"),
        ("internalServerError", "failed"),
        ({"responseStreamDisconnected": {"httpStatusCode": None}}, "failed"),
        ("other", "failed"),
        (None, "failed"),
    ],
)
def test_every_error_has_a_kind(info: Any, kind: str) -> None:
    assert failures.kind({"message": "m", "codexErrorInfo": info}) == kind


def test_a_variable_that_is_not_set_is_a_missing_secret() -> None:
    error = {"message": "Missing environment variable: `NOPE_KEY`.", "codexErrorInfo": "other"}
    assert failures.kind(error) == "secret-unavailable"


def test_the_reason_is_one_line() -> None:
    error = {"message": "first\nsecond", "codexErrorInfo": "other", "additionalDetails": "more"}
    assert failures.reason(error) == "failed: first second: more"
    assert failures.reason(None) == "failed: Codex did not say why"


def test_only_limits_are_limits() -> None:
    limited = {"message": "try again in 90 s", "codexErrorInfo": "rateLimitExceeded"}
    assert failures.limit(limited, 1000.0) == Limit("try again in 90 s", 1090.0)
    assert failures.limit(limited, 1000.0, resets_at=7.0) == Limit("try again in 90 s", 7.0)
    untold = {"message": "429", "codexErrorInfo": {"responseTooManyFailedAttempts": {"httpStatusCode": 429}}}
    assert failures.limit(untold, 1000.0) == Limit("429", None)
    for info in ("contextWindowExceeded", "internalServerError", "other", None):
        assert failures.limit({"message": "try again in 90 s", "codexErrorInfo": info}, 1000.0) is None
    assert failures.limit(None, 1000.0) is None
    assert failures.limit({"message": "full", "codexErrorInfo": "serverOverloaded"}, 1000.0) == Limit("full", None)


def test_of_two_errors_the_telling_one_counts() -> None:
    limited = {"message": "a", "codexErrorInfo": "rateLimitExceeded"}
    window = {"message": "b", "codexErrorInfo": "contextWindowExceeded"}
    generic = {"message": "c", "codexErrorInfo": "other"}
    assert failures.telling(limited, generic) is limited
    assert failures.telling(limited, window) is window
    assert failures.telling(generic, limited) is limited
    assert failures.telling(None, generic) is generic
    assert failures.telling(limited, None) is limited
    assert failures.telling(None, None) is None
