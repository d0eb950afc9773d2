"""What a container does, judged by its command: the GPU probe, nvidia-smi, sleep, or nothing much."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from bot.sandbox.world.kube.kinds import CONFIG_MAP
from bot.sandbox.world.kube.objects import Obj, ObjectStore
from bot.sandbox.world.metal.gpus import Gpu
from bot.sandbox.world.metal.probe_output import probe_document, probe_exit_code, probe_line

_FOREVER = 10.0 * 365 * 86400


@dataclass(frozen=True)
class Run:
    """How long a container runs, in world seconds, how it ends and what it has printed by then."""

    seconds: float
    exit_code: int
    output: str


@dataclass(frozen=True)
class Place:
    """Where a container runs: the node, its driver ("" without one) and the GPUs given to the pod."""

    node: str
    driver: str
    gpus: tuple[Gpu, ...]
    now: float


def run_container(store: ObjectStore, pod: Obj, container: Obj, place: Place, probe: float, other: float) -> Run:
    """Decide what ``container`` does; ``probe`` and ``other`` are durations in world seconds."""
    words = [*(container.get("command") or []), *(container.get("args") or [])]
    command = " ".join(words)
    if "probe.py" in command:
        return _probe(store, pod, container, command, place, probe)
    if "/cuda-samples/vectorAdd" in command:
        return _vector_add(command, place)
    if found := re.search(r"\bdcgmi diag -r (\d)", command):
        return _dcgm(int(found[1]), place)
    if "nvidia-smi" in command:
        return _nvidia_smi(place)
    if found := re.search(r"\bsleep (\d+(?:\.\d+)?|infinity)\b", command):
        seconds = _FOREVER if found[1] == "infinity" else float(found[1])
        return Run(seconds, 0, "")
    return Run(other, 0, "")


def mounted_file(store: ObjectStore, pod: Obj, container: Obj, path: str) -> str | None:
    """The text of ``path`` inside the container, if a ConfigMap is mounted there."""
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or []}
    for mount in container.get("volumeMounts") or []:
        config = (volumes.get(mount["name"]) or {}).get("configMap")
        if config is None:
            continue
        found = store.find(CONFIG_MAP, config.get("name", ""), pod["metadata"]["namespace"])
        data = (found or {}).get("data") or {}
        names = {item["path"]: item["key"] for item in config.get("items") or []} or {key: key for key in data}
        for name, key in names.items():
            where = mount["mountPath"] if mount.get("subPath") == name else f"{mount['mountPath'].rstrip('/')}/{name}"
            if where == path and key in data:
                return str(data[key])
    return None


def _probe(store: ObjectStore, pod: Obj, container: Obj, command: str, place: Place, seconds: float) -> Run:
    path = next(word.strip("'\"") for word in command.split() if "probe.py" in word)
    script = mounted_file(store, pod, container, path)
    if script is None:
        return Run(0.2, 2, f"python3: can't open file '{path}': [Errno 2] No such file or directory\n")
    found = re.search(r"--level (\w+)", command)
    level = found[1] if found else "standard"
    document = probe_document(
        script,
        level=level,
        host=place.node,
        started=place.now,
        seconds=seconds,
        driver=place.driver,
        gpus=place.gpus,
    )
    return Run(seconds, probe_exit_code(document), probe_line(document))


def _nvidia_smi(place: Place) -> Run:
    if not place.gpus:
        return Run(0.5, 127, "sh: 1: nvidia-smi: not found\n")
    lines = [f"GPU {i}: {gpu.model.name} (UUID: {gpu.uuid})\n" for i, gpu in enumerate(place.gpus)]
    return Run(1.0, 0, "".join(lines))


_ADDED = """\
[Vector addition of 50000 elements]
Copy input data from the host memory to the CUDA device
CUDA kernel launch with 196 blocks of 256 threads
Copy output data from the CUDA device to the host memory
Test PASSED
Done
"""
_NOT_ADDED = """\
Failed to allocate device vector A (error code no CUDA-capable device is detected)!
[Vector addition of 50000 elements]
"""


def _vector_add(command: str, place: Place) -> Run:
    """NVIDIA's sample for each index of the shell's loop, its words as two H100 gave them.

    It is too small to notice a GPU that errs now and then.
    """
    wanted = re.search(r"for i in ([\d ]+);", command)
    text = ""
    for index in map(int, wanted[1].split()) if wanted else (0,):
        there = index < len(place.gpus)
        said = _ADDED if there else _NOT_ADDED
        text += f"gpu-cluster GPU {index}\n{said}exit {int(not there)}\n"
    return Run(3.0, 0, text)


def _dcgm(level: int, place: Place) -> Run:
    """DCGM 4's JSON at a run level: r3 stresses, and notices the faulty."""
    categories = [{"category": "Deployment", "tests": [_dcgm_test("software", place, ())]}]
    if level >= 2:
        categories.append({"category": "Integration", "tests": [_dcgm_test("pcie", place, ())]})
    if level >= 3:
        bad = tuple(index for index, gpu in enumerate(place.gpus) if gpu.faulty)
        categories.append({"category": "Stress", "tests": [_dcgm_test("diagnostic", place, bad)]})
    body = {"DCGM Diagnostic": {"test_categories": categories}, "metadata": {"version": "4.6.0"}}
    return Run(
        (30.0, 120.0, 900.0)[level - 1],
        int(level >= 3 and any(gpu.faulty for gpu in place.gpus)),
        json.dumps(body, indent=2),
    )


def _dcgm_test(name: str, place: Place, bad: tuple[int, ...]) -> Obj:
    warning = {
        "warning": "There were inconsistencies detected in the GPU results.",
        "error_id": 12,
        "error_severity": 2,
    }
    results = [
        {
            "entity_group": "GPU",
            "entity_group_id": 1,
            "entity_id": index,
            "status": "Fail" if index in bad else "Pass",
            **({"warnings": [warning]} if index in bad else {}),
        }
        for index in range(len(place.gpus))
    ]
    return {"name": name, "results": results, "test_summary": {"status": "Fail" if bad else "Pass"}}
