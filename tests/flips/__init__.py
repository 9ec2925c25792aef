"""Flips under load, with several proxies that are killed and stopped: no acknowledged write may be lost."""
