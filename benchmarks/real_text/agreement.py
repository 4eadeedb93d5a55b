"""Agreement of clusters with the true tasks: of k-means, and of small clusters joined as `adapt_plus` joins them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adaptinf.arrays.budgets import allocate
from adaptinf.clustering import cluster
from adaptinf.selection.methods.adapt_plus import joint_clusters

SMALL_PER_JOINT = 10
"""Small clusters for each joint one, as in `adapt_plus`."""
JOINT_PER_TASK = 30 / 27
"""Joint clusters for each true task: those of `adapt_plus` on mini-liit."""
BUDGET = 0.09
"""Share of the samples in the equal draw, as in a step of real-text's `small`."""
SEEDS = range(3)
"""Seeds of k-means that every number is the mean of."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What clusters of one kind of vector follow; means over seeds of k-means."""

    ari: float
    """Adjusted Rand index with the tasks, of as many clusters of k-means as there are tasks."""
    ami: float
    """Adjusted mutual information, likewise."""
    joined_ari: float
    """Adjusted Rand index of small clusters that are joined."""
    joined_ami: float
    """Adjusted mutual information of them."""
    answer_ami: float
    """Adjusted mutual information of the small clusters with the text of the answer."""
    rare_share: float
    """Share of rare tasks in an equal draw over the joint clusters."""
    spread: float
    """Standard deviation of `joined_ari` over the seeds of k-means."""


def agreement(
    vectors_ND: np.ndarray, ids: Sequence[str], tasks: Sequence[str], answers: Sequence[str], rare: frozenset[str]
) -> Agreement:
    """Return the agreement of clusters of the vectors with the tasks of the samples."""
    found = np.array([_of_seed(vectors_ND, ids, tasks, answers, rare, seed) for seed in SEEDS])
    means = found.mean(axis=0).tolist()
    names = ("ari", "ami", "joined_ari", "joined_ami", "answer_ami", "rare_share")
    values = {name: round(value, 4) for name, value in zip(names, means, strict=True)}
    return Agreement(**values, spread=round(float(found[:, 2].std(ddof=1)), 4))


def _of_seed(
    vectors_ND: np.ndarray,
    ids: Sequence[str],
    tasks: Sequence[str],
    answers: Sequence[str],
    rare: frozenset[str],
    seed: int,
) -> tuple[float, ...]:
    from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

    num_tasks = len(set(tasks))
    num_joint = round(JOINT_PER_TASK * num_tasks)
    whole = cluster(vectors_ND, ids=ids, clusters=num_tasks, seed=seed)
    # Never so many that the average cluster has fewer than two samples.
    small = cluster(vectors_ND, ids=ids, clusters=min(SMALL_PER_JOINT * num_joint, len(ids) // 2), seed=seed)
    joint_K = joint_clusters(small.centers, np.bincount(small.labels, minlength=len(small.centers)), num_joint)
    joint_N = joint_K[small.labels]
    return (
        adjusted_rand_score(tasks, whole.labels),
        adjusted_mutual_info_score(tasks, whole.labels),
        adjusted_rand_score(tasks, joint_N),
        adjusted_mutual_info_score(tasks, joint_N),
        adjusted_mutual_info_score(answers, small.labels),
        rare_share(joint_N, np.array([task in rare for task in tasks]), round(BUDGET * len(ids)), seed),
    )


def rare_share(labels_N: np.ndarray, is_rare_N: np.ndarray, budget: int, seed: int = 0) -> float:
    """Return the expected share of rare tasks in a draw that gives every cluster the same."""
    sizes_K = np.bincount(labels_N)
    rare_K = np.bincount(labels_N, weights=is_rare_N.astype(np.float64))
    shares_K = allocate(sizes_K, budget, seed=seed)
    return float((shares_K * rare_K / np.maximum(1, sizes_K)).sum() / max(1, shares_K.sum()))
