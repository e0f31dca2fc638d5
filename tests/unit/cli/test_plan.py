"""The plan: what each process is told, and what the user's own settings change."""

import json
from pathlib import Path

import pytest

from services.cli.addresses import Addresses
from services.cli.home import Home
from services.cli.plan import Choices, local
from services.common.lora.signing import AdapterSigner


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.prepare()
    return home


def environments(home: Home, choices: Choices) -> dict[str, dict[str, str]]:
    return {unit.name: dict(unit.command.environment) for unit in local(home, choices).units}


def test_every_service_is_wired_to_the_others(home: Home):
    told = environments(home, Choices(Addresses(40000)))
    gateway = told["gateway"]
    for name in ("ingest", "retrieve", "generate", "feedback", "tune"):
        assert gateway[f"GATEWAY_{name.upper()}_ADDRESS"] == told[name][f"{name.upper()}_ADDRESS"]
    assert told["retrieve"]["RETRIEVE_EMBED_ADDRESS"] == told["embed"]["EMBED_ADDRESS"]
    assert told["ingest"]["INGEST_BLOBS"] == told["embed"]["EMBED_BLOBS"] == told["tune"]["TUNE_BLOBS"]
    assert told["tune"]["TUNE_RETRIEVE_ADDRESS"] == told["retrieve"]["RETRIEVE_ADDRESS"]
    assert told["tune"]["TUNE_FEEDBACK_ADDRESS"] == told["feedback"]["FEEDBACK_ADDRESS"]
    assert {told[name]["TANDEM_IDENTITY_KEY"] for name in gateway_first(told)} == {home.identity_key()}


def test_the_engine_trusts_what_tune_signs_and_tune_knows_what_the_engine_runs(home: Home):
    told = environments(home, Choices(Addresses(40000)))
    key = told["tune"]["TUNE_SIGNING_KEY"]
    assert json.loads(told["generate"]["GENERATE_ADAPTER_KEYS"]) == [AdapterSigner(key).public_key]
    assert list(json.loads(told["tune"]["TUNE_MODELS"]).values()) == [told["generate"]["GENERATE_MODEL"]]
    assert told["tune"]["TUNE_BUS"] == told["feedback"]["FEEDBACK_BUS"]
    # The same key after a restart, and nobody else reads it.
    assert environments(home, Choices(Addresses(40000)))["tune"]["TUNE_SIGNING_KEY"] == key
    assert (home.root / "adapters.key").stat().st_mode & 0o077 == 0
    assert {name for name, values in told.items() if "TUNE_SIGNING_KEY" in values} == {"tune"}


def gateway_first(told: dict[str, dict[str, str]]) -> list[str]:
    return [name for name in told if f"{name.upper()}_ADDRESS" in told[name]]


def test_the_models_come_from_the_installed_wheels(home: Home):
    told = environments(home, Choices(Addresses(40000)))
    assert Path(told["embed"]["EMBED_MODEL"]).is_dir()
    assert Path(told["generate"]["GENERATE_MODEL"]).is_file()
    assert told["embed"]["EMBED_MODEL_NAME"] == "all-MiniLM-L6-v2"
    assert json.loads(told["tune"]["TUNE_BASES"]) == {"all-MiniLM-L6-v2": told["embed"]["EMBED_MODEL"]}


def test_adapters_are_trained_for_the_model_that_answers_as_the_engine_runs_it(home: Home):
    told = environments(home, Choices(Addresses(40000), environment={"GENERATE_MAX_MODEL_LEN": "4096"}))
    tune, model = told["tune"], told["generate"]["GENERATE_MODEL"]
    assert json.loads(tune["TUNE_MODELS"]) == {"SmolLM2-135M-Instruct": model}
    assert tune["TUNE_CONTEXT_TOKENS"] == "4096"
    assert tune["TUNE_SIGNING_KEY"] == home.adapter_key()
    assert json.loads(environments(home, Choices(Addresses(40000), engine="memory"))["tune"]["TUNE_MODELS"]) == {}


def test_a_model_that_the_user_chose_wins_and_is_found_from_anywhere(home: Home, tmp_path: Path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    chosen = {"GENERATE_MODEL": "mine", "EMBED_MODEL": "organisation/name"}
    told = environments(home, Choices(Addresses(40000), environment=chosen))
    assert told["generate"]["GENERATE_MODEL"] == str(tmp_path / "mine")
    assert told["embed"]["EMBED_MODEL"] == "organisation/name"
    assert "EMBED_MODEL_NAME" not in told["embed"]


def test_the_engine_in_memory_needs_no_model(home: Home):
    told = environments(home, Choices(Addresses(40000), engine="memory"))
    assert told["generate"]["GENERATE_ENGINE"] == "memory"
    assert "GENERATE_MODEL" not in told["generate"]


def test_only_ingest_is_told_where_the_key_for_secrets_is_and_the_users_own_wins(home: Home):
    told = environments(home, Choices(Addresses(40000)))
    assert {name for name, values in told.items() if "TANDEM_SECRETS_KEY_FILE" in values} == {"ingest"}
    own = environments(home, Choices(Addresses(40000), environment={"TANDEM_SECRETS_KEYS": "{}"}))
    assert "TANDEM_SECRETS_KEY_FILE" not in own["ingest"]
