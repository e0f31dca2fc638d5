"""The headers of safetensors files, read without their weights."""

from pathlib import Path

from safetensors import SafetensorError, safe_open


class NotSafetensors(Exception):
    """The file is truncated, or of another format."""


def shapes_in(file: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor.

    Raises:
        NotSafetensors: the header cannot be read, or does not fit the file's length.
    """
    try:
        with safe_open(file, framework="numpy") as tensors:
            return {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise NotSafetensors(f"{file.name}: {error}") from error
