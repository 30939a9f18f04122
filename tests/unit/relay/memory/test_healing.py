"""A token that is no longer taken is replaced once, for every call of a relay in memory."""

import pytest

from relay_runner.errors import RelayUnauthorized
from relay_runner.protocol.commands import NewTask
from relay_runner.protocol.messages import MessageQuery
from relay_runner.protocol.tokens import SEND, TokenRequest
from relay_runner.relay.memory.relay import MemoryRelay

pytestmark = pytest.mark.anyio


async def test_a_call_is_made_again_with_the_token_that_was_got() -> None:
    operator = MemoryRelay()
    bob = MemoryRelay.of_agent("bob", operator.hub)
    await operator.revoke_token((await bob.who_am_i()).jti)
    healed = 0

    async def heal() -> None:
        nonlocal healed
        healed += 1
        request = TokenRequest(subject="agent:bob", scopes=("agent:bob", SEND))
        bob.use_token((await operator.issue_token(request)).token)

    bob.heal_with(heal)
    assert await bob.messages(MessageQuery()) == [] and healed == 1
    await operator.revoke_token((await bob.who_am_i()).jti)
    assert await bob.pending_commands("bob") == [] and await bob.create_task(NewTask(subject="x"))
    await bob.who_am_i()
    assert healed == 2


async def test_a_call_that_cannot_be_healed_and_the_renewal_itself_are_refused() -> None:
    operator = MemoryRelay()
    bob = MemoryRelay.of_agent("bob", operator.hub)
    await operator.revoke_token((await bob.who_am_i()).jti)
    healed = 0

    async def heal() -> None:
        nonlocal healed
        healed += 1

    bob.heal_with(heal)
    with pytest.raises(RelayUnauthorized):
        await bob.messages(MessageQuery())
    assert healed == 1
    for call in (bob.renew_token, bob.who_am_i):
        with pytest.raises(RelayUnauthorized):
            await call()
    assert healed == 1
