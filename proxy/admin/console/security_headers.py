"""What keeps other web pages out: the headers of every page, and the check of every form.

A page may load from here only what is served here, run no script that stands in it, and be framed by nobody ("Content
Security Policy Level 3"). A form counts only if the browser says that it was sent by this very console: an operator's
browser would else do on this port what any page tells it ("Fetch Metadata Request Headers").
"""

from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # `no-referrer` would have browsers send forms of ours with `Origin: null` ("Fetch Standard", 3.2).
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


def is_same_origin(request: web.Request) -> bool:
    """Whether a form was sent by a page of this console. Of who says nothing at all, it is not believed."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None and site != "same-origin":
        return False
    if origin is not None:
        try:
            # "null" has no host: it is what a page says that must not say where it is from.
            return urlsplit(origin).netloc.lower() == request.host.lower()
        except ValueError:
            return False
    return site is not None
