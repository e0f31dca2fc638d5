"""Which processes a platform is made of, and in what order they start and stop."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.cli import authority, models, parts, postgres, probes
from services.cli.addresses import SERVICES, Addresses
from services.cli.home import Home
from services.cli.parts import Command
from services.common.lora.checks import model_name
from services.common.lora.signing import AdapterSigner
from services.common.transport import Transport

GATEWAY = "gateway"
TENANT = "default"


@dataclass(frozen=True, slots=True)
class Unit:
    """A process that is kept running, and how to know that it is ready."""

    command: Command
    probe: probes.Probe
    address: str
    metrics_address: str = ""

    @property
    def name(self) -> str:
        return self.command.name


@dataclass(frozen=True, slots=True)
class Plan:
    """Parts start first; then the services and the front together. Stopping goes the other way.

    `bootstrap` makes the first key, and prints it as one line of JSON.
    """

    parts: tuple[Unit, ...]
    services: tuple[Unit, ...]
    front: Unit
    bootstrap: Command
    tls: bool = False

    @property
    def units(self) -> tuple[Unit, ...]:
        return (*self.parts, *self.services, self.front)


@dataclass(frozen=True, slots=True)
class Choices:
    """What `tandem up` may decide; `environment` holds the user's own settings, which win over defaults."""

    addresses: Addresses
    engine: str = "vllm"
    cache: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    tls: bool = False


# Makes the plan of a platform. Another one than `local` runs other services under the same command.
Blueprint = Callable[[Home, Choices], Plan]


def local(home: Home, choices: Choices) -> Plan:
    """Return the plan of the whole platform on this machine."""
    at = choices.addresses
    database = postgres.url_of(home.data / "postgres")
    if choices.tls:
        authority.renew(home)
    transport = authority.transport_of(home, tls=choices.tls)
    shared = {"TANDEM_IDENTITY_KEY": home.identity_key()} | authority.settings_of(home, tls=choices.tls)
    own = _settings(home, choices, database)
    return Plan(
        parts=(
            Unit(parts.broker(at.of("broker")), probes.listens(at.of("broker")), at.of("broker")),
            Unit(
                parts.milvus(home.data / "milvus.db", at.of("milvus")),
                probes.listens(at.of("milvus")),
                at.of("milvus"),
            ),
            Unit(parts.postgres(home.data / "postgres"), probes.answers_sql(database), "unix socket"),
        ),
        services=tuple(
            service(name, at, shared | own[name], transport)
            for name in ("ingest", "embed", "retrieve", "generate", "feedback", "tune")
        ),
        front=service(GATEWAY, at, shared | own[GATEWAY], transport),
        bootstrap=Command(
            "bootstrap",
            (
                sys.executable,
                "-m",
                "services.gateway.bootstrap",
                "--tenant",
                TENANT,
                "--name",
                "first key",
                "--acts-for-users",
            ),
            shared | own[GATEWAY],
        ),
        tls=choices.tls,
    )


def service(name: str, addresses: Addresses, environment: Mapping[str, str], transport: Transport) -> Unit:
    """Return the unit of `python -m services.NAME`."""
    own = {
        f"{name.upper()}_ADDRESS": addresses.of(name),
        f"{name.upper()}_METRICS_ADDRESS": addresses.metrics_of(name),
    }
    command = Command(name, (sys.executable, "-m", f"services.{name}"), {**environment, **own})
    probe = probes.serves_grpc(addresses.of(name), transport)
    return Unit(command, probe, addresses.of(name), addresses.metrics_of(name))


