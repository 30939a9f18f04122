"""One HTTP connection pool to a relay: requests go out, answers or our errors come back.

What httpx raises, what a wrong server says and what a relay refuses are told apart here and nowhere else.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Self, TypeVar

from relay_runner import __version__
from relay_runner.errors import ProtocolError, RelayRefused, RelayRunnerError, RelayUnauthorized, RelayUnavailable
from relay_runner.protocol.calls import ProblemBody, error_of
from relay_runner.protocol.wire import decode, decode_each, encode
from relay_runner.relay.endpoint import Endpoint, EndpointSource
from relay_runner.relay.lean import httpx

CONNECT_S = 5.0
ANSWER_S = 30.0
SILENCE_S = 45.0
"""How long a stream may be silent; the relay says something every 15 s."""
IDLE_S = 30.0
"""How long an unused connection is kept: shorter than the relay keeps it."""
MAX_STREAM_LINE = 16 * 1024 * 1024

log = logging.getLogger(__name__)
T = TypeVar("T")
Heal = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Raw:
    """A body that is not JSON, read anew for every try."""

    data: Callable[[], AsyncIterator[bytes]]
    headers: Mapping[str, str]


class Wire:
    """Speaks HTTP with the relay that `source` names."""

    def __init__(self, source: EndpointSource) -> None:
        self._source = source
        self._endpoint: Endpoint | None = None
        self._token: str | None = None
        self._heal: Heal | None = None
        self._lost: tuple[str, RelayUnauthorized] | None = None
        """The token that was refused and has no successor yet, and what the relay said."""
        self._client: httpx.AsyncClient | None = None
        self._client_way: tuple[bool, str | None] | None = None
        """How the client reaches the relay: on this machine or not, by a unix socket or not."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def use_token(self, token: str) -> None:
        """Show `token` from now on, whatever the source says."""
        self._token = token
        self._lost = None

    def heal_with(self, heal: Heal) -> None:
        """Await `heal` for another token whenever the one in use is no longer taken; it calls `use_token`.

        Where it does not, every call is refused here, unasked, until somebody calls `use_token`.
        """
        self._heal = heal

    async def endpoint(self, *, fresh: bool = False) -> Endpoint:
        """Return where the relay is, with the token to show; `fresh` asks the source again."""
        if fresh or self._endpoint is None:
            self._endpoint = await self._source()
        return replace(self._endpoint, token=self._token or self._endpoint.token)

    async def call(
        self,
        method: str,
        path: str,
        type_: type[T],
        body: object = None,
        *,
        query: Mapping[str, str] | None = None,
        once: bool = False,
        heal: bool = True,
    ) -> T:
        """Return the relay's answer as a `type_`; `once` says that the same call again would do it again.

        Without `heal` a token that is refused is not replaced: for the call that gets another one.
        """
        return _decode(await self._ask(method, path, body, query, once=once, heal=heal), type_)

    async def list_of(self, path: str, type_: type[T], query: Mapping[str, str] | None = None) -> list[T]:
        """Return the relay's answer as a list of `type_`; what of it cannot be read is left out, and logged."""
        response = await self._ask("GET", path, None, query, once=False)
        try:
            found, errors = decode_each(response.content, type_)
        except ProtocolError as error:
            raise _no_relay(response, error) from error
        for bad in errors:
            log.error("skipped an item of the answer to %s: %s", path, bad)
        return found

    async def tell(self, method: str, path: str, body: object = None) -> None:
        """Make a call that has no answer but that it was done."""
        await self._ask(method, path, body, None, once=False)

    @asynccontextmanager
    async def stream(
        self, path: str, *, accept: str = "text/event-stream", **query: str
    ) -> AsyncIterator[httpx.Response]:
        """Open an answer that goes on; what breaks inside is raised as our errors."""
        endpoint = await self.endpoint()
        self._look(endpoint)
        try:
            async with AsyncExitStack() as stack:
                try:
                    response = await stack.enter_async_context(self._streamed(endpoint, path, accept, query))
                except RelayUnauthorized as error:
                    again = await self._other_token(endpoint, error)
                    if again == endpoint:
                        raise
                    endpoint = again
                    response = await stack.enter_async_context(self._streamed(endpoint, path, accept, query))
                yield response
        except httpx.HTTPError as error:
            self._endpoint = None
            raise _unavailable(endpoint, error) from error

    @asynccontextmanager
    async def _streamed(
        self, endpoint: Endpoint, path: str, accept: str, query: Mapping[str, str]
    ) -> AsyncIterator[httpx.Response]:
        client = await self._open(endpoint)
        headers = _headers(endpoint, {"Accept": accept})
        timeout = httpx.Timeout(SILENCE_S, connect=CONNECT_S)
        async with client.stream(
            "GET", endpoint.url + path, params=query, headers=headers, timeout=timeout
        ) as response:
            if response.status_code != 200:
                await response.aread()
                raise _refusal(response)
            yield response

    def ended(self, why: str) -> RelayUnavailable:
        """Return the error of a stream that came to its end; the source is asked again for the next one."""
        self._endpoint = None
        return RelayUnavailable(why)

    async def _ask(
        self,
        method: str,
        path: str,
        body: object,
        query: Mapping[str, str] | None,
        *,
        once: bool,
        heal: bool = True,
    ) -> httpx.Response:
        """Make a call, and a second time where the relay died, moved, was restarted, or got a new token meanwhile.

        A call that is to be made `once` is made again only where the first one provably did nothing.
        """
        endpoint = await self.endpoint()
        if heal:
            self._look(endpoint)
        try:
            return await self._once(endpoint, method, path, body, query)
        except _Lost:
            if once:
                self._endpoint = None
                raise
            again = await self.endpoint(fresh=True)
        except _NotReached:
            again = await self.endpoint(fresh=True)
        except RelayUnauthorized as error:
            again = await self._other_token(endpoint, error, heal=heal)
            if again == endpoint:
                raise
        return await self._once(again, method, path, body, query)

    def _look(self, endpoint: Endpoint) -> None:
        """Raise where the relay refused this very token, and nobody has another one yet."""
        if self._lost is not None and self._lost[0] == endpoint.token:
            known = self._lost[1]
            raise RelayUnauthorized(known.message, hint=known.hint, status=known.status, code=known.code)

    async def _other_token(self, refused: Endpoint, error: RelayUnauthorized, *, heal: bool = True) -> Endpoint:
        """Return the relay with the token to show now; the one that was refused may have a successor already."""
        found = await self.endpoint(fresh=True)
        if found == refused and heal and error.status == 401 and self._heal is not None:
            await self._heal()
            found = await self.endpoint()
            if found == refused:
                self._lost = (refused.token, error)
        return found

    async def _once(
        self, endpoint: Endpoint, method: str, path: str, body: object, query: Mapping[str, str] | None
    ) -> httpx.Response:
        client = await self._open(endpoint)
        content: bytes | AsyncIterator[bytes] | None = None
        headers = _headers(endpoint, {})
        if isinstance(body, Raw):
            content = body.data()
            headers.update(body.headers)
        elif body is not None:
            content = encode(body)
            headers["Content-Type"] = "application/json"
        try:
            response = await client.request(method, endpoint.url + path, params=query, content=content, headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            where = f"no relay answers at {endpoint.url} ({_why(error)})"
            raise _NotReached(where, hint="check its URL (`relay_url`, --relay), and that it runs there") from error
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
            raise _Lost(f"the relay at {endpoint.url} hung up", hint=_why(error)) from error
        except httpx.HTTPError as error:
            raise _unavailable(endpoint, error) from error
        if response.is_success:
            return response
        raise _refusal(response)

    async def _open(self, endpoint: Endpoint) -> httpx.AsyncClient:
        way = (endpoint.is_local, endpoint.socket)
        if self._client is None or self._client_way != way:
            if self._client is not None:
                await self._client.aclose()
            self._client_way = way
            self._client = httpx.AsyncClient(
                transport=httpx.AsyncHTTPTransport(uds=endpoint.socket) if endpoint.socket else None,
                timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
                limits=httpx.Limits(max_connections=None, keepalive_expiry=IDLE_S),
                trust_env=not endpoint.is_local,
                verify=ssl.create_default_context() if endpoint.url.startswith("https:") else False,
                follow_redirects=False,
                headers={"User-Agent": f"relay-runner/{__version__}"},
            )
        return self._client


class _NotReached(RelayUnavailable):
    """Nothing listens there: the relay provably has not heard of the call."""


class _Lost(RelayUnavailable):
    """The connection broke before the answer: a kept one was stale, or the relay died over the call."""


async def events(response: httpx.Response) -> AsyncIterator[bytes]:
    """Yield the data of each server-sent event of an open stream, one line per event as the relay sends them."""
    rest = b""
    async for chunk in response.aiter_raw():
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > MAX_STREAM_LINE:
            raise ProtocolError("the relay's event stream has a line without an end")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()


def _headers(endpoint: Endpoint, extra: dict[str, str]) -> dict[str, str]:
    return {"Authorization": f"Bearer {endpoint.token}", **extra} if endpoint.token else dict(extra)


def _decode(response: httpx.Response, type_: type[T]) -> T:
    try:
        return decode(response.content, type_)
    except ProtocolError as error:
        raise _no_relay(response, error) from error


def _no_relay(response: httpx.Response, error: ProtocolError) -> ProtocolError:
    return ProtocolError(f"{_where(response)} is not a relay, or a newer one: {error.message}")


def _refusal(response: httpx.Response) -> RelayRunnerError:
    """Return the error that an answer which is not 2xx stands for."""
    status = response.status_code
    if response.is_redirect:
        target = response.headers.get("location", "elsewhere")[:200]
        return RelayRefused(
            f"{_where(response)} sends us on to {target}", hint="use the relay's own URL", status=status
        )
    try:
        problem = decode(response.content, ProblemBody).error
    except ProtocolError:
        if status >= 500:
            return RelayUnavailable(f"{_where(response)} answered {status}")
        if status == 401:
            return RelayUnauthorized(f"{_where(response)} did not take the token")
        return ProtocolError(f"{_where(response)} is not a relay (it answered {status})", hint="check the relay's URL")
    if status >= 500:
        return RelayUnavailable(problem.message, hint=problem.hint)
    return error_of(status, problem)


def _unavailable(endpoint: Endpoint, error: httpx.HTTPError) -> RelayUnavailable:
    return RelayUnavailable(f"the relay at {endpoint.url} did not answer", hint=_why(error))


def _why(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _where(response: httpx.Response) -> str:
    url = response.request.url
    return f"{url.scheme}://{url.netloc.decode()}"
