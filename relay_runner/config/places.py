"""Where files are, and how private ones are written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from relay_runner.config import sockets
from relay_runner.errors import ConfigError

APP = "relay-runner"
HOME_VARIABLE = "RELAY_RUNNER_HOME"


@dataclass(frozen=True, slots=True)
class AgentPaths:
    """The files of one agent; the folder is 0700 and every file in it 0600."""

    root: Path

    @property
    def info(self) -> Path:
        """The running runner: `RunnerInfo`."""
        return self.root / "info.json"

    @property
    def control(self) -> Path:
        """The control server of the live provider process: `ControlEndpoint`."""
        return self.root / "control.json"

    @property
    def process(self) -> Path:
        """The live provider process, for a runner that adopts it."""
        return self.root / "process.json"

    @property
    def launch(self) -> Path:
        """The options of the last start, for `restart` and for a start without options."""
        return self.root / "launch.json"

    @property
    def journal(self) -> Path:
        """The runner's journal."""
        return self.root / "journal.db"

    @property
    def lock(self) -> Path:
        """Held by the live runner; the kernel lets it go when the runner dies."""
        return self.root / "runner.lock"

    @property
    def token(self) -> Path:
        """What the agent's configured token was renewed to, 0600."""
        return self.root / "token.json"

    @property
    def log(self) -> Path:
        """What the runner says when it has no terminal to say it to."""
        return self.root / "runner.log"

    @property
    def inside(self) -> Path:
        """All that a sandboxed program sees of this: nothing of it is secret.

        It may write there, so that nothing of ours is read or written in it, but in the folders that it only reads.
        """
        return self.root / "inside"

    @property
    def bin(self) -> Path:
        """First on the provider's PATH: a `relay-runner` that works."""
        return self.inside / "bin"

    @property
    def attachments(self) -> Path:
        """The files that came with its messages, a folder for each: the program may read them."""
        return self.inside / "attachments"

    @property
    def injected(self) -> Path:
        """What was put into its context and was too long for it: the program may read it."""
        return self.inside / "injected"

    @property
    def folder(self) -> Path:
        """Names the folder that it works in, for the commands that its program runs."""
        return self.bin / ".folder"

    @property
    def run(self) -> Path:
        """One folder for every provider process: its environment file, pid and exit code."""
        return self.root / "run"


@dataclass(frozen=True, slots=True)
class Paths:
    """The folders of one installation (one embedded relay, many agents)."""

    state: Path
    config: Path

    @property
    def relay_json(self) -> Path:
        """Url and tokens of the embedded relay, 0600."""
        return self.state / "relay.json"

    @property
    def relay_db(self) -> Path:
        """The embedded relay's store."""
        return self.state / "relay.db"

    @property
    def relay_log(self) -> Path:
        """The embedded relay's log."""
        return self.state / "relay.log"

    @property
    def relay_lock(self) -> Path:
        """Held while somebody starts the embedded relay."""
        return self.state / "relay.lock"

    @property
    def agents(self) -> Path:
        """One folder for every agent that ran here."""
        return self.state / "agents"

    @property
    def config_file(self) -> Path:
        """The user's settings."""
        return self.config / "config.toml"

    def agent(self, agent_id: str) -> AgentPaths:
        """Return the files of one agent."""
        return AgentPaths(self.agents / agent_id)

    def relay_socket(self) -> Path:
        """Return where the embedded relay listens for this user's programs."""
        return self.sockets() / "relay.ctl"

    def control_socket(self, agent_id: str) -> Path:
        """Return where the runner of an agent listens for what runs inside the agent."""
        return self.sockets() / f"{hashlib.sha256(agent_id.encode()).hexdigest()[:16]}.ctl"

    def sockets(self) -> Path:
        """Return the folder of unix sockets by a path that is short enough for them, made again wherever it is gone."""
        private_dir(self.state)
        return sockets.short(private_dir(self.state / "sockets"), self.state / "sockets.path")


def paths(environ: Mapping[str, str] | None = None) -> Paths:
    """Return the folders that the environment asks for; nothing is made."""
    environ = os.environ if environ is None else environ
    home = environ.get(HOME_VARIABLE)
    if home:
        root = Path(home).expanduser().absolute()
        if os.pathsep in str(root):
            # A folder of it stands first on a program's PATH; what follows a colon there is another folder.
            raise ConfigError(f"{HOME_VARIABLE} cannot contain a colon: {root}", hint="choose another folder")
        return Paths(state=root, config=root)
    import platformdirs

    return Paths(state=platformdirs.user_state_path(APP), config=platformdirs.user_config_path(APP))


def private_dir(path: Path) -> Path:
    """Make `path` a folder that only this user can enter; raise `ConfigError` where it belongs to somebody else."""
    try:
        _make(path)
        status = path.stat(follow_symlinks=False)
        if status.st_uid != os.getuid() or path.is_symlink():
            raise ConfigError(f"{path} belongs to somebody else", hint=f"remove it or set {HOME_VARIABLE}")
        if status.st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise ConfigError(f"cannot use the folder {path} ({error.strerror})", hint=f"set {HOME_VARIABLE}") from error
    return path


def _make(path: Path) -> None:
    """Make a folder and those above it that are missing, all 0700: `mkdir` leaves its parents to the umask."""
    if not path.is_dir():
        if path.parent != path:
            _make(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def write_private(path: Path, data: bytes) -> None:
    """Replace the file `path` by `data`: 0600, atomically, durably."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
