"""Finds an embedding model, and opens it with the backend that is wanted."""

from pathlib import Path

from services.embed.ports import Embedder


def folder_of(model: str) -> Path:
    """Return the folder of a model: `model` itself, or where the hub's copy of that name lies."""
    folder = Path(model)
    if folder.is_dir():
        return folder.resolve()
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - only where a name was given

    return Path(snapshot_download(model))  # the deployment pins what it names  # nosec B615


def open_embedder(backend: str, folder: Path, cache: Path, threads: int) -> Embedder:
    """Return the model in `folder`; either backend is slow to import, so only the wanted one is."""
    if backend == "openvino":
        from services.embed.adapters.openvino import OpenVinoEmbedder  # noqa: PLC0415

        return OpenVinoEmbedder(folder, cache, threads)
    from services.embed.adapters.torch import TorchEmbedder  # noqa: PLC0415

    return TorchEmbedder(folder, threads)
