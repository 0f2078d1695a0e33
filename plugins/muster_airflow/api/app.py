"""The FastAPI application: every route is closed until a permission of Airflow opens it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from airflow.api_fastapi.core_api.security import requires_authenticated
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse

from muster.errors import MusterError
from muster_airflow.api import data, pages

HEADERS = {
    # The pages load nothing and run nothing; Airflow shows them in a frame of its own origin.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def create_app() -> FastAPI:
    """The application that is mounted at `/muster`; it has no page of its own documentation."""
    app = FastAPI(
        title="Muster",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(requires_authenticated())],
    )
    app.include_router(data.router)
    app.include_router(pages.router)
    app.add_exception_handler(MusterError, _not_found)

    @app.middleware("http")
    async def add_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    return app


async def _not_found(request: Request, error: Exception) -> Response:
    if request.url.path.endswith(("/events", "/health")) or "/api/" in request.url.path:
        return JSONResponse({"detail": str(error)}, status_code=404)
    return pages.message(str(error), status=404)
