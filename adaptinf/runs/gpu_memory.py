"""How full the GPUs of this machine are, for the heartbeat of a run; nothing is loaded or begun for it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

from adaptinf.runs.heartbeat import Gpu

TIMEOUT_SECONDS = 5.0
"""A driver that takes longer is not asked again."""
MEBIBYTE = 2**20
QUERY = ("--query-gpu=name,memory.used,memory.total", "--format=csv,noheader,nounits")


class GpuMemory:
    """Asks for the memory of all GPUs: the driver's own command, else what torch has taken in this process."""

    def __init__(self) -> None:
        """Look for the driver's command."""
        self._command = shutil.which("nvidia-smi")

    def now(self) -> tuple[Gpu, ...]:
        """Return the memory of each GPU; empty where nothing can be asked."""
        if self._command is not None:
            try:
                said = subprocess.run([self._command, *QUERY], capture_output=True, text=True, check=True,
                                      timeout=TIMEOUT_SECONDS, stdin=subprocess.DEVNULL)  # fmt: skip
                return tuple(_gpus_in(said.stdout))
            except (OSError, subprocess.SubprocessError, ValueError):
                self._command = None
        with suppress(RuntimeError):  # a GPU that has failed, which the run itself will say
            return tuple(_seen_by_torch())
        return ()


def _gpus_in(text: str) -> Iterator[Gpu]:
    """Yield the GPUs in the driver's answer, one a line: name, used and total mebibytes."""
    for line in text.splitlines():
        name, used, total = (part.strip() for part in line.rsplit(",", 2))
        if used.isdigit() and total.isdigit():  # "[N/A]" where memory is shared with the processor
            yield Gpu(name=name, used_bytes=int(used) * MEBIBYTE, total_bytes=int(total) * MEBIBYTE)


def _seen_by_torch() -> Iterator[Gpu]:
    """Yield what this process has taken of each GPU, if it uses any; torch is not imported for it."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        yield Gpu(name=properties.name, used_bytes=torch.cuda.memory_reserved(number),
                  total_bytes=properties.total_memory)  # fmt: skip
