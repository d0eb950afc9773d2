"""A scripted outside world for the core: a hand-moved clock, Rancher, AWS and one cluster that agree with each other.

Strict: what must not be asked fails the test, and so does making anything in a wrong order. Whatever is made is
counted under its name, so that a test can see that nothing was made twice.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import NAMESPACE_DNS, uuid5

from bot.core.cloud import Opening, Quota, Reservation, Routes, SecurityGroup, Trial
from bot.core.operator_values import CHART, NAMESPACE, REPO_NAME, REPO_URL
from bot.core.policy import Person
from bot.core.ports import (
    AppView,
    ChartOrder,
    ClusterView,
    Foreign,
    Identity,
    Instance,
    InstanceType,
    JobOrder,
    JobView,
    MachineImage,
    MachineView,
    Node,
    Permanent,
    PodTrouble,
    PolicyView,
    RancherAbout,
    RepoView,
    Subnet,
    WorldError,
)
from bot.core.spec import GPU_TAINT, LABEL_CLUSTER, LABEL_POOL, UNVERIFIED_TAINT, Envelope, Pool

MID = "c-m-abcdefgh"
KUBERNETES = "v1.34.1+rke2r1"
OPERATOR = "v26.7.0"
CREDENTIAL = "cattle-global-data:cc-test1"
PROBE = json.loads((Path(__file__).parents[1] / "probe/fixtures/h100-quick.json").read_text())


class HandClock:
    """World and real time, moved by hand and together."""

    def __init__(self) -> None:
        self.world = 1_795_000_000.0
        self.wall = 1_700_000_000.0

    def now(self) -> float:
        return self.world

    def real(self) -> float:
        return self.wall

    def real_seconds(self, world_seconds: float) -> float:
        return world_seconds

    def forward(self, seconds: float) -> None:
        self.world += seconds
        self.wall += seconds


@dataclass
class FakeDirectory:
    """Who is who. `stale` is what the cached group says; `trouble` is raised by every question."""

    groups: dict[str, frozenset[str]] = field(default_factory=dict)
    stale: dict[str, frozenset[str]] = field(default_factory=dict)
    guests: frozenset[str] = frozenset()
    trouble: Exception | None = None
    asked: list[tuple[str, bool]] = field(default_factory=list)

    def person(self, user: str) -> Person:
        if self.trouble is not None:
            raise self.trouble
        return Person(user, user not in self.guests)

    def group(self, group: str, *, fresh: bool = False) -> frozenset[str]:
        if self.trouble is not None:
            raise self.trouble
        self.asked.append((group, fresh))
        return self.groups[group] if fresh else self.stale.get(group, self.groups[group])


PROBE_SCRIPT = "# the probe"


def probe_log(*, gpus: int = 1, name: str = "Tesla T4", memory_mib: int = 15360, ok: bool = True, at: str = "0") -> str:
    """What the probe prints on a machine with so many GPUs."""
    one = PROBE["gpus"][0]
    checks = [{**check, "ok": ok, "detail": "" if ok else "3 of 16777216 sums differ"} for check in one["checks"]]
    records = [
        {**one, "index": i, "uuid": f"GPU-{at}-{i}", "name": name, "memory_mib": memory_mib, "checks": checks}
        for i in range(gpus)
    ]
    own = hashlib.sha256(PROBE_SCRIPT.encode()).hexdigest()[:12]
    return "GPU 0: measured\n" + json.dumps({**PROBE, "probe": own, "gpus": records})


class Scripted:
    """Every question may be answered by `trouble`; `made` counts creations by name."""

    def __init__(self) -> None:
        self.trouble: WorldError | None = None
        self.made: Counter[str] = Counter()

    def _ask(self) -> None:
        if self.trouble is not None:
            raise self.trouble


class FakeCloud(Scripted):
    """EC2 with a few types; `left` are the machines that carry a cluster's name."""

    TYPES = (
        InstanceType("t3.large", 2, 8192, "x86_64"),
        InstanceType("g4dn.xlarge", 4, 16384, "x86_64", 1, "T4", "NVIDIA", 16384),
    )

    def __init__(self) -> None:
        super().__init__()
        self.left: tuple[Instance, ...] = ()
        self.owner = ""
        self.withdrawn: tuple[str, ...] = ()
        self.prices: dict[str, float] = {}
        self.unpriced = False

    def identity(self) -> Identity:
        self._ask()
        return Identity("123456789012", "arn:aws:iam::123456789012:user/bot")

    def instance_types(self, names: tuple[str, ...]) -> dict[str, InstanceType]:
        self._ask()
        return {t.name: t for t in self.TYPES if t.name in names and t.name not in self.withdrawn}

    def gpu_types(self) -> tuple[InstanceType, ...]:
        self._ask()
        return ()

    def zones_offering(self, name: str) -> tuple[str, ...]:
        self._ask()
        return ("us-east-1a", "us-east-1b")

    def subnets(self, vpc: str, ids: tuple[str, ...]) -> tuple[Subnet, ...]:
        self._ask()
        return (Subnet("subnet-1", "vpc-1", "us-east-1a", 200),)

    def image(self, reference: str) -> MachineImage:
        self._ask()
        return MachineImage("ami-1", reference, "x86_64", "099720109477", 8, False)

    def routes(self, vpc: str) -> Routes:
        self._ask()
        return Routes("igw-1")

    def security_group(self, vpc: str, name: str) -> SecurityGroup | None:
        self._ask()
        among, ssh = Opening("-1", 0, 65535, "sg-1"), Opening("tcp", 22, 22, "10.0.0.0/8")
        return SecurityGroup("sg-1", (among, ssh), (Opening("-1", 0, 65535, "0.0.0.0/0"),))

    def elsewhere(self, region: str) -> FakeCloud:
        return self

    def region_status(self) -> str:
        self._ask()
        return "opt-in-not-required"

    def quota(self, code: str) -> Quota:
        self._ask()
        return Quota(code, 1000.0)

    def vcpus_in_use(self) -> dict[str, int]:
        self._ask()
        return {}

    def allowed_to_start(self, trial: Trial) -> bool:
        self._ask()
        return True

    def reservations(self, name: str) -> tuple[Reservation, ...]:
        self._ask()
        return ()

    def placement_scores(self, name: str, count: int) -> dict[str, int]:
        self._ask()
        return {}

    def on_demand_price(self, name: str) -> float:
        self._ask()
        if self.unpriced:
            raise Permanent(f"AWS's price list has no price for {name}")
        return self.prices.get(name, 0.1)

    def spot_prices(self, name: str) -> dict[str, float]:
        self._ask()
        return {}

    def disk_price(self) -> float:
        self._ask()
        return 0.0

    def instances(self, tag: str, value: str) -> tuple[Instance, ...]:
        """`left` carry the tag of the cluster, and of the request `owner`."""
        self._ask()
        return self.left if tag == LABEL_CLUSTER or value == self.owner else ()


