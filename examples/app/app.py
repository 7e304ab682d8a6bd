"""A small consumer of the contract: two cached endpoints and /health. Copy it; README.md says what matters in it."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from client.connect import Client, connect
from client.errors import AccessRefused, NoReply, RedisUnavailable
from client.options import FallbackOptions, Options
from client.probes import Probes
from infra.contract import Contract

logger = logging.getLogger("app")
correlation_id: ContextVar[str] = ContextVar("correlation_id", default="-")
TTL_S = 60.0
HEADER = b"x-correlation-id"
_LONGEST_ID = 64


def create_app(contract: Contract) -> Starlette:
    """The application. Touches no network before the first request."""
    options = Options(fallback=FallbackOptions())
    client = connect(contract, options=options)

    async def product(request: Request) -> JSONResponse:
        number = request.path_params["number"]
        return await _cached(client, f"product:{number}", lambda: {"number": number, "name": f"Product {number}"})

    async def note(request: Request) -> JSONResponse:
        key = f"note:{request.path_params['name']}"
        if request.method == "PUT":
            text = (await request.body()).decode(errors="replace")
            stored = await run_in_threadpool(client.set, key, text, ttl_s=TTL_S)
            logger.info("stored %s in %s", key, "Redis" if stored else "memory")
            return JSONResponse({"stored": "redis" if stored else "memory"})
        found = await run_in_threadpool(client.get, key)
        return JSONResponse({"text": found}, 200 if found is not None else 404)

    async def health(_request: Request) -> JSONResponse:
        return JSONResponse(await run_in_threadpool(redis_health, contract, client, options))

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/products/{number:int}", product),
            Route("/notes/{name:str}", note, methods=["GET", "PUT"]),
        ],
        middleware=[Middleware(CorrelationId)],
    )


async def _cached(client: Client, key: str, load: Callable[[], dict[str, Any]]) -> JSONResponse:
    found = await run_in_threadpool(client.get, key)
    if found is not None:
        return JSONResponse({**json.loads(found), "cached": True})
    value = load()
    await run_in_threadpool(client.set, key, json.dumps(value), ttl_s=TTL_S)
    logger.info("computed %s", key)
    return JSONResponse({**value, "cached": False})


def redis_health(contract: Contract, client: Client, options: Options) -> dict[str, Any]:
    """The application serves without Redis too, so this answers always; `redis.available` says how Redis is."""
    started = time.monotonic()
    try:
        client.call(lambda master: master.ping(), deadline_s=1.0)
        available, problem = True, None
    except (RedisUnavailable, NoReply, AccessRefused) as error:
        available, problem = False, type(error).__name__  # the text names addresses; it is in the log
        logger.warning("redis: %s", error)
    seen: dict[str, Any] = {
        "mode": client.mode,
        "available": available,
        "problem": problem,
        "master": str(client.master) if client.master else None,
        "ping_ms": round((time.monotonic() - started) * 1000, 2) if available else None,
        "hit_rate": client.stats.hit_rate,
    }
    if contract.sentinel_enabled:
        probes = Probes(contract, options)
        views = {str(endpoint): probes.sentinel(endpoint) for endpoint in contract.sentinels}
        seen["sentinel"] = {
            "master_name": contract.master_name,
            "answering": sum(not view.error for view in views.values()),
            "declared": len(views),
            "names": {at: str(view.named) if view.named else None for at, view in views.items()},
        }
    return {"status": "ok" if available else "degraded", "redis": seen}


class CorrelationId:
    """Each request has an id, the caller's or a new one: in every log line of the request and in the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(HEADER, b"").decode("ascii", "replace")
        # The caller's text goes into logs: no line breaks, and not too long.
        usable = given.isascii() and given.isprintable() and 0 < len(given) <= _LONGEST_ID
        token = correlation_id.set(given if usable else uuid.uuid4().hex)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (HEADER, correlation_id.get().encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            correlation_id.reset(token)


class WithCorrelationId(logging.Filter):
    """Adds the request's id to each log record, for a format that shows it."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.correlation_id = correlation_id.get()
        return True
