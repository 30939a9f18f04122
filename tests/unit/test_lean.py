"""uvicorn without its command line: the server is whole, and nothing heavy comes with it."""

from __future__ import annotations

import json
import subprocess
import sys

SCRIPT = """
import json, sys
from relay_runner.lean import uvicorn
heavy = sorted({"click", "multiprocessing", "uvicorn.main"} & set(sys.modules))
import uvicorn.main
print(json.dumps([heavy, uvicorn.Server.__module__, uvicorn.main.main is not None]))
"""


def test_the_server_comes_without_its_command_line_which_stays_to_be_had() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[], "uvicorn.server", True]
