"""What infra/ describes and cannot be run here, checked by the tools of those who will read it."""

import json
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
# Made by hand, as infra/README.md says.
SECRETS = {"evernorm-postgres", "evernorm-s3"}
# prefect-docker has it, and the description of its worker in Prefect is older.
NEWER = {"docker": {"container_create_kwargs"}, "kubernetes": set()}


def tool(name: str, *arguments: object) -> str:
    """What a tool of the environment prints; it must be content."""
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    assert found, f"{name} is not installed (pip install 'evernorm[dev]')"
    done = subprocess.run([found, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def template(kind: str) -> dict:
    return json.loads((INFRA / f"job-templates/{kind}.json").read_text())


def placeholders(value: object) -> set[str]:
    return set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(value)))


def filled(value: object, values: dict) -> object:
    """As Prefect fills it in: what has no value is left out."""
    from prefect.utilities.templating import apply_values

    return apply_values(value, values)


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load((INFRA / "compose.yaml").read_text())


@pytest.fixture(scope="module", params=("base", "gpu"))
def manifests(request) -> list[dict]:
    """What `kubectl apply --kustomize` would send."""
    return list(yaml.safe_load_all(tool("kubectl", "kustomize", INFRA / "kubernetes" / request.param)))


def test_compose_file_keeps_the_specification():
    """And says of every service how its health is known."""
    tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", INFRA / "compose.yaml")


def test_compose_services_are_checked_and_wait_for_what_they_need(compose):
    """Whatever they name is there: services, volumes, networks, variables."""
    services, text = compose["services"], (INFRA / "compose.yaml").read_text()
    assert {"postgres", "s3", "mlflow", "prefect", "cpu", "gpu", "writer", "metrics"} == set(services)
    for name, service in services.items():
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert {"service_healthy"} >= {each["condition"] for each in service.get("depends_on", {}).values()}
        assert set(services) >= set(service.get("depends_on", {}))
        assert set(compose["volumes"]) >= {each.split(":")[0] for each in service.get("volumes", [])}
        assert set(compose["networks"]) >= set(service["networks"])
    asked = set(re.findall(r"\$\{(\w+):\?", text))
    example = dict(line.split("=") for line in (INFRA / ".env.example").read_text().split() if "=" in line)
    assert asked == set(example)
    assert {""} == set(example.values())  # real ones are in no repository
    assert "/infra/.env" in (ROOT / ".gitignore").read_text().split()


def test_dockerfile_is_fault_free():
    """hadolint finds nothing, and the last stage is not root's."""
    tool("hadolint", INFRA / "Dockerfile")
    lines = (INFRA / "Dockerfile").read_text().splitlines()
    assert "USER 1000" in lines[-4:]
    assert all(re.search(r":\d+\.\d+\.\d+-", line) for line in lines if line.startswith("FROM"))


def test_image_installs_what_make_installs():
    """The same packages of the same versions; what developers and the demo need is left out."""
    pattern = re.compile(r"--(?:no-deps|no-build-isolation) \w[\w.=\- ]+|'\.\[[\w,]+\]'")
    made = pattern.findall((ROOT / "Makefile").read_text())
    image = pattern.findall((INFRA / "Dockerfile").read_text())
    assert 3 == len(made)
    assert [each.replace(",demo", "").replace(",dev", "") for each in made] == [
        each.strip() for each in image
    ]
    copied = set(re.findall(r"^!(\S+)", (INFRA / "Dockerfile.dockerignore").read_text(), re.MULTILINE))
    assert {"pyproject.toml", "src", "flows", "tasks", "params.yaml", "dvc.yaml", "prefect.yaml"} <= copied
    assert all((ROOT / each).exists() for each in copied)


def test_manifests_keep_the_schemas_of_kubernetes(manifests):
    """Nothing in them that Kubernetes does not know."""
    for each in manifests:
        kubernetes_validate.validate(each, "1.37", strict=True)


def test_pods_run_unprivileged_and_name_what_is_there(manifests):
    """Probes everywhere; settings, secrets and services that exist."""
    there = {(each["kind"], each["metadata"]["name"]) for each in manifests}
    there |= {("Secret", name) for name in SECRETS}
    pods = [each["spec"]["template"]["spec"] for each in manifests if "template" in each.get("spec", {})]
    assert len(pods) in {6, 7}
    for pod in pods:
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert not container["securityContext"]["allowPrivilegeEscalation"]
        assert not pod["enableServiceLinks"]
        assert {"startupProbe", "readinessProbe", "livenessProbe", "resources"} <= set(container)
        for source in container.get("envFrom", []):
            ((kind, named),) = source.items()
            assert ({"configMapRef": "ConfigMap", "secretRef": "Secret"}[kind], named["name"]) in there
        mounted = {each["name"] for each in container.get("volumeMounts", [])}
        claimed = {
            claim["metadata"]["name"]
            for each in manifests
            if each.get("spec", {}).get("template", {}).get("spec") is pod
            for claim in each["spec"].get("volumeClaimTemplates", [])
        }
        assert mounted == claimed | {each["name"] for each in pod.get("volumes", [])}
    settings = next(each for each in manifests if each["metadata"]["name"] == "evernorm" and "data" in each)
    for value in settings["data"].values():
        for name, port in re.findall(r"http://(\w+):(\d+)", value):
            service = next(
                each for each in manifests if (each["kind"], each["metadata"]["name"]) == ("Service", name)
            )
            assert [int(port)] == [each["port"] for each in service["spec"]["ports"]]


@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
def test_job_template_is_what_prefects_worker_expects(kind):
    """Its keys are the worker's own; what is filled in is described, and described rightly."""
    views = files("prefect.server.api.collections_data") / "views/aggregate-worker-metadata.json"
    known = json.loads(views.read_text())[f"prefect-{kind}"][kind]["default_base_job_configuration"]
    ours = template(kind)
    assert set(known["job_configuration"]) | NEWER[kind] >= set(ours["job_configuration"])
    assert set(ours["variables"]["properties"]) == placeholders(ours["job_configuration"])
    assert {"name", "command", "labels", "env", "image"} <= set(ours["variables"]["properties"])
    jsonschema.Draft202012Validator.check_schema(ours["variables"])
    jsonschema.validate(defaults(ours), ours["variables"])


def defaults(ours: dict) -> dict:
    described = ours["variables"]["properties"]
    return {name: each["default"] for name, each in described.items() if "default" in each}


@pytest.mark.parametrize("values", [{}, {"gpus": "1", "image": "evernorm:cuda"}])
def test_kubernetes_takes_the_jobs(values):
    """The manifest as a worker fills it in, with and without a GPU."""
    ours = template("kubernetes")
    told = {
        "command": ["prefect", "flow-run", "execute"],
        "env": [{"name": "A", "value": "b"}],
        "labels": {"a": "b"},
    }
    job = filled(ours["job_configuration"]["job_manifest"], {**defaults(ours), **told, "name": "x", **values})
    kubernetes_validate.validate(job, "1.37", strict=True)
    limits = job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert values.get("gpus") == limits.get("nvidia.com/gpu")
