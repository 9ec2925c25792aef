"""The routes of the console's pages and files, at `/` of the admin port."""

from aiohttp import web

from proxy.admin.console.pages import Console, Pages


def routes(app: web.Application, console: Console) -> None:
    """Add the console's routes to the admin port's application."""
    pages = Pages(console)
    app.router.add_get("/", pages.home)
    app.router.add_get("/sign-in", pages.sign_in_form)
    app.router.add_post("/sign-in", pages.sign_in)
    app.router.add_post("/sign-out", pages.sign_out)
    app.router.add_get("/move", pages.ask)
    app.router.add_post("/move", pages.move)
    app.router.add_get("/console/{tag}/{name}", pages.assets.serve)
