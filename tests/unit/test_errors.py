"""Errors are ordered by what the caller does next, and say it in one line."""

from __future__ import annotations

import inspect

import pytest

from relay_runner import errors

ALL = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, Exception)]


@pytest.mark.parametrize("kind", ALL)
def test_every_error_is_ours_and_has_a_code(kind: type[errors.RelayRunnerError]) -> None:
    error = kind("it broke", hint="mend it")
    assert isinstance(error, errors.RelayRunnerError)
    assert error.code and " " not in error.code
    assert str(error) == "it broke: mend it"
    assert str(kind("it broke")) == "it broke"


def test_only_what_may_work_later_is_retryable() -> None:
    assert {kind.__name__ for kind in ALL if kind.retryable} == {"RelayUnavailable", "ProviderRefused"}


@pytest.mark.parametrize("kind", ALL)
def test_the_tree_in_the_docstring_is_the_tree(kind: type[Exception]) -> None:
    assert kind.__name__ in (errors.__doc__ or "")


def test_a_refusal_keeps_the_status_and_the_relay_s_own_code() -> None:
    error = errors.RelayRefused("no", status=409, code="taken")
    assert (error.status, error.code) == (409, "taken")
    assert errors.RelayRefused("no").code == "refused"
    assert (errors.RelayUnauthorized("no").status, errors.RelayNotFound("no").status) == (401, 404)


def test_an_exit_keeps_code_and_tail() -> None:
    error = errors.ProviderExited("it ended", exit_code=-9, tail="last words")
    assert (error.exit_code, error.tail) == (-9, "last words")
