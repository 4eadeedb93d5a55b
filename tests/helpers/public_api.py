"""The public functions and what their signatures promise."""

from __future__ import annotations

SIGNATURES = {
    "adaptinf.formats:read": ["path", "format=None", "images=None"],
    "adaptinf.formats:write": ["samples", "path", "format"],
    "adaptinf.models:load": ["config"],
    "adaptinf.extraction:extract": ["samples", "learner", "config", "*out", "*executor=None"],
    "adaptinf.clustering:cluster": ["vectors", "*ids", "*clusters='auto'", "*seed=0"],
    "adaptinf.selection:allocate": ["sizes", "budget", "*seed=0"],
    "adaptinf.selection:select": [
        "scores", "labels", "ids", "budget", "*method='adapt'", "*seed=0", "*vectors=None", "*embeddings=None",
        "*centers=None", "*distances=None", "*arrived=None", "*skills=None", "**options",
    ],
    "adaptinf.pruning:prune": [
        "embeddings", "labels", "ids", "cap", "*seed=0", "*order='greedy'", "*allocation='balanced'",
    ],
    "adaptinf.evaluation.metrics:average_accuracy": ["matrix"],
    "adaptinf.evaluation.metrics:relative_gain": ["matrix", "reference"],
    "adaptinf.evaluation.metrics:forgetting_rate": ["matrix", "introduced_at"],
    "adaptinf.evaluation.metrics:forward_transfer": ["matrix", "introduced_at"],
    "adaptinf.evaluation.metrics:backward_transfer": ["matrix", "introduced_at"],
    "adaptinf.pipeline:run_step": ["run", "step"],
    "adaptinf.report:write_report": ["run_folders", "out"],
}  # fmt: skip
"""DESIGN section 4: `*` marks keyword-only parameters. More optional ones may follow."""
