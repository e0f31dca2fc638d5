"""What a training process is told, and where everything lies in its folder."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from services.tune.domain.hyperparameters import Hyperparameters, Method

# Beside an adapter's files.
PROBE = "probe.json"


@dataclass(frozen=True, slots=True)
class Spec:
    """What to train. With the same spec, data and parent the adapter is the same on the same machine, byte for byte.

    `base` is the model's folder, `base_name` what adapters call it. `context_tokens` hold prompt and answer, as in the
    engine, and `instructions` are the engine's for who brings none. `parent` says that parent/ is to begin from,
    `rewards` that reward.parquet holds what people preferred. `threads` of 0 leaves it to the library, and
    `checkpoint_steps` of 0 makes about twenty checkpoints.
    """

    method: Method
    base: str
    base_name: str
    seed: int
    hyperparameters: Hyperparameters
    context_tokens: int = 2048
    instructions: str = ""
    parent: bool = False
    rewards: bool = False
    threads: int = 0
    checkpoint_steps: int = 0


_SPEC = TypeAdapter(Spec)


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of a training process in its folder."""

    folder: Path

    @property
    def spec(self) -> Path:
        """What to train."""
        return self.folder / "spec.json"

    @property
    def rows(self) -> Path:
        """What to learn from."""
        return self.folder / "train.parquet"

    @property
    def preferences(self) -> Path:
        """What a reward model learns from."""
        return self.folder / "reward.parquet"

    @property
    def people(self) -> Path:
        """Who is behind the rows, beside those that the rows name."""
        return self.folder / "people.json"

    @property
    def parent(self) -> Path:
        """The adapter to begin from."""
        return self.folder / "parent"

    @property
    def checkpoints(self) -> Path:
        """Where training can be taken up again."""
        return self.folder / "checkpoints"

    @property
    def reward(self) -> Path:
        """Where the reward model is trained and kept."""
        return self.folder / "reward"

    @property
    def trained(self) -> Path:
        """The adapter before it is whole."""
        return self.folder / "trained"

    @property
    def adapter(self) -> Path:
        """What comes out; it is there once it is whole."""
        return self.folder / "adapter"

    @property
    def progress(self) -> Path:
        """How far training is."""
        return self.folder / "progress.json"

    @property
    def failure(self) -> Path:
        """Why nothing came out."""
        return self.folder / "failure.json"

    @property
    def result(self) -> Path:
        """What was done, in figures."""
        return self.folder / "result.json"

    def read(self) -> Spec:
        """Return what to train."""
        return _SPEC.validate_json(self.spec.read_bytes())

    def write(self, spec: Spec) -> None:
        """Say what to train."""
        self.spec.write_bytes(_SPEC.dump_json(spec))
