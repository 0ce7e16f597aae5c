"""What `cluster/` holds passes the validation of the tools that read it, as far as that is offline.

No cloud, no Kubernetes and no SLURM is needed: Ray validates its own files by functions that take
no connection; the manifests are held against the fields of KubeRay's resources; the batch script
runs with stand-ins for the commands of SLURM, Ray and Python that write down what they are given.
"""

import os
import re
import shutil
import signal
import stat
import subprocess
import time
import zipfile
from pathlib import Path

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[1]
CLUSTER = ROOT / "cluster"
SCRIPT = CLUSTER / "slurm.sh"
MANIFESTS = sorted(CLUSTER.glob("kuberay-*.yaml"))


def documents(path):
    return [each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each]


def closed(required=(), **properties):
    """A JSON schema of an object that has these fields and no other."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def several(schema):
    return {"type": "array", "items": schema, "minItems": 1}


# The fields of KubeRay's resources (ray.io/v1) and of Kubernetes that the manifests use, with the
# types that the definitions of these resources give them. What is not here, kubectl would refuse.
TEXT, COUNT, YES = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
NAME = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 47}
QUANTITY = {"type": "string", "pattern": r"^\d+(m|[KMGT]i)?$"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
QUANTITIES = {"type": "object", "additionalProperties": QUANTITY}
CONTAINER = closed(
    ("name", "image", "resources"),
    name=NAME,
    image=TEXT,
    resources=closed(("requests", "limits"), requests=QUANTITIES, limits=QUANTITIES),
    env=several(closed(("name", "value"), name=TEXT, value=TEXT)),
    volumeMounts=several(closed(("name", "mountPath"), name=NAME, mountPath=TEXT)),
)
VOLUME = closed(
    ("name",),
    name=NAME,
    persistentVolumeClaim=closed(("claimName",), claimName=NAME),
    configMap=closed(("name",), name=NAME),
)
POD = closed(
    ("spec",),
    spec=closed(
        ("containers",),
        securityContext=closed(fsGroup=COUNT),
        containers=several(CONTAINER),
        volumes=several(VOLUME),
    ),
)
HEAD = closed(("rayStartParams", "template"), rayStartParams=TEXTS, template=POD)
WORKERS = closed(
    ("groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"),
    groupName=NAME,
    replicas=COUNT,
    minReplicas=COUNT,
    maxReplicas=COUNT,
    rayStartParams=TEXTS,
    template=POD,
)
RAY_CLUSTER = closed(
    ("headGroupSpec", "authOptions", "rayVersion"),
    rayVersion=TEXT,
    authOptions=closed(("mode",), mode={"const": "token"}, secretName=NAME),
    headGroupSpec=HEAD,
    workerGroupSpecs=several(WORKERS),
)
RAY_JOB = closed(
    ("entrypoint", "rayClusterSpec"),
    entrypoint=TEXT,
    backoffLimit=COUNT,
    shutdownAfterJobFinishes=YES,
    ttlSecondsAfterFinished=COUNT,
    rayClusterSpec=RAY_CLUSTER,
)
CLAIM = closed(
    ("accessModes", "resources"),
    accessModes=several({"enum": ["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"]}),
    storageClassName=TEXT,
    resources=closed(("requests",), requests=QUANTITIES),
)
SPECS = {
    ("ray.io/v1", "RayCluster"): RAY_CLUSTER,
    ("ray.io/v1", "RayJob"): RAY_JOB,
    ("v1", "PersistentVolumeClaim"): CLAIM,
}


def clusters():
    """The specification of each cluster in the manifests."""
    for path in MANIFESTS:
        for each in documents(path):
            if each["kind"] == "RayCluster":
                yield each["spec"]
            if each["kind"] == "RayJob":
                yield each["spec"]["rayClusterSpec"]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_has_only_fields_of_its_resource(path):
    for each in documents(path):
        spec = SPECS[each["apiVersion"], each["kind"]]
        metadata = closed(("name",), name=NAME)
        required = ("apiVersion", "kind", "metadata", "spec")
        whole = closed(required, apiVersion=TEXT, kind=TEXT, metadata=metadata, spec=spec)
        jsonschema.Draft202012Validator(whole).validate(each)


def test_every_volume_that_is_mounted_is_declared_and_seen_by_all_nodes():
    claims = {each["metadata"]["name"] for each in documents(CLUSTER / "kuberay-storage.yaml")}
    pods = [
        group["template"]["spec"]
        for cluster in clusters()
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])
    ]
    assert len(pods) == 4
    for pod in pods:
        volumes = {each["name"]: each for each in pod["volumes"]}
        (container,) = pod["containers"]
        mounted = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
        assert mounted.keys() == volumes.keys()
        assert mounted["shared"] == "/shared"
        assert volumes["shared"]["persistentVolumeClaim"]["claimName"] in claims


def test_workers_are_all_there_from_the_start():
    """The width of a training is worked out from the cluster, which so must not grow meanwhile."""
    for cluster in clusters():
        for group in cluster["workerGroupSpecs"]:
            assert group["minReplicas"] == group["replicas"] == group["maxReplicas"]


def test_all_files_name_the_version_of_ray_that_is_installed():
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M))
    assert {cluster["rayVersion"] for cluster in clusters()} == {pinned["ray"]}
    texts = [path.read_text() for path in CLUSTER.iterdir()]
    assert {v for text in texts for v in re.findall(r"rayproject/ray:([\d.]+)", text)} == {
        pinned["ray"]
    }


def test_ray_accepts_its_cluster_file():
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load((CLUSTER / "ray-cluster.yaml").read_text(encoding="utf-8"))
    whole = prepare_config(config)
    validate_config(whole)
    (node_type,) = whole["available_node_types"].values()
    assert node_type["min_workers"] == len(config["provider"]["worker_ips"])
    with pytest.raises(jsonschema.ValidationError, match="worker_start_ray_command'"):
        validate_config(whole | {"worker_start_ray_command": []})


def test_each_node_of_rays_cluster_file_is_given_the_token():
    config = yaml.safe_load((CLUSTER / "ray-cluster.yaml").read_text(encoding="utf-8"))
    assert "/home/ubuntu/.ray/auth_token" in config["file_mounts"]
    for role in ("head", "worker"):
        (start,) = (
            each for each in config[f"{role}_start_ray_commands"] if " start " in f"{each} "
        )
        assert "RAY_AUTH_MODE=token" in start


def test_nothing_switches_authentication_off_or_opens_the_dashboard():
    for path in [*CLUSTER.iterdir(), ROOT / "docs" / "cluster.md"]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"RAY_AUTH_MODE\W+disabled|0\.0\.0\.0|mode: disabled", text), path


def test_ray_accepts_the_runtime_environment():
    from ray.runtime_env import RuntimeEnv

    given = yaml.safe_load((CLUSTER / "runtime-env.yaml").read_text(encoding="utf-8"))
    pip = RuntimeEnv(**given).to_dict()["pip"]
    assert pip["packages"] == given["pip"]["packages"]
    assert [each.endswith(end) for each, end in zip(pip["packages"], ("s.txt", "}"), strict=True)]


@pytest.mark.slow
def test_an_upload_holds_what_a_job_needs_and_little_else(tmp_path):
    """By Ray's own packing of a working folder, which reads .gitignore and .rayignore."""
    from ray._private.runtime_env.packaging import create_package

    create_package(str(ROOT), tmp_path / "upload.zip", include_gitignore=True)
    names = zipfile.ZipFile(tmp_path / "upload.zip").namelist()
    assert {"pyproject.toml", "constraints.txt", "README.md", "LICENSE"} <= set(names)
    assert {"kdray/pipeline.py", "tune_configs/demo.yaml"} <= set(names)
    top = {name.partition("/")[0] for name in names}
    assert not top & {".git", ".venv", "tests", "docs", "runs", "data", "benchmarks"}
    assert (tmp_path / "upload.zip").stat().st_size < 2**21


