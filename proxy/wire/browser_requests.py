"""Web pages as clients: what a browser asks before it lets a page ask (Fetch standard, "CORS protocol").

DynamoDB takes requests from the pages of any site, because each must be signed («Cross-origin resource sharing (CORS)»,
AWS SDK for JavaScript developer guide: only Amazon S3 has to be told). So does this port where it verifies signatures.
Where it does not, a page is turned away: it may be anyone's, and the user's browser can reach this port. The headers
are those that were seen of the service (dynalite's source). Nothing here looks at what is asked for.
"""

from typing import Final

from aiohttp import web

from proxy.dynamodb.outcome import Outcome

ANYONE: Final = ("Access-Control-Allow-Origin", "*")
CORS_HEADERS: Final = (ANYONE, ("Access-Control-Expose-Headers", "x-amzn-RequestId,x-amzn-ErrorType,x-amz-crc32,Date"))
_ALLOWED: Final = (
    ("Access-Control-Request-Headers", "Access-Control-Allow-Headers"),
    ("Access-Control-Request-Method", "Access-Control-Allow-Methods"),
)
_DAYS_2: Final = "172800"


def is_browser_request(request: web.BaseRequest) -> bool:
    """Whether a browser sent it for a page of another origin."""
    return "Origin" in request.headers


def cors_preflight(request: web.BaseRequest) -> Outcome | None:
    """The answer to a preflight request, which cannot be signed; None: it is none."""
    if request.method != "OPTIONS" or not is_browser_request(request):
        return None
    headers = [ANYONE, ("Access-Control-Max-Age", _DAYS_2)]
    for asked, allowed in _ALLOWED:
        value = request.headers.get(asked, "")
        if value and value.isascii():
            headers.append((allowed, value))
    return Outcome(200, tuple(headers), b"")
