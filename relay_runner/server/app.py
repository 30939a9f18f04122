"""The relay as one ASGI application."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.routing import Route as StarletteRoute

from relay_runner.protocol.calls import BUS, Problem, ProblemBody
from relay_runner.protocol.wire import encode
from relay_runner.server.bus import BusEndpoint
from relay_runner.server.core import Core
from relay_runner.server.gate import Gate
from relay_runner.server.http import Endpoint
from relay_runner.server.routes import ROUTES


def build(core: Core, *, local_only: bool = True) -> Gate:
    """Return the application; it is to be served inside `core.running()`."""
    routes: list[BaseRoute] = [
        StarletteRoute(route.path, Endpoint(core, route), methods=[route.method]) for route in ROUTES
    ]
    routes.insert(1, WebSocketRoute(BUS, BusEndpoint(core)))
    app = Starlette(routes=routes, exception_handlers={HTTPException: _no_route})
    app.router.redirect_slashes = False
    return Gate(app, local_only=local_only)


async def _no_route(request: Request, error: Exception) -> Response:
    """Answer a path or a method that is not in the table."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    what = f"{request.method} {request.url.path[:200]}"
    message = f"there is no {what}" if status == 404 else f"{what} is not allowed"
    problem = Problem(code="no-route", message=message, hint="see /api/v1/openapi.json")
    headers = {**(error.headers or {} if isinstance(error, HTTPException) else {}), "connection": "close"}
    return Response(encode(ProblemBody(error=problem)), status, headers, media_type="application/json")
