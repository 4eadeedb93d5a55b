"""What a model is: the bytes of its files, whatever their place and their times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xxhash

from adaptinf.config import RunConfig
from adaptinf.progress import Progress
from adaptinf.storage.digests import FileState, file_digest, file_state, known_digest

SHOWN_FROM = 2**28
"""Bytes to hash from which a progress bar is shown: a tenth of a second."""
MEGABYTE = 10**6
SHOWN_FILES = 4
"""Files that a message names at most."""
SHOWN_DIGITS = 12
"""Digits of a hash that a message shows."""


@dataclass(frozen=True, kw_only=True)
class ModelIdentity:
    """The content of one model's files."""

    path: str
    """Where it was found: the setting's value."""
    commit: str | None
    """For a name of the hub, the commit in the local cache."""
    files: Mapping[str, str]
    """Name in the folder -> hash."""
    states: Mapping[str, FileState] = field(default_factory=dict, compare=False)
    """Name -> state of the file when it was hashed."""

    @property
    def digest(self) -> str:
        """Hash of names and contents of all files."""
        text = "".join(f"{name}\n{self.files[name]}\n" for name in sorted(self.files))
        return xxhash.xxh3_64_hexdigest(text.encode())

    @property
    def shown(self) -> str:
        """The digest as messages show it, with the commit."""
        return self.digest[:SHOWN_DIGITS] + (f" (commit {self.commit[:SHOWN_DIGITS]})" if self.commit else "")

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "path": self.path,
            "commit": self.commit,
            "digest": self.digest,
            "files": dict(self.files),
            "states": {name: list(state) for name, state in self.states.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ModelIdentity:
        """Return what `as_json` gave."""
        return cls(
            path=str(value["path"]),
            commit=value["commit"],
            files=dict(value["files"]),
            states={name: (*map(int, state),) for name, state in value["states"].items()},  # type: ignore[misc]
        )

    def differences(self, now: ModelIdentity) -> list[str]:
        """Return a phrase per file that differs; none for the same model."""
        names = sorted({*self.files, *now.files})
        if self.commit is not None and self.commit == now.commit:
            # More files of the same commit may have been downloaded since.
            names = [name for name in names if name in self.files and name in now.files]
        found = []
        for name in names:
            if name not in now.files:
                found.append(f"{name} is gone")
            elif name not in self.files:
                found.append(f"{name} is new")
            elif self.files[name] != now.files[name]:
                found.append(f"{name} differs")
        return found


def identities(settings: RunConfig, known: Mapping[str, ModelIdentity], progress: Progress) -> dict[str, ModelIdentity]:
    """Return setting -> identity of each model that a run starts from; those that are not there are left out.

    A file whose state is that of a `known` identity is not read.
    """
    places = _places(settings)
    total = sum(_unread_bytes(folder, names, known.get(key)) for key, (folder, _, names) in places.items())
    if total < SHOWN_FROM:
        return _hashed(settings, places, known, None)
    with progress.stage("hash the model", total // MEGABYTE, unit="MB") as bar:
        read = [0]

        def on_read(count: int) -> None:
            before, read[0] = read[0] // MEGABYTE, read[0] + count
            bar.advance(read[0] // MEGABYTE - before)

        return _hashed(settings, places, known, on_read)


Places = dict[str, tuple[Path, str | None, list[str]]]


def _places(settings: RunConfig) -> Places:
    """Return setting -> folder, commit and names of the files of each model that is there."""
    from adaptinf.models.files import adapter_files, model_files, model_folder

    found: Places = {}
    model = settings.model
    for key, path in (("model.path", model.path), ("extraction.model", settings.extraction.model)):
        folder, commit = model_folder(path) if path else (None, None)
        if folder is not None:
            found[key] = folder, commit, model_files(folder, runs_code=model.trust_remote_code)
    if model.adapter is not None and Path(model.adapter).is_dir():
        found["model.adapter"] = Path(model.adapter), None, adapter_files(Path(model.adapter))
    return {key: place for key, place in found.items() if place[2]}


def _unread_bytes(folder: Path, names: list[str], known: ModelIdentity | None) -> int:
    states = {name: file_state(folder / name) for name in names}
    unknown = [name for name, state in states.items() if _digest_in(known, name, state) is None]
    return sum(states[name][0] for name in unknown if known_digest(folder / name) is None)


def _digest_in(known: ModelIdentity | None, name: str, state: FileState) -> str | None:
    return known.files.get(name) if known is not None and known.states.get(name) == state else None


def _hashed(
    settings: RunConfig,
    places: Places,
    known: Mapping[str, ModelIdentity],
    on_read: Callable[[int], None] | None,
) -> dict[str, ModelIdentity]:
    paths = {
        "model.path": settings.model.path,
        "extraction.model": settings.extraction.model,
        "model.adapter": settings.model.adapter,
    }
    found = {}
    for key, (folder, commit, names) in places.items():
        states = {name: file_state(folder / name) for name in names}
        files = {
            name: _digest_in(known.get(key), name, state) or file_digest(folder / name, on_read)
            for name, state in states.items()
        }
        found[key] = ModelIdentity(path=str(paths[key]), commit=commit, files=files, states=states)
    return found


def listed(differences: list[str]) -> str:
    """Return the first differences as text, with the number of the others."""
    more = len(differences) - SHOWN_FILES
    return ", ".join(differences[:SHOWN_FILES]) + (f" and {more} more" if more > 0 else "")
