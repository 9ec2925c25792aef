"""The console: one page for those who decide on a cutover, and for the engineer who is called at 3 a.m.

Rendered on the server for any browser, with or without JavaScript. It reads and moves the stages through the same
service as the admin port's API, and decides nothing itself.
"""
