"""What an interrupted `validate` has counted: the next call with the same files and options goes on from there.

One file per chunk in a folder of the user's cache that only this user can write; a finished call removes it.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from adaptinf import __version__, registry
from adaptinf.errors import StoreError
from adaptinf.formats.reading import Reading
from adaptinf.sources import fingerprints
from adaptinf.sources.chunks import Chunk
from adaptinf.storage import cache, lock
from adaptinf.storage.tables import as_json_text

KIND = "validate"
SUFFIX = ".tally"
# In the text of an object; it is another one in every process.
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


@contextmanager
def counting_folder(reading: Reading, options: Any, *, is_kept: bool) -> Iterator[Path]:
    """Yield the folder for what is counted of each chunk: one that outlives a kill if `is_kept` and there can be one.

    `options` is what else the counts depend on. A folder of the cache is removed at the end of the block, unless an
    error ends it; another process that counts the same has one of its own.
    """
    folder = cache.own_folder(KIND, _key(reading, options)) if is_kept else None
    if folder is not None:
        try:
            with lock.held(folder):
                yield folder
                cache.remove(folder)
            return
        except StoreError as error:
            if "is in use by process" not in str(error):
                raise
    with tempfile.TemporaryDirectory(prefix="adaptinf-validate-") as name:
        yield Path(name)


def _key(reading: Reading, options: Any) -> str:
    """Return a digest of all that the counts depend on: files, format, settings, plug-ins, this version."""
    made_of: Mapping[str, Any] = {
        "adaptinf": __version__,
        "files": fingerprints(reading.found),
        "rows": [shard.members_hash for shard in reading.found.shards],
        "chunks": [[chunk.shard, chunk.part] for chunk in reading.chunks],
        "format": _ADDRESS.sub("", repr(reading.plugin)),
        "plugins": dict(registry.fingerprint().files),
        "folders": [str(folder.absolute()) for folder in (*reading.folders, *reading.roots)],
        "images": [reading.check_images, reading.max_pixels],
        "max_row_bytes": reading.max_row_bytes,
        "source": reading.source,
        "options": options,
    }
    return hashlib.sha256(as_json_text(made_of).encode("utf-8")).hexdigest()[:32]


def keep(folder: Path, chunk: Chunk, tally: object) -> None:
    """Write down what was counted of a chunk whose ids are in their file."""
    path = folder / f"{chunk.number}{SUFFIX}"
    draft = path.with_suffix(".part")
    with suppress(OSError):  # a full disk: the chunk would be counted again
        draft.write_bytes(pickle.dumps(tally))
        draft.replace(path)


# Any: the type of what is kept is the caller's.
def kept(folder: Path, chunk: Chunk) -> Any:
    """Return what a killed call has kept of a chunk; None where it has kept nothing."""
    try:
        return pickle.loads((folder / f"{chunk.number}{SUFFIX}").read_bytes())
    except (OSError, EOFError, pickle.UnpicklingError):
        return None
