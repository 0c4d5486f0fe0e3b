"""`/docs`: the API as a page to browse and try, from assets served by this node and no one else.

The bundled Swagger UI reads OpenAPI 3.0, so the page is given a 3.0 projection of the 3.1 document
(`/docs/openapi.json`). `/openapi.json` stays the document to build clients from.
"""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import orjson
import swagger_ui_bundle
from aiohttp import web

#: Everything the page loads comes from this node; the inline styles are Swagger UI's own.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_ASSETS = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
_START = b"""SwaggerUIBundle({
  url: "/docs/openapi.json", dom_id: "#api", deepLinking: true, validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis], persistAuthorization: false
});
"""
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css"></head>
<body><div id="api"></div>
<noscript>This page needs JavaScript; the plain document is at <a href="/openapi.json">/openapi.json</a>.</noscript>
<script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body></html>
"""


def mount(app: web.Application, document: dict[str, Any], *, title: str) -> None:
    """Register the page, its assets and the document it shows."""
    folder = Path(str(swagger_ui_bundle.swagger_ui_path))
    projected = orjson.dumps(as_3_0(document))
    _serve(app, "/docs", _PAGE.format(title=html.escape(title)).encode(), "text/html")
    _serve(app, "/docs/start.js", _START, "text/javascript")
    _serve(app, "/docs/openapi.json", projected, "application/json")
    for name, media in _ASSETS.items():
        _serve_file(app, f"/docs/{name}", folder / name, media)


def _serve(app: web.Application, path: str, content: bytes, media: str) -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(body=content, content_type=media, headers={"Content-Security-Policy": _POLICY})

    app.router.add_get(path, page)


def _serve_file(app: web.Application, path: str, file: Path, media: str) -> None:
    async def asset(_: web.Request) -> web.FileResponse:
        return web.FileResponse(file, headers={"Content-Type": media, "Cache-Control": "max-age=86400"})

    app.router.add_get(path, asset)


def as_3_0(value: Any) -> Any:
    """A 3.1 document as 3.0 can say it: `anyOf [x, null]` is `nullable`, exclusive bounds are flags."""
    if isinstance(value, list):
        return [as_3_0(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    projected = {name: as_3_0(entry) for name, entry in value.items()}
    if "openapi" in projected:
        projected["openapi"] = "3.0.3"
        projected["info"]["license"].pop("identifier", None)  # new in 3.1
    _project_null(projected)
    for bound, plain in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(projected.get(bound), int | float):
            projected[plain], projected[bound] = projected[bound], True
    if "const" in projected:
        projected["enum"] = [projected.pop("const")]
    if isinstance(examples := projected.get("examples"), list):
        projected["example"] = examples[0]
        del projected["examples"]
    return projected


def _project_null(schema: dict[str, Any]) -> None:
    choices = schema.get("anyOf")
    if not isinstance(choices, list) or {"type": "null"} not in choices:
        return
    rest = [choice for choice in choices if choice != {"type": "null"}]
    del schema["anyOf"]
    if len(rest) == 1 and "$ref" not in rest[0]:
        schema.update(rest[0])
    else:
        schema["anyOf"] = rest
    schema["nullable"] = True
