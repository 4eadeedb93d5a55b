"""Which plug-ins a process works with, small enough to be sent to another process that must work with the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """The plug-ins of one scope; equal in two processes that have the same ones."""

    files: Mapping[str, str]
    """Path -> SHA-256 of each plug-in file, in the order in which they were loaded."""
    names: Mapping[str, tuple[str, ...]]
    """Kind -> names of all plug-ins, sorted."""
    packages: tuple[str, ...]
    """Name and version of each installed package that brings plug-ins."""

    def changed_files(self) -> list[str]:
        """Return the plug-in files that are gone, or have another content by now."""
        return [path for path, digest in self.files.items() if _digest(Path(path)) != digest]

    def difference(self, worker: Fingerprint) -> str:
        """Return what differs in a worker process, in a phrase; empty if nothing does."""
        if self.packages != worker.packages:
            own, other = (", ".join(packages) or "none" for packages in (self.packages, worker.packages))
            return f"it has the plug-in packages {other}, the process that started it {own}"
        for kind in sorted({*self.names, *worker.names}):
            mine, theirs = set(self.names.get(kind, ())), set(worker.names.get(kind, ()))
            if mine - theirs:
                return f"it lacks the {kind}s {', '.join(sorted(mine - theirs))}"
            if theirs - mine:
                return f"it has the additional {kind}s {', '.join(sorted(theirs - mine))}"
        return ""


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
