"""`training.command`: what is wrong with it before a run starts, and the settings that it leaves without effect."""

from __future__ import annotations

from pathlib import Path

from adaptinf.config import LoraConfig, RunConfig, TrainingConfig
from adaptinf.errors import ConfigError
from adaptinf.formats.writing import format_to_write
from adaptinf.outside import Command, seconds_of

PLACE = "training.command"
PLACEHOLDERS = (
    "data", "images", "model", "adapter", "output", "checkpoints", "seed", "epochs", "learning_rate", "step",
)  # fmt: skip
"""What a command may name in braces; docs/trainers.md says what each stands for."""
PASSED = ("epochs", "learning_rate")
"""Settings of the training that a command gets by a placeholder."""
CHECKED = ("tune", "adapter", "command", "format", "timeout")
"""Settings of the training that say how the command is used; all others are the built-in trainer's."""
MEASURED = ("rank", "alpha", "target_modules", "exclude_modules", "experts")
"""Settings of `model.lora` that the first step is measured with; the trainer has its own."""
NEW_ADAPTER = "pass {adapter}, or set training.adapter: merge"
"""What to do where a trainer begins a new adapter at each step."""


def command_of(config: RunConfig) -> Command | None:
    """Return the run's own trainer; None: it is the built-in one.

    Raises:
        ConfigError: its text is no command.
    """
    text = config.training.command
    return None if text is None else Command.parse(text, place=PLACE, known=PLACEHOLDERS)


def folder_of(config: RunConfig) -> Path:
    """Return the folder in which outside commands start."""
    return Path(config.commands_folder or ".").absolute()


def timeout_of(config: RunConfig) -> float | None:
    """Return the seconds that one run of the command may take; None: any."""
    return None if config.training.timeout is None else seconds_of(config.training.timeout)


def problems(config: RunConfig) -> list[str]:
    """Return a line per mistake in the settings of an outside trainer; none where the trainer is the built-in one."""
    training = config.training
    if training.command is None:
        default = TrainingConfig()
        unused = [name for name in ("format", "timeout") if getattr(training, name) != getattr(default, name)]
        return [f"training.{name} has no effect without training.command; leave it out" for name in unused]
    found = []
    try:
        format_to_write(training.format)
    except ConfigError as error:
        found.append(f"training.format: {error}")
    folder = folder_of(config)
    if not folder.is_dir():
        return [*found, f"commands_folder: {folder} does not exist; name the folder that {PLACE} starts in"]
    try:
        command = command_of(config)
    except ConfigError as error:
        return [*found, str(error)]
    assert command is not None, "its text is there"
    found += [line for line in (command.program_problem(folder),) if line]
    return [*found, *_lacking(config, command), *_without_effect(config, command)]


def _lacking(config: RunConfig, command: Command) -> list[str]:
    """Return a line per placeholder without which the steps could not go on from each other."""
    named, training = command.placeholders, config.training
    found = []
    if not named & {"data", "images"}:
        found.append(f"{PLACE} has no {{data}}, so it cannot train on what was selected; pass it to the trainer")
    if "output" not in named:
        found.append(f"{PLACE} has no {{output}}, the folder that the weights are expected in; pass it to the trainer")
    if len(config.stream) < 2:
        return found
    is_continued = training.tune == "lora" and training.adapter == "continue"
    if is_continued and "adapter" not in named:
        found.append(f"{PLACE} has no {{adapter}}, so every step would begin a new adapter; {NEW_ADAPTER}")
    if not is_continued and "model" not in named:
        found.append(f"{PLACE} has no {{model}}, so every step would begin at the base model; pass it to the trainer")
    return found


def _without_effect(config: RunConfig, command: Command) -> list[str]:
    """Return a line per setting that was changed and that the command does not get: it would be ignored in silence."""
    training, default = config.training, TrainingConfig()
    changed = [
        name
        for name in TrainingConfig.model_fields
        if name not in CHECKED and getattr(training, name) != getattr(default, name)
    ]
    found = [
        f"training.{name}={getattr(training, name)!r} does not reach {PLACE}; write {{{name}}} where it takes it"
        for name in changed
        if name in PASSED and name not in command.placeholders
    ]
    found += [
        f"training.{name}={getattr(training, name)!r} has no effect with {PLACE}; leave it out, and give it to your "
        "trainer in the command"
        for name in changed
        if name not in PASSED
    ]
    model = config.model
    if model.projector != "frozen" and training.tune == "lora":
        found.append(f"model.projector={model.projector!r} has no effect with {PLACE}; let your trainer train it")
    given = model.lora if model.adapter is None else LoraConfig()
    found += [
        f"model.lora.{name}={getattr(given, name)!r} has no effect with {PLACE}; give it to your trainer"
        for name in LoraConfig.model_fields
        if name not in MEASURED and getattr(given, name) != getattr(LoraConfig(), name)
    ]
    return found
