"""uvicorn without its command line: `from relay_runner.lean import uvicorn`.

Importing uvicorn imports its command line and its supervisors, and with them click and multiprocessing: 2 MiB in every
runner (uvicorn 0.54, measured). Serving needs neither, so something small stands in for them while it is imported.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

_COMMAND_LINE = "uvicorn.main"


class _StandIn(ModuleType):
    """What uvicorn takes from its command line: of that only the server is real."""

    main = run = None

    @property
    def Server(self) -> Any:
        from uvicorn.server import Server

        return Server


_imported = sys.modules.setdefault(_COMMAND_LINE, _StandIn(_COMMAND_LINE))

import uvicorn  # noqa: E402
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol  # noqa: E402

if isinstance(_imported, _StandIn):
    del sys.modules[_COMMAND_LINE]  # whoever wants the real one gets it

__all__ = ["STATUS_LINE", "HttpToolsProtocol", "uvicorn"]
