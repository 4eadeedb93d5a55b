"""The files that loading a model reads: they are the model, whatever else lies in its folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from transformers.utils import (
    CONFIG_NAME,
    MODEL_CARD_NAME,
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
    WEIGHTS_INDEX_NAME,
    WEIGHTS_NAME,
)

from adaptinf.models.folders import ADAPTER_FILE, ADAPTER_WEIGHTS_FILE, json_settings

WEIGHTS = (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME, WEIGHTS_NAME, WEIGHTS_INDEX_NAME)
"""Weights, or the list of their parts, in the order in which transformers looks for them: the first one is loaded."""
ADAPTER_WEIGHTS = (ADAPTER_WEIGHTS_FILE, "adapter_model.bin")
"""The same of a PEFT adapter."""
ARRAYS = frozenset(
    [".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".onnx", ".onnx_data", ".h5", ".msgpack", ".npz", ".npy"]
    + [".ot", ".tflite", ".mlmodel", ".mlpackage", ".engine", ".pkl", ".pickle", ".distcp", ".zip", ".tar", ".gz"]
)
"""Suffixes of files with arrays: those that are not the loaded weights are other forms of them, or of a training."""
DOCUMENTS = frozenset(
    [".md", ".rst", ".pdf", ".html", ".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".mp4", ".wav", ".mp3", ".log"]
    + [".csv", ".tsv", ".parquet", ".arrow", ".jsonl", ".ipynb", ".sh", ".lock", ".part", ".tmp", ".incomplete", ".bak"]
)
"""Suffixes of files for people, data and leftovers."""
CODE = frozenset([".py", ".yaml", ".yml", ".toml", ".cfg", ".ini", ".c", ".cpp", ".cu", ".h"])
"""Suffixes of code and of its settings, which are read where the folder's own code is run only."""
PEOPLE_READ = (
    "readme",
    "license",
    "licence",
    "notice",
    "copying",
    "changelog",
    "requirements",
    "use_policy",
    "authors",
)
"""Beginnings of the names of text files that are no vocabulary."""
TRAINER_STATE = "trainer_state.json"
"""In a folder that a `Trainer` left: a checkpoint of a training."""
OF_TRAINING = (TRAINER_STATE, MODEL_CARD_NAME)
FORMS_OF_WEIGHTS = ("model", "pytorch_model", "tf_model", "flax_model", "consolidated", "optimizer", "scheduler")
MORE_OF_TRAINING = ("rng_state", "scaler", "training_args")


def model_folder(path: str) -> tuple[Path | None, str | None]:
    """Return the folder that a model is loaded from, and for a hub name the commit that is in the local cache.

    No folder: the path does not exist, or the hub's model has not been downloaded yet.
    """
    if Path(path).is_dir():
        return Path(path), None
    if path.startswith((".", "/", "~")) or path.count("/") > 1:
        return None, None
    try:
        found = try_to_load_from_cache(path, CONFIG_NAME)
    except ValueError:  # no name of the hub
        return None, None
    if not isinstance(found, str):
        return None, None
    return Path(found).parent, Path(found).parent.name


def model_files(folder: Path, *, runs_code: bool) -> list[str]:
    """Return the files of a model, relative to its folder: weights, settings, tokenizer, templates, processor.

    Loading reads these and nothing else: of weights in several forms the one that is loaded; no README, hidden file,
    checkpoint of a training or other model in a subfolder. A file of a kind that nobody knows counts.

    Args:
        folder: of the model.
        runs_code: `model.trust_remote_code`: the code counts, and whatever it may read.
    """
    names = {*_loaded(folder, WEIGHTS), *_others(folder, runs_code)}
    for place in sorted(folder.iterdir()):
        if place.is_dir() and not place.name.startswith((".", "__")):
            names |= {f"{place.name}/{name}" for name in _of_subfolder(place, runs_code)}
    return sorted(names)


def files_beside_weights(folder: Path, *, runs_code: bool) -> list[str]:
    """Return the files of a model without its weights and the list of their parts; arguments as of `model_files`."""
    weights = set(_loaded(folder, WEIGHTS))
    return [name for name in model_files(folder, runs_code=runs_code) if name not in weights]


def adapter_files(folder: Path) -> list[str]:
    """Return the files of a PEFT adapter that loading reads, relative to its folder."""
    settings = [ADAPTER_FILE] if (folder / ADAPTER_FILE).is_file() else []
    return sorted({*settings, *_loaded(folder, ADAPTER_WEIGHTS)})


def _loaded(folder: Path, names: tuple[str, ...]) -> Iterator[str]:
    """Yield the weights that are loaded: the first of some names that is there, with the parts that it lists."""
    first = next((name for name in _explicit(folder) + names if (folder / name).is_file()), None)
    if first is None:
        return
    yield first
    if first.endswith(".index.json"):
        yield from sorted(name for name in _parts(folder / first) if (folder / name).is_file())


def _explicit(folder: Path) -> tuple[str, ...]:
    """Return the weights that config.json names itself."""
    named = json_settings(folder / CONFIG_NAME).get("transformers_weights")
    return (named,) if isinstance(named, str) else ()


def _parts(index: Path) -> set[str]:
    places = json_settings(index).get("weight_map")
    return {str(name) for name in places.values()} if isinstance(places, dict) else set()


def _others(folder: Path, runs_code: bool) -> Iterator[str]:
    """Yield the files of a folder that are read, but for the weights."""
    for path in sorted(folder.iterdir()):
        if path.is_file() and _is_read(path.name, runs_code):
            yield path.name


def _is_read(name: str, runs_code: bool) -> bool:
    suffix = Path(name).suffix.lower()
    if name.startswith(".") or not suffix or suffix in DOCUMENTS or name.endswith("~"):
        return False
    if name in WEIGHTS or name in OF_TRAINING or name.endswith(("_results.json", ".index.json")):
        return False
    if suffix in ARRAYS:
        return runs_code and not name.startswith(FORMS_OF_WEIGHTS + MORE_OF_TRAINING)
    if suffix in CODE:
        return runs_code
    return not (suffix == ".txt" and name.lower().startswith(PEOPLE_READ))


def _of_subfolder(folder: Path, runs_code: bool) -> Iterator[str]:
    """Yield the files of a subfolder that are read: templates, parts of a processor; all that code may read."""
    names = [path.name for path in folder.iterdir() if path.is_file()]
    if TRAINER_STATE in names:
        return
    if runs_code:
        yield from _others(folder, runs_code)
        for place in sorted(folder.iterdir()):
            if place.is_dir() and not place.name.startswith((".", "__")):
                yield from (f"{place.name}/{name}" for name in _of_subfolder(place, runs_code))
        return
    # Another model, or another form of this one, has weights; a part of a processor has settings, or is a template.
    is_other = any(Path(name).suffix.lower() in ARRAYS for name in names)
    if not is_other and any(name.endswith((".jinja", "config.json")) for name in names):
        yield from _others(folder, runs_code)
