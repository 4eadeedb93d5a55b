"""Selectors: one file per method, each a plug-in."""
