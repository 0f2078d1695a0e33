"""The FastAPI application: every route is closed until a permission of Airflow opens it."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from hashlib import sha256

from airflow.api_fastapi.core_api.security import requires_authenticated
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from muster.errors import MusterError, TransientError
from muster.misfits import in_words
from muster_airflow.api import data, pages
from muster_airflow.api.access import UnknownRun
from muster_airflow.api.rendering import THEME_SCRIPT
from muster_airflow.compiler.triggers import routers

_OWN_SCRIPT = base64.b64encode(sha256(THEME_SCRIPT.encode()).digest()).decode()

HEADERS = {
    # The pages load nothing and run one script of their own; Airflow shows them in a frame of its own origin.
    "Content-Security-Policy": f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{_OWN_SCRIPT}';"
    " frame-ancestors 'self'; base-uri 'none'; form-action 'none'",
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
        # Airflow mounts the application of a plugin open to everybody.
        dependencies=[Depends(requires_authenticated())],
    )
    app.include_router(data.router)
    app.include_router(pages.router)
    for router in routers():
        app.include_router(router)
    app.add_exception_handler(MusterError, _not_shown)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _misunderstood)

    @app.middleware("http")
    async def add_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    return app


async def _not_shown(request: Request, error: Exception) -> Response:
    known = {UnknownRun: 404, TransientError: 503}
    status = next((status for kind, status in known.items() if isinstance(error, kind)), 500)
    return _answer(request, str(error), status)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {401: "Log in to Airflow to see this page.", 403: "You may not see this page."}
    return _answer(request, words.get(error.status_code, str(error.detail)), error.status_code)


async def _misunderstood(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    said = "; ".join(f"{'.'.join(map(str, problem['loc']))}: {in_words(problem)}" for problem in error.errors())
    return _answer(request, said, 422)


def _answer(request: Request, text: str, status: int) -> Response:
    """A page for people, JSON for programs."""
    if getattr(request.scope.get("route"), "tags", []) == pages.router.tags:
        return pages.message(text, status=status)
    return JSONResponse({"detail": text}, status_code=status)
