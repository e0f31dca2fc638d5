"""Trains an adapter from the files in a folder: reads, estimates, learns, writes, and probes."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from services.common.models.precision import natural_dtype
from services.tune.domain.hyperparameters import Method
from services.tune.domain.memory import Load, Size, check_memory, estimate, fitted
from services.tune.domain.runs import Stage
from services.tune.training import machine, models, reward_model, trainers
from services.tune.training.checkpoints import last_checkpoint
from services.tune.training.encoding import Encoder
from services.tune.training.examples import Material, material_of, preferences_of, rows_of
from services.tune.training.probe import SENTENCE, probe_of
from services.tune.training.progress import Progress
from services.tune.training.rewards import Reward, rewards_of, weight_of
from services.tune.training.spec import PROBE, Layout, Spec

# Sequences that a device holds at once, for each of a micro-batch: DPO's two answers, KTO's other answer.
_SEQUENCES = {Method.SFT: 1, Method.DPO: 2, Method.KTO: 2, Method.GRPO: 1}
_TRAINERS = {Method.SFT: trainers.sft, Method.DPO: trainers.dpo, Method.KTO: trainers.kto}


@dataclass(frozen=True, slots=True)
class Work:
    """What a training works with, once it is read."""

    layout: Layout
    spec: Spec
    encoder: Encoder
    material: Material
    size: Size
    devices: int


def learn(layout: Layout, devices: int) -> None:
    """Train what spec.json says, on so many devices together; what there is of an earlier attempt is taken up again.

    Raises:
        ServiceError: there is too little data or memory, or the parent does not fit.
    """
    spec = layout.read()
    machine.make_deterministic(spec.seed, spec.threads)
    encoder = Encoder(Path(spec.base), spec.context_tokens, spec.instructions)
    material = material_of(spec.method, rows_of(layout.rows), encoder, spec.hyperparameters, spec.seed)
    work = Work(layout, spec, encoder, material, models.size_of(Path(spec.base)), devices)
    # The weights alone must fit before they are read.
    check_memory(work.size, _held(work, learnt=0, tokens=0), _available(work))
    base = models.open_base(Path(spec.base), natural_dtype())
    model = models.with_adapter(base, spec.hyperparameters, layout.parent if spec.parent else None)
    load = _load_of(work, models.learnt_by(model))
    course = _course(work, load, layout.checkpoints, Stage.TRAINING)
    trainer, told = _trainer(work, model, course)
    trainer.train(resume_from_checkpoint=last_checkpoint(layout.checkpoints))
    if trainer.is_world_process_zero():
        models.save(trainer.accelerator.unwrap_model(trainer.model), layout.trained, spec.base_name)
        _finish(work, load, told | {"loss": _last_loss(trainer), "steps": trainer.state.global_step})
    trainer.accelerator.wait_for_everyone()


def _load_of(work: Work, learnt: int) -> Load:
    """Return how much is held at once.

    Raises:
        InsufficientMemory: it is more than there is.
    """
    load = fitted(work.size, _held(work, learnt, work.material.longest), machine.total_bytes() // _sharing(work))
    check_memory(work.size, load, _available(work))
    return load


def _held(work: Work, learnt: int, tokens: int) -> Load:
    spec = work.spec
    sequences = spec.hyperparameters.micro_batch * _SEQUENCES[spec.method]
    return Load(learnt, 2 if spec.rewards else 1, sequences, tokens, natural_dtype().itemsize)


def _available(work: Work) -> int:
    return machine.available_bytes() // _sharing(work)


def _sharing(work: Work) -> int:
    """Return how many processes share the memory: on a CPU all of them do."""
    return 1 if machine.has_gpu() else work.devices


def _course(work: Work, load: Load, folder: Path, stage: Stage) -> trainers.Course:
    return trainers.Course(
        folder,
        work.spec.seed,
        work.devices,
        work.spec.checkpoint_steps,
        load.checkpointing,
        [Progress(work.layout.progress, stage)],
    )


def _trainer(work: Work, model: Any, course: trainers.Course) -> tuple[Any, dict[str, float]]:
    """Return what trains, and figures about what it goes by."""
    spec = work.spec
    taught = trainers.Taught(model, work.encoder.tokenizer, work.material.dataset, spec.hyperparameters)
    if make := _TRAINERS.get(spec.method):
        return make(taught, course), {}
    liked, accuracy = _liked(work, course)
    rewards = rewards_of(work.material.examples, liked, weight_of(accuracy))
    told = {"reward_accuracy": accuracy} if liked else {}
    # An engine comes with it, which the others do without.
    from services.tune.training import online  # noqa: PLC0415

    return online.grpo(taught, course, work.material.examples, rewards), told


def _liked(work: Work, course: trainers.Course) -> tuple[Reward | None, float]:
    """Return the reward of what people prefer, if anything is known of that, and how often it is right."""
    if not work.spec.rewards:
        return None, 0.0
    pairs = preferences_of(rows_of(work.layout.preferences), work.encoder)
    numbers = reward_model.numbers_of(work.spec.hyperparameters, work.size.parameters, len(pairs))
    own = replace(course, folder=work.layout.reward, callbacks=[Progress(work.layout.progress, Stage.REWARDING)])
    model, accuracy = reward_model.learnt(Path(work.spec.base), work.encoder, pairs, numbers, own)
    return reward_model.liking(model, work.encoder, work.material.examples), accuracy


def _finish(work: Work, load: Load, told: dict[str, float]) -> None:
    """Write the probe and the figures, and then the adapter under its name: it is there once all is."""
    layout, spec = work.layout, work.spec
    prompt = work.encoder.probe(SENTENCE)
    probe = probe_of(Path(spec.base), layout.trained, prompt, machine.device())
    (layout.trained / PROBE).write_text(json.dumps(asdict(probe)))
    figures = {
        "hyperparameters": asdict(spec.hyperparameters),
        "examples": len(work.material.examples),
        "left_out": work.material.left_out,
        "longest_tokens": work.material.longest,
        "devices": work.devices,
        "parameters": work.size.parameters,
        "learnt_parameters": load.learnt,
        "memory_bytes": estimate(work.size, load),
        "activations_made_again": load.checkpointing,
        **told,
    }
    layout.result.write_text(json.dumps(figures, sort_keys=True))
    layout.trained.rename(layout.adapter)


def _last_loss(trainer: Any) -> float:
    return next((float(each["loss"]) for each in reversed(trainer.state.log_history) if "loss" in each), 0.0)
