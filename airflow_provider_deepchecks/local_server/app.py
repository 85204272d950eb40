# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""The web application: routes, error answers, and what stands before them all."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import JSONResponse

from airflow_provider_deepchecks.local_server import routes_data, routes_models, routes_monitoring
from airflow_provider_deepchecks.local_server.errors import ApiError
from airflow_provider_deepchecks.local_server.inputs import check_token
from airflow_provider_deepchecks.local_server.options import SERVER_VERSION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from airflow_provider_deepchecks.local_server.state import State

_API = "/api/v1"


@dataclass(frozen=True)
class Exchange:
    """A request that was answered.

    :param path: path and query.
    :param bytes_received: size of the request's body as announced, 0 when it was not.
    """

    method: str
    path: str
    status: int
    bytes_received: int


def create_app(state: State) -> FastAPI:
    """The server's API on top of a state."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        consumer = asyncio.create_task(state.consumer.run()) if state.options.consumer else None
        yield
        if consumer:
            consumer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await consumer

    app = FastAPI(
        title="Deepchecks Monitoring (stand-in)",
        version=SERVER_VERSION,
        openapi_url=f"{_API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.deepchecks = state
    app.add_middleware(GZipMiddleware, minimum_size=1000)

    @app.exception_handler(ApiError)
    async def answer_api_error(_: Request, error: ApiError) -> Response:
        return JSONResponse(error.body(), error.status)

    @app.get(f"{_API}/health-check")
    async def health_check() -> Response:
        return Response("ok")

    @app.get(f"{_API}/backend-version")
    async def backend_version(request: Request) -> dict[str, str]:
        check_token(request.headers.get("authorization"), state.options.token)
        return {"version": SERVER_VERSION}

    @app.get(f"{_API}/say-hello")
    async def say_hello(request: Request) -> str:
        check_token(request.headers.get("authorization"), state.options.token)
        return "Hello world"

    for module in (routes_models, routes_data, routes_monitoring):
        app.include_router(module.router, prefix=_API)

    @app.get("/{path:path}", include_in_schema=False)
    async def unknown_path(path: str) -> Response:
        # The server has its web pages here. As this route takes any path, other methods get 405, not 404.
        raise ApiError(404, "Not Found")

    return app


class FrontDoor:
    """What every request passes first: canned answers and the request log; the headers every answer gets.

    :param app: the application behind.
    :param state: its state.
    """

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app = app
        self._state = state
        #: The newest exchanges, oldest first.
        self.exchanges: deque[Exchange] = deque(maxlen=10_000)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                date = formatdate(self._state.clock.time(), usegmt=True)
                message["headers"] = [*message["headers"], (b"date", date.encode())]
                if path.startswith("/api") and message["status"] != 500:
                    message["headers"].append((b"cache-control", b"no-cache, stale-if-error=0"))
                self._log(scope, message["status"])
            await send(message)

        if answer := self._state.faults.take_answer(path):
            while (await receive()).get("more_body"):
                pass
            response = Response(answer.body, answer.status, dict(answer.headers))
            await response(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)

    def _log(self, scope: Scope, status: int) -> None:
        query = scope["query_string"].decode()
        size = next((int(value) for name, value in scope["headers"] if name == b"content-length"), 0)
        path = scope["path"] + (f"?{query}" if query else "")
        self.exchanges.append(Exchange(scope["method"], path, status, size))
