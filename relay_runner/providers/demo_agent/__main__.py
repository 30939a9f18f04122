"""The command line of the demo agent."""

from __future__ import annotations

import argparse
import os
import sys
import uuid
from pathlib import Path

from relay_runner.providers.demo_agent.agent import Agent
from relay_runner.providers.demo_agent.screen import Screen, raw_terminal
from relay_runner.providers.demo_agent.transcript import Transcript


def main(arguments: list[str] | None = None) -> int:
    """Run the agent on this terminal and return its exit code."""
    parser = argparse.ArgumentParser(prog="demo agent", description="A small agent that needs no account.")
    parser.add_argument("--transcript", type=Path, help="the JSON Lines file to write; default: none")
    parser.add_argument("--session", default=str(uuid.uuid4()), help="the id of a new session")
    parser.add_argument("--resume", metavar="SESSION", help="go on with that session's transcript")
    parser.add_argument("--allow", action="store_true", help="answer permission questions with yes")
    given = parser.parse_args(arguments)
    if not sys.stdin.isatty():
        parser.error("this program wants a terminal")
    transcript = Transcript(given.transcript or Path(os.devnull), given.resume or given.session)
    with raw_terminal(sys.stdin.fileno()):
        agent = Agent(transcript, Screen(os.environ.get("AGENT_RELAY_ID", "demo")), allow=given.allow)
        return agent.run(sys.stdin.fileno(), resumed=given.resume is not None)


if __name__ == "__main__":
    sys.exit(main())
