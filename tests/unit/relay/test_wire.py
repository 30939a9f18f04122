"""Everything that can answer instead of a relay, and what a person is told."""

from __future__ import annotations

import socket

import pytest

from relay_runner.errors import (
    ProtocolError,
    RelayNotFound,
    RelayRefused,
    RelayRunnerError,
    RelayUnauthorized,
    RelayUnavailable,
)
from relay_runner.protocol.agents import Agent
from relay_runner.relay.endpoint import Endpoint, fixed
from relay_runner.relay.wire import Wire, events
from tests.unit.relay.servers import answering, http

pytestmark = pytest.mark.anyio

REFUSAL = b'{"error":{"code":"%s","message":"so it is","hint":"do this"}}'


@pytest.mark.parametrize(
    ("answer", "error", "word"),
    [
        (http("200 OK", b"<html>hello</html>"), ProtocolError, "is not a relay"),
        (http("200 OK", b'{"agents":1}'), ProtocolError, "is not a relay"),
        (http("404 Not Found", b"nope"), ProtocolError, "is not a relay (it answered 404)"),
        (http("404 Not Found", REFUSAL % b"not-found"), RelayNotFound, "so it is: do this"),
        (http("401 Unauthorized"), RelayUnauthorized, "did not take the token"),
        (http("401 Unauthorized", REFUSAL % b"token-expired"), RelayUnauthorized, "so it is"),
        (http("403 Forbidden", REFUSAL % b"forbidden"), RelayUnauthorized, "so it is"),
        (http("422 Unprocessable", REFUSAL % b"refused"), RelayRefused, "so it is"),
        (http("302 Found", b"", "Location: https://elsewhere.example/"), RelayRefused, "elsewhere.example"),
        (http("503 Service Unavailable", REFUSAL % b"store"), RelayUnavailable, "so it is"),
        (http("502 Bad Gateway", b"<html>"), RelayUnavailable, "502"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", RelayUnavailable, "hung up"),
        (b"", RelayUnavailable, "hung up"),
    ],
)
async def test_what_is_no_answer_of_a_relay(answer: bytes, error: type[RelayRunnerError], word: str) -> None:
    async with answering(answer) as url, Wire(fixed(url, "t")) as wire:
        with pytest.raises(error) as caught:
            await wire.call("GET", "/x", list[Agent])
        assert word in str(caught.value) and "\n" not in str(caught.value)
        assert isinstance(caught.value, error)
        assert error is not RelayRefused or type(caught.value) is RelayRefused


@pytest.mark.parametrize(("once", "asked"), [(True, 1), (False, 2)])
async def test_a_lost_answer_is_asked_for_again_where_that_does_no_harm(once: bool, asked: int) -> None:
    async with answering(b"") as url:
        count = 0

        async def source() -> Endpoint:
            nonlocal count
            count += 1
            return Endpoint(url, "t")

        async with Wire(source) as wire:
            with pytest.raises(RelayUnavailable, match="hung up"):
                await wire.call("POST", "/x", list[Agent], once=once)
        assert count == asked


async def test_a_relay_that_is_not_there_is_unavailable() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        async with Wire(fixed(url, "t")) as wire:
            with pytest.raises(RelayUnavailable, match=r"no relay answers at .*: check its URL"):
                await wire.call("GET", "/x", list[Agent])
            with pytest.raises(RelayUnavailable):
                async with wire.stream("/x"):
                    raise AssertionError("open")
    async with Wire(fixed("http://relay.invalid", "t")) as wire:
        with pytest.raises(RelayUnavailable):
            await wire.call("GET", "/x", list[Agent])


async def test_a_relay_that_moved_is_followed() -> None:
    async with answering(http("200 OK", b"[]")) as url:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            places = [f"http://127.0.0.1:{closed.getsockname()[1]}", url]
            asked = []

            async def source() -> Endpoint:
                asked.append(places[min(len(asked), 1)])
                return Endpoint(asked[-1], "t")

            async with Wire(source) as wire:
                assert await wire.call("GET", "/x", list[Agent]) == []
                assert await wire.call("GET", "/x", list[Agent]) == []
    assert asked == places


async def test_a_refused_token_is_asked_for_again_only_where_it_changed() -> None:
    async with answering(http("401 Unauthorized")) as refuses, answering(http("200 OK", b"[]")) as takes:
        urls = [refuses, takes]
        asked = 0

        async def source() -> Endpoint:
            nonlocal asked
            asked += 1
            return Endpoint(urls[asked - 1], f"t{asked}")

        async with Wire(source) as wire:
            assert await wire.call("GET", "/x", list[Agent]) == []
        assert asked == 2
        async with Wire(fixed(refuses, "t")) as wire:
            with pytest.raises(RelayUnauthorized):
                await wire.call("GET", "/x", list[Agent])


async def test_a_token_that_was_set_goes_before_the_sources() -> None:
    wire = Wire(fixed("http://127.0.0.1:1", "old"))
    assert (await wire.endpoint()).token == "old"
    wire.use_token("new")
    assert (await wire.endpoint()).token == "new"
    assert (await wire.endpoint(fresh=True)).token == "new"


async def test_events_are_read_over_the_ends_of_chunks() -> None:
    body = b': hi\n\nid: 1\nevent: x\ndata: {"a":1}\n\nid: 2\ndata: {"b":2}\n\n'
    answer = http("200 OK", body, "Content-Type: text/event-stream")
    async with answering(answer) as url, Wire(fixed(url, "t")) as wire, wire.stream("/x") as response:
        assert [data async for data in events(response)] == [b'{"a":1}', b'{"b":2}']


async def test_a_token_that_nobody_can_replace_is_not_shown_again_until_there_is_another() -> None:
    async with answering(http("401 Unauthorized", REFUSAL % b"token-revoked")) as url, Wire(fixed(url, "t")) as wire:
        healed = 0

        async def heal() -> None:
            nonlocal healed
            healed += 1

        wire.heal_with(heal)
        said = set()
        for _ in range(5):
            with pytest.raises(RelayUnauthorized) as caught:
                await wire.call("GET", "/x", list[Agent])
            said.add((str(caught.value), caught.value.code))
        with pytest.raises(RelayUnauthorized):
            async with wire.stream("/x"):
                raise AssertionError("open")
        assert healed == 1 and said == {("so it is: do this", "token-revoked")}
        with pytest.raises(RelayUnauthorized):  # the one call that asks whether it is taken again
            await wire.call("GET", "/x", list[Agent], heal=False)
        assert healed == 1
        wire.use_token("another")
        with pytest.raises(RelayUnauthorized):
            await wire.call("GET", "/x", list[Agent])
        assert healed == 2