def _settings(home: Home, choices: Choices, database: str) -> dict[str, dict[str, str]]:
    """Return each service's environment beside its addresses."""
    at = choices.addresses
    cache = (choices.cache or home.cache).resolve()
    bus, blobs, milvus = at.of("broker"), str(home.data / "blobs"), f"http://{at.of('milvus')}"
    wired = {
        "ingest": {
            "DATABASE_URL": database,
            "BUS": bus,
            "BLOBS": blobs,
            "EMBED_ADDRESS": at.of("embed"),
            "FILE_REFUSED": json.dumps([str(home.root)]),
        },
        "embed": {
            "DATABASE_URL": database,
            "BUS": bus,
            "BLOBS": blobs,
            "MILVUS_URI": milvus,
            "CACHE": str(cache / "embed"),
        },
        "retrieve": {
            "DATABASE_URL": database,
            "MILVUS_URI": milvus,
            "EMBED_ADDRESS": at.of("embed"),
            "BLOBS": blobs,
            "CACHE": str(cache / "retrieve"),
        },
        "generate": {
            "DATABASE_URL": database,
            "BUS": bus,
            "BLOBS": blobs,
            "ENGINE": choices.engine,
            "CACHE": str(cache / "generate"),
        },
        "feedback": {"DATABASE_URL": database, "BUS": bus},
        "tune": {
            "DATABASE_URL": database,
            "BUS": bus,
            "BLOBS": blobs,
            "RETRIEVE_ADDRESS": at.of("retrieve"),
            "FEEDBACK_ADDRESS": at.of("feedback"),
            "GENERATE_ADDRESS": at.of("generate"),
            "CACHE": str(cache / "tune"),
            # What generate converts is not converted twice.
            "MODEL_CACHE": str(cache / "generate"),
        },
        GATEWAY: {"DATABASE_URL": database, "BUS": bus}
        | {f"{name.upper()}_ADDRESS": at.of(name) for name in SERVICES if name != GATEWAY},
    }
    settings = {
        name: {f"{name.upper()}_{key}": value for key, value in values.items()} for name, values in wired.items()
    }
    settings["ingest"] |= _secrets_key(home, choices)
    settings["embed"] |= _embedding_model(choices)
    settings["tune"]["TUNE_BASES"] = _bases(settings["embed"])
    settings["generate"] |= _language_model(choices)
    _share_adapters(settings, home, choices)
    return settings


# What training must know of the engine: each setting of tune with the engine's own.
_OF_THE_ENGINE = {
    "TUNE_CONTEXT_TOKENS": "GENERATE_MAX_MODEL_LEN",
    "TUNE_INSTRUCTIONS": "GENERATE_INSTRUCTIONS",
    "TUNE_MAX_LORA_RANK": "GENERATE_MAX_LORA_RANK",
}


def _share_adapters(settings: dict[str, dict[str, str]], home: Home, choices: Choices) -> None:
    """Have tune train for the engine's model, as the engine runs it, and the engine trust what tune signs."""
    key, model = home.adapter_key(), settings["generate"].get("GENERATE_MODEL")
    models_by_name = {model_name(model): model} if model else {}
    same = {own: choices.environment[name] for own, name in _OF_THE_ENGINE.items() if name in choices.environment}
    settings["tune"] |= {"TUNE_SIGNING_KEY": key, "TUNE_MODELS": json.dumps(models_by_name)} | same
    settings["generate"]["GENERATE_ADAPTER_KEYS"] = json.dumps([AdapterSigner(key).public_key])


def _secrets_key(home: Home, choices: Choices) -> dict[str, str]:
    if choices.environment.get("TANDEM_SECRETS_KEYS") or choices.environment.get("TANDEM_SECRETS_KEY_FILE"):
        return {}
    return {"TANDEM_SECRETS_KEY_FILE": str(home.secrets_key_file())}


def _embedding_model(choices: Choices) -> dict[str, str]:
    chosen = choices.environment.get("EMBED_MODEL")
    if chosen:
        return {"EMBED_MODEL": _found_from_anywhere(chosen)}
    return {"EMBED_MODEL": str(models.embedding_model()), "EMBED_MODEL_NAME": models.EMBEDDING_NAME}


def _bases(embed: Mapping[str, str]) -> str:
    """Return what rerankers may be trained from: the embedding model, by its name."""
    model = embed["EMBED_MODEL"]
    return json.dumps({embed.get("EMBED_MODEL_NAME", Path(model).name): model})


def _language_model(choices: Choices) -> dict[str, str]:
    chosen = choices.environment.get("GENERATE_MODEL")
    if chosen:
        return {"GENERATE_MODEL": _found_from_anywhere(chosen)}
    return {} if choices.engine == "memory" else {"GENERATE_MODEL": str(models.language_model())}


def _found_from_anywhere(model: str) -> str:
    """Return a model's path, if it is one and not a name, as a service with another working folder finds it."""
    return str(Path(model).resolve()) if Path(model).exists() else model
