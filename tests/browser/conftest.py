"""One Chromium for all tests of a file, and for each test a page that is watched.

Whatever a test does, the page must write nothing to the browser's console, call no other host, and violate no policy.
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, async_playwright, expect

from tests.browser.chromium import executable

# A page goes on asking while its test ends the server, and the browser says so: before, or in the middle of an answer.
_SERVER_ENDED = re.compile("ERR_(CONNECTION_(REFUSED|RESET|CLOSED)|EMPTY_RESPONSE|INCOMPLETE_CHUNKED_ENCODING)")
_PATIENCE_MS = 120_000  # a busy machine is no fault of the page
expect.set_options(timeout=_PATIENCE_MS)
_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective));
"""


@dataclass
class Watch:
    """Pages of one browser, and what they did that they should not. `allowed` matches lines that a test provokes."""

    browser: Browser
    allowed: str = "^$"
    faults: list[str] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)

    async def page(self, *, width: int = 1180, height: int = 900, dark: bool = False, still: bool = False,
                   script: bool = True) -> Page:  # fmt: skip
        """A page in a browser of its own: no cookies of another."""
        context = await self.browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce" if still else "no-preference",
            java_script_enabled=script,
        )
        context.set_default_timeout(_PATIENCE_MS)
        self.contexts.append(context)
        if script:
            await context.add_init_script(_VIOLATIONS)
        page = await context.new_page()
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("request", self._asked)
        return page

    async def close(self) -> None:
        """Close everything, and fail the test for what was seen."""
        for context in self.contexts:
            for page in context.pages:
                if page.url.startswith("http"):
                    self.faults += await page.evaluate("window.violations ?? []")
            await context.close()
        assert self.faults == []

    def _said(self, message: ConsoleMessage) -> None:
        if not _SERVER_ENDED.search(message.text) and not re.search(self.allowed, message.text):
            self.faults.append(f"console: {message.text}")

    def _asked(self, request: Request) -> None:
        if urlsplit(request.url).hostname != "127.0.0.1":
            self.faults.append(f"asked {request.url}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        # Root may not use Chromium's sandbox, and the pages are our own.
        browser = await playwright.chromium.launch(
            executable_path=executable(), args=["--no-sandbox"], timeout=_PATIENCE_MS
        )
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def watch(chromium: Browser) -> AsyncIterator[Watch]:
    watching = Watch(chromium)
    yield watching
    await watching.close()
