"""Where Debian's Chromium is. Playwright drives it; the browsers that Playwright would download are not used."""

import shutil

REMEDY = "install Chromium (Debian: apt-get update && apt-get install chromium; `make setup` does it for root)"


def executable() -> str:
    """The path of Chromium; AssertionError with the remedy where there is none, for a skipped test proves nothing."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert found is not None, f"the console's tests need a browser: {REMEDY}"
    return found
