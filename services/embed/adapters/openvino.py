"""Runs a sentence-transformers model with OpenVINO, which is faster on CPUs than PyTorch."""

import hashlib
import inspect
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import orjson
from tokenizers import Tokenizer

from services.embed.domain import Vector

_LAYOUT_VERSION = "1"
_HASHED_BLOCK = 1024**2
_LEAST_NORM = 1e-12
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
# Measured with all-MiniLM-L6-v2: together, four texts of 16 tokens take half the time that they
# take apart; from about 64 tokens on nothing is gained.
_LENGTH_STEP = 8
_TEXTS_A_JOB = 4
_TOKENS_A_JOB = 128


class ModelUnsupported(Exception):
    """The model does more than pool and normalise; the torch backend can run it."""


class OpenVinoEmbedder:
    """The model in `folder`, exported once into `cache`.

    Texts are padded to a multiple of 8 tokens, so that there are few shapes to make kernels for,
    and short ones of like length are computed as one. One such job is computed by all threads
    together, soonest; several side by side, each by one thread. It computes in bfloat16 where
    the CPU does, and pools and normalises in float32.
    """

    def __init__(self, folder: Path, cache: Path, threads: int) -> None:
        self._pooling = _pooling_of(folder)
        self._tokenizer = _tokenizer_of(folder)
        core = openvino.Core()
        model = core.read_model(_exported(folder, cache) / "model.xml")
        self._inputs = {name for port in model.inputs for name in port.get_names()}
        self.dimensions = int(model.output(0).get_partial_shape()[2].get_length())
        precision = _precision(core)
        limit = {"INFERENCE_NUM_THREADS": threads} if threads else {}
        alone = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY"} | precision | limit)
        self._request = alone.create_infer_request()
        abreast = threads or os.cpu_count() or 1
        streams = {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": str(abreast)}
        self._abreast = openvino.AsyncInferQueue(core.compile_model(model, "CPU", streams | precision | limit), abreast)

    def embed(self, texts: Sequence[str]) -> Vector:
        """Return unit vectors, float32, shape (len(texts), dimensions)."""
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        lengths = [len(encoding) for encoding in encodings]
        vectors = np.empty((len(texts), self.dimensions), np.float32)

        def keep(request: Any, job: Sequence[int]) -> None:
            states = request.get_output_tensor(0).data
            for row, position in enumerate(job):
                vectors[position] = _pooled(states[row, : lengths[position]], self._pooling)

        jobs = list(_jobs(lengths))
        if len(jobs) == 1:
            self._request.infer(self._tensors(encodings, jobs[0]), share_inputs=True)
            keep(self._request, jobs[0])
            return _normalised(vectors)
        self._abreast.set_callback(keep)
        for job in jobs:
            self._abreast.start_async(self._tensors(encodings, job), job)
        self._abreast.wait_all()
        return _normalised(vectors)

    def _tensors(self, encodings: Sequence[Any], job: Sequence[int]) -> dict[str, Any]:
        shape = (len(job), _padded(max(len(encodings[position]) for position in job)))
        tensors = {name: np.zeros(shape, np.int64) for name in self._inputs}
        for row, position in enumerate(job):
            encoding = encodings[position]
            for name, values in zip(_INPUTS, (encoding.ids, encoding.attention_mask, encoding.type_ids), strict=True):
                if name in tensors:
                    tensors[name][row, : len(values)] = values
        return tensors


def _jobs(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield positions of texts to compute as one: a few short ones, or a long one by itself."""
    job: list[int] = []
    for position in sorted(range(len(lengths)), key=lengths.__getitem__):
        texts = len(job) + 1
        if job and (texts > _TEXTS_A_JOB or texts * _padded(lengths[position]) > _TOKENS_A_JOB):
            yield job
            job = []
        job.append(position)
    if job:
        yield job


def _padded(tokens: int) -> int:
    return -(-tokens // _LENGTH_STEP) * _LENGTH_STEP


def _pooled(states: Vector, pooling: str) -> Vector:
    return np.asarray(states[0] if pooling == "cls" else states.mean(axis=0, dtype=np.float32), np.float32)


def _normalised(vectors: Vector) -> Vector:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _LEAST_NORM), np.float32)


def _precision(core: Any) -> dict[str, object]:
    # Where the CPU has no bfloat16 it is emulated, a hundred times slower.
    able = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return {"INFERENCE_PRECISION_HINT": "bf16" if able else "f32"}


def _tokenizer_of(folder: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(orjson.loads((folder / "sentence_bert_config.json").read_bytes())["max_seq_length"])
    tokenizer.no_padding()
    return tokenizer


def _pooling_of(folder: Path) -> str:
    modules = orjson.loads((folder / "modules.json").read_bytes())
    kinds = [module["type"].rpartition(".")[2] for module in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or set(kinds[2:]) - {"Normalize"}:
        raise ModelUnsupported(f"OpenVINO cannot run a model of {', '.join(kinds)}; use the torch backend")
    config = orjson.loads((folder / modules[1]["path"] / "config.json").read_bytes())
    for pooling, flag in (("mean", "pooling_mode_mean_tokens"), ("cls", "pooling_mode_cls_token")):
        if config.get("pooling_mode") == pooling or config.get(flag):
            return pooling
    raise ModelUnsupported("OpenVINO pools by mean or first token only; use the torch backend")


def _exported(folder: Path, cache: Path) -> Path:
    """Return the folder of the exported model; made aside and moved, so that none reads half of it."""
    target = export_of(folder, cache)
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".export-", dir=cache))
        try:
            _export(folder, aside)
            aside.rename(target)
        except OSError:
            # Another replica was faster.
            if not target.exists():
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return target


def export_of(folder: Path, cache: Path) -> Path:
    """Return where the export of the model in `folder` lies, made or not."""
    return cache / _digest_of(folder)


def _digest_of(folder: Path) -> str:
    digest = hashlib.sha256(f"{_LAYOUT_VERSION}/{version('openvino')}".encode())
    for file in sorted((*folder.glob("*.safetensors"), *folder.glob("*.bin"), folder / "config.json")):
        with file.open("rb") as content:
            while block := content.read(_HASHED_BLOCK):
                digest.update(block)
    return digest.hexdigest()[:32]


def _export(folder: Path, target: Path) -> None:
    # Slow to import, and needed once only.
    import torch  # noqa: PLC0415
    from transformers import AutoModel  # noqa: PLC0415

    model = AutoModel.from_pretrained(str(folder), dtype=torch.float32).eval()  # a folder on this disk  # nosec B615
    taken = inspect.signature(model.forward).parameters
    names = [name for name in _INPUTS if name in taken]
    example = {name: torch.ones((2, 8), dtype=torch.int64) for name in names}

    class States(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: Any) -> Any:
            return self.model(**dict(zip(names, inputs, strict=True))).last_hidden_state

    with torch.no_grad():
        converted = openvino.convert_model(States(), example_input=tuple(example.values()))
    for port, name in zip(converted.inputs, names, strict=True):
        port.get_tensor().set_names({name})
    openvino.save_model(converted, target / "model.xml", compress_to_fp16=False)
    os.chmod(target, 0o755)  # noqa: PTH101, S103 - mkdtemp's folders are for one user; replicas share the cache
