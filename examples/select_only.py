"""Cluster, select and prune 600 synthetic samples from arrays, without a model and without torch.

python examples/select_only.py
"""

from __future__ import annotations

import numpy as np

from adaptinf.clustering import cluster
from adaptinf.pruning import prune
from adaptinf.selection import select


def main() -> None:
    """Select 60 of 600 samples, then prune the pool to 240."""
    rng = np.random.default_rng(0)
    ids = [f"synthetic/{number:03d}" for number in range(600)]
    skills = np.repeat([0, 1, 2], [450, 120, 30])  # large, medium and rare
    vectors = rng.standard_normal((3, 64))[skills] + 0.3 * rng.standard_normal((600, 64))
    scores = {"perplexity": rng.gamma(2.0, size=600) + skills, "el2n": rng.uniform(0.0, 1.4, size=600)}

    clusters = cluster(vectors, ids=ids, clusters=3, seed=0)
    chosen = select(scores, clusters.labels, ids, budget=60, method="adapt", scorers=["perplexity", "el2n"], seed=0)
    table = chosen.clusters
    print("cluster  size  budget  scorer")
    for row in zip(table["cluster"], table["size"], table["budget"], table["scorer"], strict=True):
        print(f"{row[0]:>7}  {row[1]:>4}  {row[2]:>6}  {row[3]}")
    print(f"chosen: {len(chosen.ids)} ids, the first {', '.join(chosen.ids[:3])}")

    pruning = prune(vectors, clusters.labels, ids, cap=240, seed=0)
    nearest = pruning.similarity[0]
    print(
        f"pruned: {len(pruning.removed)} leave, {len(pruning.kept)} stay; the first to leave has cosine {nearest:.3f}"
    )


if __name__ == "__main__":
    main()
