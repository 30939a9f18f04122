import stat
from pathlib import Path

import pytest

from relay_runner.errors import RelayRunnerError
from relay_runner.protocol.control import ControlEndpoint
from relay_runner.runner import record
from relay_runner.runner.record import ProcessRecord
from relay_runner.terminal.base import ProcessIdentity, SavedTerminal

RECORD = ProcessRecord(
    provider="demo",
    terminal=SavedTerminal("tmux", ProcessIdentity(7, 70), "/run", "/sock", "bob", "%0", ProcessIdentity(6, 60)),
    control=ControlEndpoint(url="http://127.0.0.1:21000", port=21000, secret="s", provider_session_id="p"),
    argv=("demo", "--resume", "s1"),
    cwd="/project",
    session_id="s1",
    resumed=True,
    started_at=1.5,
)


def test_what_is_saved_is_loaded_and_private(tmp_path: Path) -> None:
    file = tmp_path / "process.json"
    assert record.load(file) is None
    record.save(file, RECORD)
    assert record.load(file) == RECORD
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_plan_comes_back_without_an_environment() -> None:
    plan = RECORD.plan()
    assert (plan.argv, plan.session_id, plan.resumed, dict(plan.env)) == (RECORD.argv, "s1", True, {})


def test_a_new_session_is_noted() -> None:
    assert record.with_session(RECORD, "s2").session_id == "s2"


def test_a_record_that_cannot_be_read_is_never_taken_for_no_process(tmp_path: Path) -> None:
    file = tmp_path / "process.json"
    file.write_text("{")
    with pytest.raises(RelayRunnerError, match="end the provider by hand"):
        record.load(file)
