"""``GET /docs``: Swagger UI over ``/openapi.json``, all from here, so that it works without the internet."""

import base64
import hashlib
import importlib.resources
import re
from pathlib import Path

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse, Response

SCRIPT, STYLE = "swagger-ui-bundle.js", "swagger-ui.css"
_A_DAY = {"cache-control": "public, max-age=86400"}

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def page() -> Response:
    """Addresses are relative, for proxies that serve Lumni below a path; the browser is told to ask no other host."""
    html = get_swagger_ui_html(
        title="Lumni",
        openapi_url="openapi.json",
        swagger_js_url=f"docs/{SCRIPT}",
        swagger_css_url=f"docs/{STYLE}",
        swagger_favicon_url="data:,",
        swagger_ui_parameters={"validatorUrl": None},  # Swagger's own would send the document to swagger.io
    ).body
    return HTMLResponse(bytes(html), headers={"content-security-policy": _policy(bytes(html))})


@router.get(f"/docs/{SCRIPT}")
async def script() -> Response:
    return FileResponse(_asset(SCRIPT), media_type="text/javascript", headers=_A_DAY)


@router.get(f"/docs/{STYLE}")
async def style() -> Response:
    return FileResponse(_asset(STYLE), media_type="text/css", headers=_A_DAY)


def _asset(name: str) -> Path:
    """A file of Swagger UI's distribution (Apache-2.0), which the package ``fastapi-offline`` (MIT) carries."""
    return Path(str(importlib.resources.files("fastapi_offline") / "static" / name))


def _policy(html: bytes) -> str:
    """Content-Security-Policy: our own files, and of inline scripts exactly the page's. Swagger UI writes styles."""
    inline = re.findall(rb"<script>(.*?)</script>", html, re.DOTALL)
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'" for text in inline)
    return (
        f"default-src 'none'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
