"""The console: one page for whoever decides on a cutover, and for whoever is called at 3 a.m.

Rendered here, shown by any browser, with or without JavaScript. It asks the same questions and makes the same moves as
the admin port's API, and decides nothing by itself.
"""

from aiohttp import web

from proxy.admin.console.pages import Console, Keys, Pages

__all__ = ["Console", "Keys", "routes"]


def routes(app: web.Application, console: Console) -> None:
    """Put the console's pages and files into the admin port's application, at `/`."""
    pages = Pages(console)
    app.router.add_get("/", pages.home)
    app.router.add_get("/sign-in", pages.sign_in_form)
    app.router.add_post("/sign-in", pages.sign_in)
    app.router.add_post("/sign-out", pages.sign_out)
    app.router.add_get("/move", pages.ask)
    app.router.add_post("/move", pages.move)
    app.router.add_get("/console/{tag}/{name}", pages.assets.serve)
