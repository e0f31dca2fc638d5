"""The Kubernetes Job that trains: it starts what the service starts, and has no rights that training does not need."""

import importlib.util
from pathlib import Path

import pytest
import yaml

FILE = Path("deploy/k8s/tune-job.yaml")


@pytest.fixture(scope="module")
def resources():
    return {each["kind"]: each for each in yaml.safe_load_all(FILE.read_text())}


def test_it_starts_the_entry_point_of_the_service_once_for_each_gpu(resources):
    [container] = resources["Job"]["spec"]["template"]["spec"]["containers"]
    arguments = container["args"]
    module = arguments[arguments.index("-m") + 1]
    assert importlib.util.find_spec(f"{module}.__main__")
    gpus = container["resources"]["limits"]["nvidia.com/gpu"]
    assert f"--nproc-per-node={gpus}" in arguments


def test_all_that_it_refers_to_is_there_or_said(resources):
    pod = resources["Job"]["spec"]["template"]["spec"]
    claims = {each["persistentVolumeClaim"]["claimName"] for each in pod["volumes"] if "persistentVolumeClaim" in each}
    assert claims == {resources["PersistentVolumeClaim"]["metadata"]["name"]}
    assert pod["priorityClassName"] == resources["PriorityClass"]["metadata"]["name"]
    volumes = {each["name"] for each in pod["volumes"]}
    assert {each["name"] for each in pod["containers"][0]["volumeMounts"]} == volumes
    assert all(f"{each['name']} is\n# the secret" in FILE.read_text() for each in pod["imagePullSecrets"])


def test_a_killed_pod_is_made_again_and_one_that_is_lost_ends(resources):
    job = resources["Job"]["spec"]
    assert job["backoffLimit"] > 0
    assert job["activeDeadlineSeconds"] > 0
    assert job["template"]["spec"]["restartPolicy"] == "Never"


def test_it_has_no_rights_that_it_does_not_need(resources):
    pod = resources["Job"]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    limits = pod["containers"][0]["securityContext"]
    assert (limits["allowPrivilegeEscalation"], limits["readOnlyRootFilesystem"]) == (False, True)
    assert limits["capabilities"]["drop"] == ["ALL"]
