"""The commands and tokens of a relay in memory."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec.structs import replace

from relay_runner.errors import RelayNotFound, RelayUnauthorized
from relay_runner.protocol.access import Caller, token_info
from relay_runner.protocol.addresses import agent_principal
from relay_runner.protocol.commands import Command, CommandUpdate, NewCommand
from relay_runner.protocol.frames import CommandFrame, ErrorFrame
from relay_runner.protocol.orders import SETTLED, check_command, lapse_command, move_command
from relay_runner.protocol.tokens import TokenGrant, TokenInfo
from relay_runner.relay.memory.board import Board
from relay_runner.relay.memory.members import Frames, Members


class Ledger:
    """What is ordered, and who holds which token."""

    def __init__(self, board: Board, members: Members) -> None:
        self._board = board
        self._members = members
        self._commands: dict[str, tuple[Command, str]] = {}
        self._tokens: dict[str, Caller] = {}
        self._infos: dict[str, TokenInfo] = {}
        self._buses: list[tuple[str, Frames]] = []

    # --- commands -----------------------------------------------------------------------------------------------------

    def command(self, caller: Caller, new: NewCommand) -> Command:
        """Take an order, and put it on its agent's bus."""
        check_command(new)
        known = self._board.remembered(caller, "command", new.idempotency_key)
        if isinstance(known, str):
            return self._commands[known][0]
        agent_id = self._members.target(new.target)
        now = self._board.clock()
        command = Command(
            id=f"cmd-{len(self._commands) + 1}",
            type=new.type,
            target=new.target,
            sender=caller.subject,
            created_at=now,
            args=new.args,
            timeout_s=new.timeout_s,
            updated_at=now,
        )
        self._board.remember(caller, "command", new.idempotency_key, command.id)
        self._put(command, agent_id)
        frames = self._members.get(agent_id).frames
        if frames is not None:
            frames.put_nowait(CommandFrame(command=command))
        return command

    def get_command(self, caller: Caller, command_id: str) -> Command:
        """Return an order to whom it concerns."""
        command, agent_id = self._command(command_id)
        if not caller.may_see(command.sender, agent_principal(agent_id)):
            raise RelayNotFound(f"there is no command {command_id}")
        return command

    def update_command(self, caller: Caller, command_id: str, update: CommandUpdate) -> Command:
        """Move an order on."""
        command, agent_id = self._command(command_id)
        caller.need_agent(agent_id)
        return self._put(move_command(command, update, self._board.clock()), agent_id)

    def pending(self, agent_id: str) -> list[Command]:
        """Return an agent's orders that are not settled, oldest first."""
        return [command for command, of in self._commands.values() if of == agent_id and command.state not in SETTLED]

    def sweep(self) -> None:
        """Fail the orders that nobody took or answered in time."""
        for command, agent_id in list(self._commands.values()):
            lapsed = lapse_command(command, self._board.clock())
            if lapsed is not command:
                self._put(lapsed, agent_id)

    def _command(self, command_id: str) -> tuple[Command, str]:
        if command_id not in self._commands:
            raise RelayNotFound(f"there is no command {command_id}")
        return self._commands[command_id]

    def _put(self, command: Command, agent_id: str) -> Command:
        self._commands[command.id] = (command, agent_id)
        self._board.emit("command", id=command.id, agentId=agent_id, state=command.state.value)
        return command

    # --- tokens -------------------------------------------------------------------------------------------------------

    def grant(self, caller: Caller, ttl_s: float, *, parent: str | None = None) -> TokenGrant:
        """Make a token for somebody; `parent` is the one that it succeeds."""
        now = self._board.clock()
        token, jti = secrets.token_urlsafe(24), secrets.token_hex(8)
        holder = Caller(caller.subject, caller.scopes, jti, caller.profile_id, now, now + ttl_s)
        self._tokens[token] = holder
        self._infos[jti] = token_info(holder)
        if parent is not None:
            before = self._infos[parent]
            self._infos[parent] = replace(before, successors=(*before.successors, jti))
        return TokenGrant(
            token=token,
            jti=jti,
            profile_id=caller.profile_id,
            subject=caller.subject,
            scopes=tuple(sorted(caller.scopes)),
            issued_at=now,
            expires_at=now + ttl_s,
        )

    def tokens(self) -> list[TokenInfo]:
        """Return what is known of every token, the newest first."""
        return list(reversed(self._infos.values()))

    def holder(self, token: str, *, grace_s: float = 0.0) -> Caller:
        """Return whose token it is; raise `RelayUnauthorized` for one that is wrong, expired or revoked."""
        caller = self._tokens.get(token)
        if caller is None:
            raise RelayUnauthorized("this relay did not make that token")
        if self._infos[caller.jti].revoked_at is not None:
            raise RelayUnauthorized("the token was revoked", hint="get a new one", code="token-revoked")
        if caller.expires_at + grace_s <= self._board.clock():
            raise RelayUnauthorized("the token has expired", hint="renew it", code="token-expired")
        return caller

    def revoke(self, jti: str) -> None:
        """Make a token and everything renewed from it worthless."""
        if jti not in self._infos:
            raise RelayNotFound(f"there is no token {jti}")
        waiting = [jti]
        while waiting:
            info = self._infos[waiting.pop()]
            self._infos[info.jti] = replace(info, revoked_at=info.revoked_at or self._board.clock())
            waiting += info.successors
            for opened_with, frames in self._buses:
                if opened_with == info.jti:
                    frames.put_nowait(ErrorFrame(code="token-revoked", message="the token was revoked", fatal=True))

    @contextmanager
    def bus_of(self, jti: str, frames: Frames) -> Iterator[None]:
        """End the bus with its token, as long as the context is open."""
        bus = (jti, frames)
        self._buses.append(bus)
        try:
            yield
        finally:
            self._buses = [other for other in self._buses if other[1] is not frames]
