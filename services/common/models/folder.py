"""The model's files: found, or converted once into the cache."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path

from services.common.lora.checks import model_name
from services.common.lora.safetensors import shapes_in


class ModelNotConverted(Exception):
    """The GGUF file could not be made into a folder that the engine loads."""


def model_folder(model: str, cache: Path) -> Path:
    """Return the folder of `model`: a folder, a .gguf file or a name on the Hugging Face hub.

    A .gguf file is converted into `cache`, under its digest, unless it is there already;
    that takes a minute. Blocks, and is meant for the start.

    Raises:
        ModelNotConverted: the file is no model.
    """
    path = Path(model)
    if path.is_dir():
        return path
    if path.suffix == ".gguf":
        return _converted(path, cache)
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - reads its environment when imported

    return Path(snapshot_download(model))  # the deployment pins what it names  # nosec B615


def weight_shapes(folder: Path) -> Mapping[str, tuple[int, ...]]:
    """Return the shape of each of the model's tensors."""
    return {name: shape for file in sorted(folder.glob("*.safetensors")) for name, shape in shapes_in(file).items()}


def _converted(source: Path, cache: Path) -> Path:
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    parent = cache / "models" / digest[:16]
    folder = parent / model_name(source.name)
    parent.mkdir(parents=True, exist_ok=True)
    with (parent / "lock").open("w") as lock:
        # The system takes the lock back when its holder dies.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _convert(source, folder)
    return folder


def _convert(source: Path, folder: Path) -> None:
    """Convert in a process of its own, so that the memory it takes goes back."""
    aside = folder.with_name(uuid.uuid4().hex)
    command = [sys.executable, "-m", "services.common.models.gguf", str(source.absolute()), str(aside.absolute())]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own module
        if done.returncode:
            raise ModelNotConverted(f"{source} could not be converted: {done.stderr[-500:]}")
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
