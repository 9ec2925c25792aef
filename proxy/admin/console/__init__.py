"""The console: one page for whoever decides on a cutover, and for whoever is called at 3 a.m.

Rendered here, shown by any browser, with or without JavaScript. It asks the same questions and makes the same moves as
the admin port's API, and decides nothing by itself.
"""
