"""The info file: who runs here, where its terminal is, and how a person looks at it."""

from __future__ import annotations

import logging
from pathlib import Path

from relay_runner.config import write_private
from relay_runner.errors import ConfigError
from relay_runner.protocol.control import RunnerInfo
from relay_runner.protocol.wire import encode
from relay_runner.providers.base import Process, Provider
from relay_runner.runner.control import ControlServer
from relay_runner.runner.disk import no_room
from relay_runner.runner.identity import Identity
from relay_runner.runner.launcher import Launched

log = logging.getLogger(__name__)


class InfoFile:
    """Written before the program starts, when it started, and when its session changes: 0600, atomic."""

    def __init__(
        self, file: Path, copy: Path | None, *, identity: Identity, control: ControlServer, provider: Provider
    ) -> None:
        self._file = file
        self._copy = copy
        self._identity = identity
        self._control = control
        self._provider = provider
        self.launched: Launched | None = None
        self.session_id: str | None = None

    def write(self, process: Process | None) -> RunnerInfo:
        """Write what is true now, and return it."""
        terminal = self.launched.terminal if self.launched else None
        info = self._identity.info(self._control.endpoint, terminal, self.session_id, self._attach(process))
        for file in (self._file, self._copy):
            if file is not None:
                try:
                    write_private(file, encode(info))
                except OSError as error:
                    if no_room(error):  # it is written again when there is room
                        log.warning("%s cannot be written: %s", file, error.strerror)
                        continue
                    raise ConfigError(f"cannot write {file} ({error.strerror})", hint="name another file") from error
        return info

    def remove(self) -> None:
        """Take the file away: nobody runs here any more. The copy stays, for whoever asked for it."""
        self._file.unlink(missing_ok=True)

    def _attach(self, process: Process | None) -> tuple[str, ...]:
        """Return the command line that shows the agent to a person; empty while there is nothing to see."""
        if self.launched is None:
            return ()
        terminal = self.launched.terminal
        if not self._provider.capabilities.viewer:
            return terminal.attach_command()
        return terminal.attach_command(process.viewer) if process is not None and process.viewer else ()
