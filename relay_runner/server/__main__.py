"""Run the relay without the command line around it: `python -m relay_runner.server --home DIR`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

from relay_runner import pipes

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
LOG_BYTES = 5_000_000
LOG_BACKUPS = 2


def main(argv: list[str] | None = None) -> int:
    """Serve until a signal; return the exit code."""
    options = _options(argv)
    if options.detach and os.fork() > 0:
        os._exit(0)  # the child is nobody's child: no client that starts a relay keeps a zombie of it
    from relay_runner import config
    from relay_runner.errors import RelayRunnerError
    from relay_runner.protocol.calls import RelayFile
    from relay_runner.server.serve import serve

    def ready(file: RelayFile) -> None:
        if options.ready_fd is not None:
            pipes.write(options.ready_fd, b"ready\n")  # whoever started us may be gone: others are served all the same
            os.close(options.ready_fd)

    try:
        paths = config.Paths(state=options.home, config=config.paths().config)
        settings = config.load(paths, None)
        logging.basicConfig(
            level=logging.INFO, format=LOG_FORMAT, handlers=[log_handler(options.detach, paths.relay_log)]
        )
        serve(
            paths,
            options.host,
            options.port,
            started_by=options.started_by,
            max_attachment_bytes=settings.max_attachment_bytes,
            lease_s=settings.lease_s,
            ready=ready,
        )
    except RelayRunnerError as error:
        try:
            sys.stderr.write(f"relay-runner: {error}\n")
        except OSError:
            pipes.hang_up()
        return 1
    return 0


def log_handler(detached: bool, file: Path) -> logging.Handler:
    """Return where the log goes: to stderr, or in the background to `file`, which is rotated while the relay runs.

    There stderr is the same file, for what only the interpreter itself says. Whoever starts a relay in the background
    sets the umask that keeps the file private.
    """
    if not detached:
        return pipes.Heard()
    return RotatingFileHandler(file, maxBytes=LOG_BYTES, backupCount=LOG_BACKUPS, encoding="utf-8", delay=True)


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m relay_runner.server", description="Run the embedded relay.")
    parser.add_argument("--home", type=Path, required=True, help="the folder of relay.json and relay.db")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int)
    parser.add_argument("--started-by", default="person", choices=("person", "client"))
    parser.add_argument("--detach", action="store_true", help="go to the background")
    parser.add_argument("--ready-fd", type=int, help="a pipe that hears `ready` when the relay answers")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
