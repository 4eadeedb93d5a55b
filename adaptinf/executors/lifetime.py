"""Child processes end with their parent, however it ends: work that nobody waits for must not hold a run's lock."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

PR_SET_PDEATHSIG = 1
"""Number of the option in Linux's prctl.h: the signal that a process gets when its parent dies."""
POLL_SECONDS = 0.2
"""How often a child looks for its parent."""


def end_with_parent(parent: int) -> None:
    """Make this process end when its parent ends.

    On Linux the operating system kills it at once, whatever it computes. Elsewhere, and where the parent was gone
    before this call, a thread sees that it has another parent.

    Args:
        parent: process id of the parent, which started this process and waits for it in the same thread.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os._exit(1)
