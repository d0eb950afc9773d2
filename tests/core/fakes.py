"""A scripted outside world for the core: a hand-moved clock, Rancher, AWS and one cluster that agree with each other.

Strict: what must not be asked fails the test, and so does making anything in a wrong order. Whatever is made is
counted under its name, so that a test can see that nothing was made twice.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import NAMESPACE_DNS, uuid5

from bot.core.capacity.places import homes
from bot.core.cloud import (
    Announcement,
    DiskKey,
    InstanceProfile,
    Opening,
    Quota,
    Reservation,
    Routes,
    SecurityGroup,
    Trial,
)
from bot.core.operator_values import CHART, NAMESPACE, RELEASE, REPO_NAME, REPO_URL
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
    News,
    Node,
    OwnEndpoint,
    Permanent,
    PodLog,
    PodTrouble,
    PolicyView,
    RancherAbout,
    Release,
    RepoView,
    StoredSecret,
    Subnet,
    Token,
    WorldError,
)
from bot.core.spec import (
    GPU_TAINT,
    LABEL_CLUSTER,
    LABEL_POOL,
    LABEL_REQUEST,
    UNVERIFIED_TAINT,
    Distribution,
    Envelope,
    Pool,
)
from bot.core.wiring import DIRECT, Network

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
        InstanceType("g5.xlarge", 4, 16384, "x86_64", 1, "A10G", "NVIDIA", 24576),
    )

    def __init__(self) -> None:
        super().__init__()
        self.nets: tuple[Subnet, ...] = (Subnet("subnet-1", "vpc-1", "us-east-1a", 200),)
        self.left: tuple[Instance, ...] = ()
        self.owner = ""
        self.withdrawn: tuple[str, ...] = ()
        self.prices: dict[str, float] = {}
        self.unpriced = False
        self.limit = 1000.0
        self.region = "us-east-1"
        self.announced: tuple[Announcement, ...] = ()
        self.asked_announced = 0

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
        return self.nets

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

    def announcements(self) -> tuple[Announcement, ...]:
        self.asked_announced += 1
        self._ask()
        return self.announced

    def elsewhere(self, region: str) -> FakeCloud:
        return self

    def region_status(self) -> str:
        self._ask()
        return "opt-in-not-required"

    def quota(self, code: str) -> Quota:
        self._ask()
        return Quota(code, self.limit)

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

    def instance_profile(self, name: str) -> InstanceProfile:
        self._ask()
        return InstanceProfile(f"arn:aws:iam::123456789012:instance-profile/{name}", ("nodes",))

    def disk_key(self, arn: str) -> DiskKey:
        self._ask()
        return DiskKey(arn, "123456789012", "Enabled", "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")

    def instances(self, tag: str, value: str) -> tuple[Instance, ...]:
        """`left` carry the tag of the cluster, and of the request `owner`."""
        self._ask()
        return self.left if tag == LABEL_CLUSTER or value == self.owner else ()


class FakeRancher(Scripted):
    """Makes clusters at once; `machines` can be rewritten by a test, and so can every answer that is an attribute.

    `sizes` are the pools' sizes, `held` those that were lowered and whether to nothing, `sized` every change asked for.
    """

    def __init__(self, cloud: FakeCloud, clock: HandClock) -> None:
        super().__init__()
        self._cloud, self.clock = cloud, clock
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
        self.repos: dict[str, str] = {}
        self.others: dict[str, tuple[str, ...]] = {}
        self.apps: dict[str, AppView] = {}
        self.release: AppView | None = None
        self.sizes: dict[str, int] = {}
        self.held: list[tuple[str, bool]] = []
        self.marked: list[str] = []
        self.gone: list[str] = []
        self.makes = True
        self.born = 0
        self.newcomers: Callable[[str, int], MachineView] | None = None
        self.sized: list[dict[str, int]] = []
        self.crash_after_sizing = False
        self.bound: list[tuple[str, str]] = []
        self.persons: dict[str, str] = {}
        self.roles: frozenset[str] = frozenset({"cluster-member", "gpu-cluster-user"})
        self.unbound: list[str] = []
        self.tokens: WorldError | None = None
        self.existing = False
        self.charts_there: tuple[Release, ...] = ()
        self.orders: list[ChartOrder] = []
        self.crash_after_install = False
        self.helm_seconds = 0.0
        self.installed_at = 0.0
        self.helm_log = ""
        self.observed: list[float] = []
        self.names: set[str] = set()
        self.shown = ""
        self.credentials = {CREDENTIAL}

    def about(self) -> RancherAbout:
        raise AssertionError("no look asks who we are")

    def kubernetes_versions(self, distribution: Distribution = "rke2") -> tuple[str, ...]:
        self._ask()
        return (KUBERNETES,)

    def default_kubernetes(self, distribution: Distribution = "rke2") -> str:
        self._ask()
        return KUBERNETES

    def has_credential(self, credential: str) -> bool:
        self._ask()
        return credential in self.credentials

    def secret(self, name: str) -> StoredSecret | None:
        self._ask()
        return StoredSecret("rke.cattle.io/auth-config", ("password", "username"))

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
        self.sizes = {pool.name: pool.count for pool in envelope.pools}
        self.machines = tuple(joined(pool.name, n) for pool in envelope.pools for n in range(pool.count))
        self._cloud.left = tuple(Instance(f"i-{m.uid}", m.name, "any", "running", "us-east-1a") for m in self.machines)

    def changed(self) -> News:
        shown = repr((self.label, self.machines, self.connected, self.deleting, self.says, self.existing))
        before, self.shown = self.shown, shown
        return News(frozenset(self.names if shown != before else ()))

    def observe(self, name: str, *, newer_than: float) -> ClusterView | None:
        self._ask()
        self.names.add(name)
        assert newer_than <= self.clock.real(), "a look cannot wait for the future"
        self.observed.append(newer_than)
        if self.deleting:
            self.lingers -= 1
            if self.lingers < 0 and self.label:
                self.label, self._cloud.left = "", ()
        if not self.label and not self.existing:
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

    def size_pools(self, envelope: Envelope, pools: tuple[Pool, ...], request_id: str) -> None:
        """As the real one: all or nothing, never more than is approved. Where it `makes` machines, they join now."""
        self._ask()
        wanted = {pool.name: pool.count for pool in pools if pool.count or pool.name in self.sizes}
        for ordered in envelope.pools:
            names = {home.name for home in homes(envelope, ordered)}
            total = sum(size for name, size in (self.sizes | wanted).items() if name in names)
            assert not names & set(wanted) or total <= ordered.count, f"more than approved: {wanted}"
        for pool in pools:
            if pool.name not in self.sizes and pool.count:
                assert request_id == self.label, "a sibling's machine config is of the request that made the cluster"
                self.configs[pool.name] = request_id
                self.made[f"config {pool.name}"] += 1
        self._change(wanted)
        self.sized.append(wanted)
        if self.makes:
            for name, size in wanted.items():
                self._fill(name, size)
        if self.crash_after_sizing:
            self.crash_after_sizing = False
            raise KilledHere

    def _fill(self, pool: str, size: int) -> None:
        """New machines join, unless `newcomers` says what becomes of them; first go the marked, then the unjoined."""
        own = [m for m in self.machines if m.pool == pool]
        others = tuple(m for m in self.machines if m.pool != pool)
        taken = {m.name for m in own}
        fresh = (n for n in range(100) if f"{pool}-{n}" not in taken)
        make = self.newcomers or joined
        own += [make(pool, next(fresh)) for _ in range(size - len(own))]
        going = sorted(own, key=lambda m: (m.name not in self.marked, bool(m.node)))[: max(len(own) - size, 0)]
        self.machines = (*others, *(m for m in own if m not in going))
        self._cloud.left = tuple(Instance(f"i-{m.uid}", m.name, "any", "running", "us-east-1a") for m in self.machines)

    def trim_pools(self, name: str, most: Mapping[str, int]) -> tuple[str, ...]:
        self._ask()
        high = {n: most.get(n, 0) for n, size in self.sizes.items() if size > most.get(n, 0)}
        said = tuple(f"pool {n}: {self.sizes[n]} machines, {size} approved" for n, size in high.items())
        self._change(high)
        return said

    def _change(self, sizes: Mapping[str, int]) -> None:
        self.held += [(n, size == 0) for n, size in sizes.items() if size < self.sizes.get(n, 0)]
        self.sizes |= sizes

    def mark_machine(self, machine: str) -> None:
        self._ask()
        self.marked.append(machine)

    def remove_machine(self, machine: str) -> None:
        self._ask()
        self.gone.append(machine)
        pool = next(m.pool for m in self.machines if m.name == machine)
        self.machines = tuple(m for m in self.machines if m.name != machine)
        own = sum(m.pool == pool for m in self.machines)
        self.born += 1
        make = self.newcomers or joined
        self.machines = (*self.machines, *([make(pool, 100 + self.born)] if own < self.sizes[pool] else []))

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

    def ensure_repo(
        self, management_id: str, name: str, url: str, request_id: str, network: Network = DIRECT
    ) -> RepoView:
        self._ask()
        assert (management_id, self.connected) == (MID, True)
        assert name != REPO_NAME or url == (network.chart_mirror or REPO_URL)
        self.repos[name] = url
        return self.repo

    def chart_versions(self, management_id: str, repo: str, chart: str) -> tuple[str, ...]:
        self._ask()
        assert repo in self.repos
        return self.charts if (repo, chart) == (REPO_NAME, CHART) else self.others.get(chart, ())

    def install_chart(self, management_id: str, order: ChartOrder) -> str:
        self._ask()
        self.made["helm operation"] += 1
        self.orders.append(order)
        if order.release != RELEASE:
            self.apps.setdefault(order.release, AppView("deployed", order.version, 1))
            return f"helm-operation-{order.release}"
        self.installed_at = self.clock.now()
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
        if release != RELEASE:
            return self.apps.get(release)
        pending = self.release is not None and self.release.status == "pending-install"
        if self.release is not None and pending and self.clock.now() >= self.installed_at + self.helm_seconds:
            self.release = dataclasses.replace(self.release, status="deployed")
        return self.release

    def releases(self, management_id: str) -> tuple[Release, ...]:
        self._ask()
        return self.charts_there

    def has_role(self, role: str) -> bool:
        self._ask()
        return role in self.roles

    def bind_role(self, management_id: str, principal: str, role: str, *, person: str = "") -> None:
        self._ask()
        assert management_id == MID and role in self.roles
        self.bound.append((principal, role))
        if person:
            self.persons[person] = principal

    def unbind(self, management_id: str, person: str) -> None:
        self._ask()
        assert management_id == MID
        self.unbound.append(person)
        self.persons.pop(person, None)

    def let_tokens_through(self, management_id: str, *, may_change: bool) -> None:
        self._ask()
        if self.tokens is not None:
            raise self.tokens


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
        self.logs: tuple[PodLog, ...] = ()
        self.kernel: dict[str, str] = {}
        self.namespaces: dict[str, bool] = {}
        self.orders: dict[str, JobOrder] = {}
        self.results: dict[str, JobView] = {}
        self.opened: list[str] = []
        self.accounts: dict[str, str] = {}
        self.classes: tuple[str, ...] = ()
        self.closed: list[str] = []
        self.removed: list[str] = []
        self.in_use: dict[str, int] = {}
        self.asked_nodes = 0

    def version(self) -> str:
        self._ask()
        assert self._rancher.connected, "it does not answer before it is connected"
        return KUBERNETES

    def nodes(self) -> tuple[Node, ...]:
        self._ask()
        self.asked_nodes += 1
        return tuple(self._node(m) for m in self._rancher.machines if m.node)

    def _node(self, machine: MachineView) -> Node:
        gpu = machine.pool.startswith("gpu")
        there = gpu and self._rancher.release is not None
        marks = {"feature.node.kubernetes.io/pci-10de.present": "true", "nvidia.com/gpu.present": "true"}
        taints = [(GPU_TAINT, "present", "NoSchedule"), (UNVERIFIED_TAINT, "true", "NoSchedule")]
        node = Node(
            name=machine.node,
            uid=str(uuid5(NAMESPACE_DNS, machine.node)),
            ready=True,
            labels={LABEL_POOL: "gpu" if gpu else machine.pool, **(marks if there else {})},
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
        return self.troubles if namespace == NAMESPACE else ()

    def pod_logs(self, namespace: str, apps: tuple[str, ...], lines: int, most: int) -> tuple[PodLog, ...]:
        self._ask()
        found = [log for log in self.logs if log.namespace == namespace and (not apps or log.app in apps)]
        return tuple(found[:most])

    def ask_driver(self, namespace: str, app: str, node: str, command: tuple[str, ...]) -> str:
        self._ask()
        return ""

    def kernel_log(self, namespace: str, app: str) -> Mapping[str, str]:
        self._ask()
        return self.kernel

    def ensure_job(self, order: JobOrder) -> None:
        self._ask()
        assert order.namespace in self.namespaces, "its namespace comes first"
        if order.name not in self.orders:
            self.made[f"job {order.name}"] += 1
            self.orders[order.name] = order

    def job(self, namespace: str, name: str) -> JobView | None:
        self._ask()
        if name not in self.orders:
            return None
        node = self.orders[name].node
        return self.results.get(node, JobView("succeeded", "", "", probe_log(at=node)))

    def jobs(self, namespace: str, request_id: str, wanted: Collection[str]) -> Mapping[str, JobView]:
        self._ask()
        mine = {name for name, order in self.orders.items() if order.labels[LABEL_REQUEST] == request_id}
        return {name: view for name in mine & set(wanted) if (view := self.job(namespace, name)) is not None}

    def started_at(self, app: str, node: str) -> float | None:
        self._ask()
        return None

    def remove_job(self, namespace: str, name: str) -> None:
        self._ask()
        self.removed.append(name)

    def remove_jobs_of(self, namespace: str, requests: tuple[str, ...]) -> None:
        self._ask()
        gone = [name for name, order in self.orders.items() if order.labels[LABEL_REQUEST] in requests]
        for name in gone:
            del self.orders[name]

    def remove_namespace(self, name: str, request_id: str) -> None:
        assert self._rancher.existing, "the namespace goes with its cluster"
        self.namespaces.pop(name, None)

    def gpus_in_use(self) -> Mapping[str, int]:
        self._ask()
        return self.in_use

    def runtime_classes(self) -> tuple[str, ...]:
        self._ask()
        return ("nvidia",)

    def remove_taint(self, node: str, key: str) -> None:
        self._ask()
        assert key == UNVERIFIED_TAINT
        self.opened.append(node)

    def add_taint(self, node: str, key: str) -> None:
        self._ask()
        assert key == UNVERIFIED_TAINT
        self.opened = [name for name in self.opened if name != node]
        self.closed.append(node)

    def storage_class(self) -> str:
        self._ask()
        return "ebs-gp3"

    def issue_token(self, account: str, person: str, *, seconds: int) -> Token:
        self._ask()
        self.accounts[account] = person
        self.made[f"token {account}"] += 1
        return Token(f"secret-{account}-{self.made[f'token {account}']}", self._rancher.clock.now() + seconds)

    def remove_accounts(self, *, account: str = "", person: str = "") -> None:
        self._ask()
        assert bool(account) != bool(person)
        self.accounts = {k: v for k, v in self.accounts.items() if account not in ("", k) or person not in ("", v)}

    def device_classes(self) -> tuple[str, ...]:
        self._ask()
        return self.classes

    def own_endpoint(self) -> OwnEndpoint:
        self._ask()
        return OwnEndpoint("https://10.0.0.7:6443", "UEVN")


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
