"""A worker process: `python -m adaptinf.worker DESCRIPTOR PARENT`, started by the executors, never by hand."""

from __future__ import annotations

import sys

from adaptinf.executors.worker_process import serve

if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
