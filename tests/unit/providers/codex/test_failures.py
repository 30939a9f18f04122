from __future__ import annotations

from typing import Any

import pytest

from relay_runner.providers.codex import failures


@pytest.mark.parametrize(
    ("info", "kind"),
    [
        ("usageLimitExceeded", "rate-limited"),
        ("rateLimitExceeded", "rate-limited"),
        ({"responseTooManyFailedAttempts": {"httpStatusCode": 429}}, "rate-limited"),
        ({"httpConnectionFailed": {"httpStatusCode": 401}}, "auth-failed"),
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


def test_what_lacks_a_secret_is_blocked() -> None:
    assert failures.blocked({"message": "Missing environment variable: `KEY`."})
    assert not failures.blocked({"message": "other"}) and not failures.blocked(None)
