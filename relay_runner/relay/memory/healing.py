"""Another token for a relay in memory whose own is no longer taken, as the one over HTTP gets it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar

from relay_runner.errors import RelayUnauthorized

Heal = Callable[[], Awaitable[None]]
C = TypeVar("C")


def healing(*but: str) -> Callable[[type[C]], type[C]]:
    """Let every call of a relay's class be made once more with the token that its `_heal` got; `but` names the others.

    The class has the token in use as `_token`.
    """

    def decorate(relay: type[C]) -> type[C]:
        for name in dir(relay):  # what it inherits, too
            method = getattr(relay, name)
            if inspect.iscoroutinefunction(method) and name not in but and not name.startswith("_"):
                setattr(relay, name, _healed(method))
        return relay

    return decorate


def _healed(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @wraps(method)
    async def call(self: Any, *args: Any, **named: Any) -> Any:
        token = self._token
        try:
            return await method(self, *args, **named)
        except RelayUnauthorized as error:
            if error.status == 401 and self._token == token and self._heal is not None:
                await self._heal()
            if error.status != 401 or self._token == token:
                raise
        return await method(self, *args, **named)

    return call
