"""The two things that `adaptinf verify` writes: folders that can be made again are removed, others get checksums."""

from __future__ import annotations

from pathlib import Path

from adaptinf.errors import AdaptError
from adaptinf.pool.intake import STAGE as POOL_STAGE
from adaptinf.pool.relocation import moves
from adaptinf.progress import Progress
from adaptinf.runs import Run, making_again
from adaptinf.runs.stream import content_of_source
from adaptinf.storage import checksums, sealed_text, store
from adaptinf.verify.examination import Examination, known_content
from adaptinf.verify.recipes import Recipes
from adaptinf.verify.way_out import is_removable, recipes_of


def remove_damaged(run: Run, found: Examination, progress: Progress) -> tuple[list[Path], Recipes]:
    """Remove the damaged folders that can be made again; return them, and what is true of the others.

    A dataset is removed only after its file was read once more and gave the same rows. Changes `found`.
    """
    datasets = [place for place in found.reading.problems if place.stage == POOL_STAGE]
    likely = recipes_of(run, found)
    sources = {
        place.step: why
        for place in datasets
        if likely.obstacle(place) is None and (why := _other_rows(run, found, place.step, progress))
    }
    recipes = recipes_of(run, found, sources)
    removed = list[Path]()
    for place, problems in list(found.reading.problems.items()):
        if is_removable(place, problems, recipes):
            folder = place.folder(run)
            making_again.remove(folder)
            removed.append(folder)
            del found.reading.problems[place]
            found.places.remove(place)
            found.lost.append(place)
    return removed, recipes


def _other_rows(run: Run, found: Examination, step: int, progress: Progress) -> str | None:
    """Return why the file of a dataset does not make its folder again; None: it gives the same rows."""
    wanted, path = known_content(run, found, step), run.config.stream[step].path
    try:
        with run.plugins():
            given = content_of_source(run, step, progress, like=wanted)
    except (AdaptError, OSError) as error:
        return f"its file {path} cannot be read ({error})"
    if wanted in (given, None):
        return None
    # A row has the absolute paths of its images, as they were when it arrived.
    hints = [
        f"images that were in {move.old} when it arrived must be there again (a copy, no link), and "
        f"{run.config_file} name that folder, for the repair"
        for move in moves(run.pool_folder)
    ]
    return "; ".join([f"its file {path} gives other rows now", *hints[:1]])


def adopt_unchecked(run: Run, found: Examination) -> None:
    """Write checksums for the folders that have none, and whose files can be loaded. Changes `found`."""
    reading = found.reading
    for place in found.places:
        folder = place.folder(run)
        if place not in reading.unjudged and (folder not in reading.unchecked or place in reading.problems):
            continue
        if place in reading.unjudged:
            (folder / checksums.CHECKSUMS).unlink(missing_ok=True)
        if place not in reading.problems:
            reading.adopted[folder] = checksums.adopt(folder).adopted or ""
            reading.unjudged.pop(place, None)
            reading.num_folders += 1
            reading.unchecked[:] = [path for path in reading.unchecked if path != folder]
    path = run.pinned_config_file
    if path in reading.unchecked:
        store.write_text_whole(path, sealed_text.sealed(path.read_text(encoding="utf-8")))
        reading.unchecked.remove(path)