class FakeRancher(Scripted):
    """Makes clusters at once; `machines` can be rewritten by a test, and so can every answer that is an attribute."""

    def __init__(self, cloud: FakeCloud, clock: HandClock) -> None:
        super().__init__()
        self._cloud, self._clock = cloud, clock
        self.configs: dict[str, str] = {}
        self.label = ""
        self.machines: tuple[MachineView, ...] = ()
        self.connected = True
        self.deleting = False
        self.says: dict[str, object] = {}
        self.lingers = 0
        self.management_gone = True
        self.repo = RepoView(True, "", "")
        self.charts: tuple[str, ...] = (OPERATOR, "v26.3.3")
        self.release: AppView | None = None
        self.held: list[tuple[str, bool]] = []
        self.bound: list[tuple[str, str]] = []
        self.orders: list[ChartOrder] = []
        self.crash_after_install = False
        self.helm_seconds = 0.0
        self.installed_at = 0.0
        self.helm_log = ""
        self.observed: list[float] = []

    def about(self) -> RancherAbout:
        raise AssertionError("no look asks who we are")

    def kubernetes_versions(self) -> tuple[str, ...]:
        self._ask()
        return (KUBERNETES,)

    def default_kubernetes(self) -> str:
        self._ask()
        return KUBERNETES

    def has_credential(self, credential: str) -> bool:
        self._ask()
        return credential == CREDENTIAL

    def ensure_machine_config(self, envelope: Envelope, pool: Pool, request_id: str) -> None:
        self._ask()
        if self.configs.setdefault(pool.name, request_id) != request_id:
            raise Foreign(f"The machine config of pool {pool.name} is another's.")
        self.made[f"config {pool.name}"] = 1

    def ensure_cluster(self, envelope: Envelope, request_id: str) -> None:
        self._ask()
        assert set(self.configs) == {pool.name for pool in envelope.pools}, "machine configs come first"
        if self.label:
            if self.label != request_id:
                raise Foreign(f"The cluster {envelope.name} is another's.")
            return
        self.made[f"cluster {envelope.name}"] += 1
        self.label = self._cloud.owner = request_id
        self.machines = tuple(joined(pool.name, n) for pool in envelope.pools for n in range(pool.count))
        self._cloud.left = tuple(Instance(f"i-{m.uid}", m.name, "any", "running", "us-east-1a") for m in self.machines)

    def observe(self, name: str, *, newer_than: float) -> ClusterView | None:
        self._ask()
        assert newer_than <= self._clock.real(), "a look cannot wait for the future"
        self.observed.append(newer_than)
        if self.deleting:
            self.lingers -= 1
            if self.lingers < 0 and self.label:
                self.label, self._cloud.left = "", ()
        if not self.label:
            return None
        view = ClusterView(
            name=name,
            request_label=self.label,
            management_id=MID,
            deleting=self.deleting,
            ready=True,
            updated=True,
            observed=True,
            connected=self.connected,
            state="active",
            transitioning=False,
            error=False,
            message="" if self.connected else "waiting for viable init node",
            machines=self.machines,
        )
        return dataclasses.replace(view, **self.says)  # type: ignore[arg-type]

    def hold_pool(self, name: str, pool: str, *, empty: bool) -> None:
        self._ask()
        self.held.append((pool, empty))

    def delete_cluster(self, name: str, request_ids: tuple[str, ...]) -> None:
        self._ask()
        if self.label and self.label not in request_ids:
            raise Foreign(f"The cluster {name} is another's.")
        self.deleting = True
        self.made["delete"] += 1

    def management_cluster_gone(self, management_id: str) -> bool:
        self._ask()
        assert management_id == MID
        return self.management_gone

    def system_project(self, management_id: str) -> str | None:
        self._ask()
        assert management_id == MID
        return f"{MID}:p-system"

    def ensure_repo(self, management_id: str, name: str, url: str, request_id: str) -> RepoView:
        self._ask()
        assert (management_id, name, url, self.connected) == (MID, REPO_NAME, REPO_URL, True)
        return self.repo

    def chart_versions(self, management_id: str, repo: str, chart: str) -> tuple[str, ...]:
        self._ask()
        assert (repo, chart) == (REPO_NAME, CHART)
        return self.charts

    def install_chart(self, management_id: str, order: ChartOrder) -> str:
        self._ask()
        self.made["helm operation"] += 1
        self.orders.append(order)
        self.installed_at = self._clock.now()
        self.release = AppView("pending-install", order.version, 1)
        if self.crash_after_install:
            self.crash_after_install = False
            raise KilledHere
        return f"helm-operation-{self.made['helm operation']}"

    def operation_log(self, management_id: str, namespace: str, operation: str) -> str:
        self._ask()
        return self.helm_log

    def app(self, management_id: str, namespace: str, release: str) -> AppView | None:
        self._ask()
        pending = self.release is not None and self.release.status == "pending-install"
        if self.release is not None and pending and self._clock.now() >= self.installed_at + self.helm_seconds:
            self.release = dataclasses.replace(self.release, status="deployed")
        return self.release

    def bind_role(self, management_id: str, principal: str, role: str) -> None:
        self._ask()
        self.bound.append((principal, role))


