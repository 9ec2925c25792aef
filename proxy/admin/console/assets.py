"""The console's static files: read once, and served under a path that changes with their content.

A browser caches them for ever, and requests them again only when the path changes. No path is built from a request.
"""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from aiohttp import web

_FOLDER: Final = Path(__file__).parent / "static"
_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_YEAR: Final = 31_536_000


@dataclass(frozen=True, slots=True)
class _Asset:
    tag: str
    body: bytes
    content_type: str


class Assets:
    """The static files. `path(name)` is the link for a page; `serve` answers it."""

    def __init__(self) -> None:
        self._assets = {
            file.name: _Asset(sha256(body := file.read_bytes()).hexdigest()[:16], body, _TYPES[file.suffix])
            for file in sorted(_FOLDER.iterdir())
            if file.suffix in _TYPES
        }

    def path(self, name: str) -> str:
        """Relative, so that the console works below any prefix."""
        return f"console/{self._assets[name].tag}/{name}"

    async def serve(self, request: web.Request) -> web.Response:
        """The file, 304 where the browser has it, 404 for another name or an old tag."""
        asset = self._assets.get(request.match_info["name"])
        if asset is None or asset.tag != request.match_info["tag"]:
            raise web.HTTPNotFound
        etag = f'"{asset.tag}"'
        headers = {
            "ETag": etag,
            "Cache-Control": f"public, max-age={_YEAR}, immutable",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=asset.body, content_type=asset.content_type, charset="utf-8", headers=headers)
