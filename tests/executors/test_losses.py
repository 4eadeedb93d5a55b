"""A shard that ends every worker is an error that names the shard and its samples, in every stage that has workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from adaptinf.clustering import cluster
from adaptinf.config import ExtractionConfig, SkillConfig
from adaptinf.errors import StoreError
from adaptinf.evaluation.generation import generate
from adaptinf.evaluation.skills import SkillTest
from adaptinf.executors import LostShard, named_losses
from adaptinf.extraction import extract
from adaptinf.pruning import prune
from tests.helpers.conversations import conversation, say

IDS = [f"some/{number:02d}" for number in range(40)]
ROWS = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float16)


@dataclass
class Losing:
    """Works here, and loses each shard that a function of some name is to be called on."""

    name: str
    is_in_process = True

    @contextmanager
    def open(self, work: Any) -> Iterator[Any]:
        with work.open() as self.tool:
            yield self

    def map(self, function: Callable[[Any, Any], Any], shards: Iterable[Any]) -> Iterator[Any]:
        for shard in shards:
            if function.__qualname__ == self.name:
                raise LostShard(f"3 workers died at {str(shard)[:30]}", shard)
            yield function(self.tool, shard)

    def close(self) -> None:
        pass


def test_a_few_samples_are_named_and_the_rest_is_counted():
    with (
        pytest.raises(LostShard, match="^3 workers died at 4; its samples: a, b, c, d, e and 2 more$") as caught,
        named_losses(list),
    ):
        raise LostShard("3 workers died at 4", "abcdefg")
    assert caught.value.shard == "abcdefg" and isinstance(caught.value, StoreError)


def test_clustering_names_the_rows_that_were_assigned():
    with pytest.raises(LostShard, match="its samples: some/00, some/01, some/02, some/03, some/04 and 35 more"):
        cluster(ROWS, ids=IDS, clusters=2, executor=Losing("Assigner.assign"))


@pytest.mark.parametrize("function", ["PruneWork.remove", "PruneWork.nearest_kept"])
def test_pruning_names_the_clusters_and_their_samples(function):
    labels = np.arange(40) % 2
    with pytest.raises(LostShard, match="3 workers died at clusters 0, 1; its samples: some/[0-9]+, .* more"):
        prune(ROWS, labels, IDS, 20, executor=Losing(function))


def test_extraction_and_evaluation_name_the_samples_that_a_worker_had(learner, tmp_path):
    samples = [conversation(id, say("user", "hi"), say("assistant", "ho")) for id in IDS[:2]]
    with pytest.raises(LostShard, match="its samples: test/some/0[01], test/some/0[01]$"):
        extract(samples, learner, ExtractionConfig(), out=tmp_path, executor=Losing("Extractor.measure"))
    test = SkillTest(config=SkillConfig(skill="greeting", path="x.json"), items=samples, rejected=[])
    with pytest.raises(LostShard, match="its samples: test/some/0[01], test/some/0[01]$"):
        generate(learner, [test], executor=Losing("_answer"))
