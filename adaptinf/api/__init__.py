"""One function per command, for notebooks, servers and the command line: each returns an object and prints nothing.

Options are named as on the command line (`--set` is `settings`, or `options` of a method); paths may be text; a
`progress` is told what happens (docs/python.md). A caller's mistake is raised as `errors.AdaptError`, a full disk as
`OSError`. Heavy libraries are imported by the functions that need them.
"""

from __future__ import annotations

from adaptinf.api.changes import accept, relocate
from adaptinf.api.checking import verify
from adaptinf.api.comparing import compare, demo
from adaptinf.api.results import exclude, explain, explain_test, export, export_model, report, restore, withdraw
from adaptinf.api.running import add, init, run, status, step, watch
from adaptinf.api.tools import doctor, inspect, list_plugins, select, validate
from adaptinf.api.viewing import export_view, view, view_live

__all__ = [
    "accept",
    "add",
    "compare",
    "demo",
    "doctor",
    "exclude",
    "explain",
    "explain_test",
    "export",
    "export_model",
    "export_view",
    "init",
    "inspect",
    "list",
    "list_plugins",
    "relocate",
    "report",
    "restore",
    "run",
    "select",
    "status",
    "step",
    "validate",
    "verify",
    "view",
    "view_live",
    "watch",
    "withdraw",
]

# Last: in the lines above `list` is Python's own.
list = list_plugins
