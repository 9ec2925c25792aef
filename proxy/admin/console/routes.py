"""Where the console's pages and files are found: at `/` of the admin port's application."""

from aiohttp import web

from proxy.admin.console.pages import Console, Pages


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
