"""httpx without its command line: `from relay_runner.relay.lean import httpx`.

Importing httpx imports its command line where that is installed, and with it click and rich: 5 MiB in every runner
(httpx 0.28, measured). It goes on without them, so it is told that they are not there before it looks.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import cast

sys.modules.setdefault("httpx._main", cast(ModuleType, None))

import httpx  # noqa: E402

__all__ = ["httpx"]
