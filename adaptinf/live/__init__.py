"""A run while it works: what a terminal (`status --watch`) and a page (`view --live`) show, from its files alone."""

from __future__ import annotations

from adaptinf.live.server import serve as serve
from adaptinf.live.watching import Look as Look
from adaptinf.live.watching import Watcher as Watcher
from adaptinf.live.watching import watch as watch