@pytest.fixture
def slurm(tmp_path):
    """Start the batch script with stand-ins. -> a function of arguments; the folder of what ran.

    The stand-in of `srun` writes down its arguments and goes on until it is stopped. `python -m`
    is the command: it goes on until it is stopped too, unless the file `ends` has its exit code.
    """
    tools, home = tmp_path / "bin", tmp_path / "home"
    tools.mkdir()
    home.mkdir()
    (tools / "ray").write_text("#!/bin/sh\nexit 1\n")
    (tools / "srun").write_text('#!/bin/sh\necho "$@" >> "$LOG/srun"\nexec sleep 60\n')
    (tools / "scontrol").write_text(
        '#!/bin/sh\necho "$@" >> "$LOG/scontrol"\n'
        'if [ "$1" = show ]; then printf "n1\\nn2\\nn3\\n"; fi\n'
    )
    (tools / "python").write_text(
        "#!/bin/bash\n"
        'case "$1" in\n'
        '-c) case "$2" in *secrets*) printf 0123abcd ;; *) echo 10.0.0.1 ;; esac ;;\n'
        '-) cat > /dev/null; echo "$2" > "$LOG/nodes" ;;\n'
        '-m) echo "$@" > "$LOG/args"; stat -c %a "$RAY_AUTH_TOKEN_PATH" > "$LOG/mode"\n'
        '  cat "$RAY_AUTH_TOKEN_PATH" > "$LOG/token"\n'
        '  echo "$RAY_ADDRESS $RAY_AUTH_MODE" > "$LOG/ray"\n'
        '  if [ -e "$LOG/ends" ]; then exit "$(cat "$LOG/ends")"; fi\n'
        '  trap "sleep 0.3; echo closed > $LOG/closed; exit 143" TERM\n'
        '  touch "$LOG/running"; while :; do sleep 0.1; done ;;\n'
        "esac\n"
    )
    for tool in tools.iterdir():
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    environment = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "KDRAY_VENV": str(tmp_path),
        "HOME": str(home),
        "LOG": str(tmp_path),
        "SLURM_JOB_ID": "123456",
        "SLURM_JOB_NODELIST": "n[1-3]",
        "SLURM_CPUS_PER_TASK": "16",
    }

    def start(*arguments):
        return subprocess.Popen(
            ["bash", SCRIPT, *arguments], env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    return start, tmp_path


def test_the_batch_script_runs_one_command_on_one_private_cluster(slurm):
    start, folder = slurm
    (folder / "ends").write_text("3")
    job = start("study", "my study.yaml", "--set", "execution.storage=/scratch/kdray")
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 3, output
    assert (folder / "args").read_text() == (
        "-m kdray.study my study.yaml --set execution.storage=/scratch/kdray\n"
    )
    assert (folder / "nodes").read_text() == "3\n"
    assert (folder / "ray").read_text() == "10.0.0.1:23456 token\n"
    assert (folder / "mode").read_text() == "600\n"
    assert (folder / "token").read_text() == "0123abcd"
    assert list((folder / "home").iterdir()) == [], "the token is gone"


def test_head_and_workers_are_on_nodes_of_their_own(slurm):
    start, folder = slurm
    (folder / "ends").write_text("0")
    job = start("study", "demo.yaml")
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 0, output
    lines = (folder / "srun").read_text().splitlines()
    (head,) = (line for line in lines if "--head" in line)
    (workers,) = (line for line in lines if "--head" not in line)
    assert "--nodes=1 --nodelist=n1 " in head
    assert "--node-ip-address=10.0.0.1 --port=23456 --dashboard-host=127.0.0.1" in head
    assert "--nodes=2 --exclude=n1 " in workers
    assert workers.endswith("--address=10.0.0.1:23456")
    assert all("--cpus-per-task=16 ray start --block " in line for line in lines)
    assert "requeue" not in (folder / "scontrol").read_text()


@pytest.mark.slow
def test_a_job_whose_time_is_up_closes_its_runs_and_is_queued_again(slurm):
    start, folder = slurm
    job = start("study", "demo.yaml")
    while not (folder / "running").exists():
        assert job.poll() is None, job.communicate()
        time.sleep(0.05)
    job.send_signal(signal.SIGTERM)  # what `#SBATCH --signal=B:TERM@300` sends: to the script alone
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 143, output
    assert (folder / "closed").exists(), "the command had its time"
    assert "requeue 123456" in (folder / "scontrol").read_text()
    assert list((folder / "home").iterdir()) == []


def test_the_batch_script_says_how_it_is_used(slurm):
    start, folder = slurm
    job = start("demo.yaml")
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 2
    assert output.startswith("usage: sbatch cluster/slurm.sh VERB CONFIG")
    assert not (folder / "srun").exists()


def test_the_batch_script_is_sound():
    text = SCRIPT.read_text(encoding="utf-8")
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    assert SCRIPT.stat().st_mode & stat.S_IXUSR
    head, _, body = text.partition("set -euo pipefail\n")
    options = re.findall(r"^#SBATCH (--[\w-]+)=?", head, re.M)
    assert len(options) == len(set(options)) >= 8
    assert "#SBATCH" not in body, "SLURM reads no option after the first command"
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", SCRIPT], check=True)
