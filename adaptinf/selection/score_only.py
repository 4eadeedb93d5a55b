"""Former place of `compare_scorer`: plug-ins written for version 0.1 import it from here."""

from adaptinf.selection.methods.score_only import compare_scorer

__all__ = ["compare_scorer"]
