"""Protection from other web pages: the headers of every page, and the origin check of every form.

A page may load only what this port serves, run no inline script, and be framed by no page ("Content Security Policy
Level 3"). A form is accepted only if the browser reports that this console sent it: otherwise any page could use an
operator's browser to act on this port ("Fetch Metadata Request Headers").
"""

from typing import Final

from aiohttp import web

from proxy.web.access_control import is_own_origin

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
    """Whether a page of this console sent the form. A request without either header is not trusted."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None and site != "same-origin":
        return False
    return is_own_origin(origin, request) if origin is not None else site is not None
