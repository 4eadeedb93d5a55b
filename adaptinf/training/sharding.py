"""Models that do not fit on one device: `training.fsdp` and `training.deepspeed`, the Trainer's own fields."""

from __future__ import annotations

import difflib
import importlib.util
import json
import os
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from transformers import TrainingArguments

from adaptinf.config import TrainingConfig
from adaptinf.errors import ConfigError
from adaptinf.words import one_line

OWN_FSDP_FIELDS = {
    "version": "sharding is that of FSDP2",
    "state_dict_type": "checkpoints and weights are saved whole",
}
"""Fields of `fsdp_config` that are not taken from `training.fsdp` -> why."""
BY_SIZE = "SIZE_BASED_WRAP"
"""The policy of FSDP that cuts a model up by the number of weights, not by its blocks."""


def sharding(config: TrainingConfig, blocks: list[str] | None = None) -> dict[str, Any]:
    """Return the fields of `TrainingArguments` that say how a model is shared out among devices; none if it is not.

    Args:
        config: settings of the training.
        blocks: names of the classes of the decoder's blocks. Each of these is a unit of FSDP unless the user names
            others; a vision tower is not cut up, as samples without images do not run through it.
    """
    if config.deepspeed:
        return {"deepspeed": config.deepspeed}
    if not config.fsdp:
        return {}
    own = {} if config.fsdp is True else dict(config.fsdp)
    return {"fsdp": True, "fsdp_config": {**({"transformer_layer_cls_to_wrap": blocks} if blocks else {}), **own}}


def sharding_problems(config: TrainingConfig) -> list[str]:
    """Return a line per mistake in the settings of FSDP or DeepSpeed."""
    return _of_deepspeed(config.deepspeed) + (_of_fsdp(config.fsdp) if isinstance(config.fsdp, dict) else [])


def _of_deepspeed(value: str | dict[str, Any] | None) -> list[str]:
    if value is None:
        return []
    found = []
    if importlib.util.find_spec("deepspeed") is None:
        found.append("training.deepspeed needs DeepSpeed; install it: pip install deepspeed")
    try:
        settings = json.loads(Path(value).read_text(encoding="utf-8")) if isinstance(value, str) else value
    except (OSError, ValueError) as error:
        return [*found, f"training.deepspeed: {value} cannot be read as JSON: {one_line(error)}"]
    stage = settings.get("zero_optimization", {}).get("stage") if isinstance(settings, dict) else None
    if stage not in (0, 1, 2):
        found.append(
            f"training.deepspeed: zero_optimization.stage={stage!r} is not taken: samples with and without images run "
            "through different layers, which stage 3 waits for; set 1 or 2, or training.fsdp: true"
        )
    return found


def _of_fsdp(fields: dict[str, Any]) -> list[str]:
    known = known_fsdp_fields()
    found = []
    for name in (str(field).removeprefix("fsdp_") for field in fields):
        if name in OWN_FSDP_FIELDS:
            found.append(f"training.fsdp.{name} is not taken: {OWN_FSDP_FIELDS[name]}")
        elif known and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
            found.append(f"training.fsdp.{name}: the Trainer's fsdp_config for FSDP2 has no such field; {hint}")
    return found or _of_fsdp_values(fields)


def _of_fsdp_values(fields: dict[str, Any]) -> list[str]:
    named = {str(field).removeprefix("fsdp_"): value for field, value in fields.items()}
    if named.get("min_num_params") and named.get("auto_wrap_policy") != BY_SIZE:
        return [f"training.fsdp.min_num_params has no effect without auto_wrap_policy: {BY_SIZE}; set both, or neither"]
    try:
        _process(_Read(named))
    except (ValueError, TypeError) as error:
        return [f"training.fsdp={fields} cannot be used: {one_line(error)}"]
    return []


def known_fsdp_fields() -> set[str]:
    """Return the fields of `fsdp_config` that `TrainingArguments` reads for FSDP2: it ignores all others silently."""
    config = _Read()
    with suppress(Exception):  # of a version of transformers that reads them in another way
        _process(config)
    return {name for name in config.names if not name.startswith("xla")}


class _Read(dict[str, Any]):
    """A dictionary that remembers what it was asked for."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        self.names.add(str(name))
        return super().__contains__(name)


def _process(config: dict[str, Any]) -> None:
    """Have `TrainingArguments` read an `fsdp_config`, without any other argument.

    Raises:
        Exception: a value is refused, or this version reads them in another way.
    """
    before = dict(os.environ)
    try:
        reads: Any = TrainingArguments._process_fsdp_args
        reads(SimpleNamespace(fsdp=True, fsdp_config=config, activation_checkpointing=False))
    finally:
        # It sets variables that would make the next training a sharded one.
        os.environ.clear()
        os.environ.update(before)


def check_resumable(checkpoint: Path, config: TrainingConfig, number: int) -> None:
    """Refuse a checkpoint whose state of the optimiser is shared out in another way than the settings ask for.

    One without sharding can be resumed by any number of devices, and one of FSDP too, under FSDP.

    Raises:
        ConfigError: with what to set.
    """
    names = {path.name for path in checkpoint.iterdir()}
    before = "deepspeed" if "latest" in names else "fsdp" if any("_fsdp" in name for name in names) else "none"
    now = "deepspeed" if config.deepspeed else "fsdp" if config.fsdp else "none"
    ranks = sum(name.startswith("rng_state_") for name in names)
    if before != now:
        was = "without sharding" if before == "none" else f"with training.{before}"
        way_out = f"leave out training.{now}" if before == "none" else f"set training.{before} as it was"
    elif before == "deepspeed" and ranks != number:
        was, way_out = f"by {ranks} devices under training.deepspeed", f"set training.devices: {ranks}"
    else:
        return
    raise ConfigError(
        f"{checkpoint} was written {was}, and can be resumed in that way only; {way_out}, or remove "
        f"{checkpoint.parent} to train this step from its beginning"
    )