class KilledHere(BaseException):
    """The process dies at this very point: nothing after it runs, nothing of the look is written down."""


class FakeKube(Scripted):
    """The downstream cluster: its GPU nodes follow Rancher's machines, unless a test says otherwise in `changes`."""

    READY = PolicyView("ready", True, "Reconciled", "all resources have been successfully reconciled")

    def __init__(self, rancher: FakeRancher) -> None:
        super().__init__()
        self._rancher = rancher
        self.changes: dict[str, Mapping[str, object]] = {}
        self.view: PolicyView | None = self.READY
        self.troubles: tuple[PodTrouble, ...] = ()
        self.namespaces: dict[str, bool] = {}
        self.jobs: dict[str, JobOrder] = {}
        self.results: dict[str, JobView] = {}
        self.opened: list[str] = []

    def version(self) -> str:
        self._ask()
        assert self._rancher.connected, "it does not answer before it is connected"
        return KUBERNETES

    def nodes(self) -> tuple[Node, ...]:
        self._ask()
        return tuple(self._node(m) for m in self._rancher.machines if m.node)

    def _node(self, machine: MachineView) -> Node:
        gpu = machine.pool == "gpu"
        there = gpu and self._rancher.release is not None
        marks = {"feature.node.kubernetes.io/pci-10de.present": "true", "nvidia.com/gpu.present": "true"}
        taints = [(GPU_TAINT, "present", "NoSchedule"), (UNVERIFIED_TAINT, "true", "NoSchedule")]
        node = Node(
            name=machine.node,
            uid=str(uuid5(NAMESPACE_DNS, machine.node)),
            ready=True,
            labels={LABEL_POOL: machine.pool, **(marks if there else {})},
            taints=tuple(t for t in taints if gpu and not (t[0] == UNVERIFIED_TAINT and machine.node in self.opened)),
            gpus=int(there),
            gpu_capacity=int(there),
        )
        return dataclasses.replace(node, **self.changes.get(machine.node, {}))  # type: ignore[arg-type]

    def ensure_namespace(self, name: str, *, project: str, privileged: bool, labels: Mapping[str, str]) -> None:
        self._ask()
        self.namespaces[name] = privileged

    def policy(self) -> PolicyView | None:
        self._ask()
        return self.view

    def pod_troubles(self, namespace: str) -> tuple[PodTrouble, ...]:
        self._ask()
        assert namespace == NAMESPACE
        return self.troubles

    def ensure_job(self, order: JobOrder) -> None:
        self._ask()
        assert order.namespace in self.namespaces, "its namespace comes first"
        if order.name not in self.jobs:
            self.made[f"job {order.name}"] += 1
            self.jobs[order.name] = order

    def job(self, namespace: str, name: str) -> JobView | None:
        self._ask()
        if name not in self.jobs:
            return None
        node = self.jobs[name].node
        return self.results.get(node, JobView("succeeded", "", "", probe_log(at=node)))

    def remove_job(self, namespace: str, name: str) -> None:
        raise AssertionError("Jobs are kept: their logs are evidence")

    def remove_namespace(self, name: str, request_id: str) -> None:
        raise AssertionError("the namespace goes with its cluster")

    def gpus_in_use(self) -> Mapping[str, int]:
        self._ask()
        return {}

    def runtime_classes(self) -> tuple[str, ...]:
        self._ask()
        return ("nvidia",)

    def remove_taint(self, node: str, key: str) -> None:
        self._ask()
        assert key == UNVERIFIED_TAINT
        self.opened.append(node)

    def storage_class(self) -> str:
        self._ask()
        return "ebs-gp3"


def joined(pool: str, number: int) -> MachineView:
    """A machine that runs and whose node has joined."""
    name = f"{pool}-{number}"
    return MachineView(name, f"uid-{name}", pool, "Running", True, f"node-{name}", "", "")


def starting(pool: str, number: int, message: str = "") -> MachineView:
    """A machine that EC2 runs and that has not joined."""
    return dataclasses.replace(joined(pool, number), node="", phase="Provisioning", message=message)


def refused(pool: str, number: int, words: str) -> MachineView:
    """A machine that EC2 did not start, in rancher-machine's words around AWS's own."""
    text = f"Error creating machine: Error in driver during machine creation: error launching instance: {words}"
    bare = MachineView(f"{pool}-x{number}", f"uid-x{number}", pool, "Failed", False, "", "", "")
    return dataclasses.replace(bare, failure=text + "\n\tstatus code: 500, request id: 1a2b")
