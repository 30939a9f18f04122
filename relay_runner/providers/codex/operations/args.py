"""The arguments of one operation, read with their types; what is wrong with them is refused before anything is done."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from relay_runner.errors import ProviderRefused


class Args:
    """What was asked for; None and a missing key are the same."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = {name: value for name, value in values.items() if value is not None}

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def raw(self, name: str) -> Any:
        """Return a value of any type."""
        return self._values.get(name)

    def text(self, name: str) -> str | None:
        """Return a text that is not empty; a whole number is one too."""
        value = self._values.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if value is None:
            return None
        if not isinstance(value, str) or not value.strip():
            raise ProviderRefused(f"{name} must be a text")
        return value

    def need(self, name: str) -> str:
        """Return a text that must be there."""
        if (value := self.text(name)) is None:
            raise ProviderRefused(f"{name} is missing")
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        """Return true or false."""
        value = self._values.get(name, default)
        if not isinstance(value, bool):
            raise ProviderRefused(f"{name} must be true or false")
        return value

    def number(self, name: str, default: int | None = None, *, least: int = 1) -> int | None:
        """Return a whole number."""
        value = self._values.get(name, default)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ProviderRefused(f"{name} must be a whole number from {least} on")
        return value

    def texts(self, name: str) -> list[str]:
        """Return a text or a list of texts as a list."""
        value = self._values.get(name, [])
        found = [str(one) if type(one) is int else one for one in (value if isinstance(value, list) else [value])]
        if not all(isinstance(one, str) and one.strip() for one in found):
            raise ProviderRefused(f"{name} must be a text, or a list of texts")
        return found

    def one_of(self, name: str, words: Collection[str]) -> str | None:
        """Return one of these words."""
        value = self.text(name)
        if value is not None and value not in words:
            raise ProviderRefused(f"{name} must be one of {', '.join(words)}")
        return value
