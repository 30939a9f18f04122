"""What is saved of a live provider process, so that a runner after this one can adopt it: `process.json`, 0600."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from relay_runner.config import write_private
from relay_runner.errors import ProtocolError, RelayRunnerError
from relay_runner.protocol.control import ControlEndpoint
from relay_runner.protocol.wire import decode, encode
from relay_runner.providers.base import LaunchPlan
from relay_runner.terminal.base import SavedTerminal


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """A provider process and how it was started; never its environment."""

    provider: str
    terminal: SavedTerminal
    control: ControlEndpoint
    argv: tuple[str, ...]
    cwd: str
    session_id: str | None
    resumed: bool
    started_at: float

    def plan(self) -> LaunchPlan:
        """Return the plan it was started by, without the environment."""
        return LaunchPlan(argv=self.argv, env={}, cwd=Path(self.cwd), session_id=self.session_id, resumed=self.resumed)


def save(file: Path, record: ProcessRecord) -> None:
    """Write the record, durably."""
    write_private(file, encode(record))


def load(file: Path) -> ProcessRecord | None:
    """Return the record, or None where there is none that can be read (then nothing can be adopted)."""
    try:
        return decode(file.read_bytes(), ProcessRecord)
    except FileNotFoundError:
        return None
    except (OSError, ProtocolError) as error:
        raise RelayRunnerError(
            f"cannot read {file}: {error}", hint="end the provider by hand if it still runs, then remove the file"
        ) from error


def with_session(record: ProcessRecord, session_id: str) -> ProcessRecord:
    """Return the record with the session that the process has now."""
    return replace(record, session_id=session_id)
