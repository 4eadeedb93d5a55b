"""Images that can no longer be opened when a training needs them: many in a row, and their folder is gone."""

from __future__ import annotations

from dataclasses import dataclass

from adaptinf.errors import DataError

MAX_UNREADABLE_IN_A_ROW = 32
"""Stop after this many consecutive samples with unreadable images: the image folder is probably gone."""


@dataclass
class UnreadableInARow:
    """Counts consecutive samples with images that cannot be opened."""

    count: int = 0
    """So many were the last ones."""

    def note(self, id: str, error: DataError | None) -> None:
        """Count a sample with images; `error` says why one of them cannot be opened, None: all can.

        Raises:
            DataError: too many consecutive ones.
        """
        self.count = 0 if error is None else self.count + 1
        if self.count >= MAX_UNREADABLE_IN_A_ROW:
            raise DataError(
                f"the images of {MAX_UNREADABLE_IN_A_ROW} consecutive samples cannot be opened, the last those of "
                f"{id}: {error}; put the image folder back and run the same command again, or, if it has moved, "
                "name its new place with adaptinf relocate RUN OLD NEW first"
            ) from error
