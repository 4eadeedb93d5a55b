"""The sections of stream.yaml; the line under each field is its help, and its comment in a written config.yaml."""

from __future__ import annotations

from adaptinf.config.schema.data import (
    MAX_ROW_BYTES,
    ColumnsConfig,
    DataConfig,
    DatasetConfig,
    SourceConfig,
    folder_list,
)
from adaptinf.config.schema.evaluation import HARNESS_KEYS, GateConfig, SkillConfig
from adaptinf.config.schema.model import LoraConfig, ModelConfig
from adaptinf.config.schema.run import MadeBy, RayConfig, RunConfig
from adaptinf.config.schema.section import Section
from adaptinf.config.schema.stages import (
    NAMED_OPTIONS,
    ClusteringConfig,
    ExtractionConfig,
    PruningConfig,
    SelectionConfig,
    TokenSet,
)
from adaptinf.config.schema.training import UNUSED_ARGUMENTS, TrainingConfig

__all__ = [
    "ClusteringConfig",
    "ColumnsConfig",
    "DataConfig",
    "DatasetConfig",
    "ExtractionConfig",
    "GateConfig",
    "HARNESS_KEYS",
    "LoraConfig",
    "MAX_ROW_BYTES",
    "MadeBy",
    "ModelConfig",
    "NAMED_OPTIONS",
    "PruningConfig",
    "RayConfig",
    "RunConfig",
    "Section",
    "SelectionConfig",
    "SkillConfig",
    "SourceConfig",
    "TokenSet",
    "TrainingConfig",
    "UNUSED_ARGUMENTS",
    "folder_list",
]
