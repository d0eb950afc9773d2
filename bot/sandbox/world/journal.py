"""The log of everything that becomes true, and the critical path computed from it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LogEntry:
    """Something became true.

    ``at_world`` is world time in unix seconds, ``cluster`` the cluster's name, ``kind`` one of the words that
    :class:`Journal` documents, ``detail`` the object it is about.
    """

    at_world: float
    cluster: str
    kind: str
    detail: str


class Journal:
    """All entries, in order.

    Kinds: cluster-created, management-cluster, machine-created, instance-running, machine-failed, registered,
    control-plane-up, agent-connected, api-ready, system-project, node-ready (detail: node), gpu-node (node),
    repo-created, repo-downloaded, operation-created, app-deployed, operand-start (node),
    label (``node key=value``), allocatable (``node``), policy (its reason), job-created (job), job-pod-bound
    (``job node``), job-finished (``job Complete|Failed``), cluster-deleted, cluster-gone, instance-terminated.
    """

    def __init__(self) -> None:
        self.entries: list[LogEntry] = []

    def record(self, at: float, cluster: str, kind: str, detail: str = "") -> None:
        """Add an entry."""
        self.entries.append(LogEntry(at, cluster, kind, detail))

    def of(self, cluster: str) -> list[LogEntry]:
        """The entries of the last cluster of that name, oldest first."""
        found = [entry for entry in self.entries if entry.cluster == cluster]
        births = [index for index, entry in enumerate(found) if entry.kind == "cluster-created"]
        return found[births[-1] :] if births else found


def critical_path(entries: list[LogEntry]) -> float:
    """World seconds that the world itself needed from the cluster's POST to the end of the last GPU job.

    Each stage counts from its own latest prerequisite: what the client took to react between two stages is
    left out, and branches that run side by side count by the longer one.

    Raises:
        ValueError: when the log does not reach a finished job on a GPU node.
    """
    return _Path(entries).total()


class _Path:
    def __init__(self, entries: list[LogEntry]) -> None:
        self._entries = entries

    def total(self) -> float:
        born = self._first("cluster-created")
        workers = [e.at_world for e in self._all("node-ready") if e.detail not in self._gpu_nodes()]
        base = max([self._first("api-ready"), *workers[:1]]) - born
        project = self._first("system-project") - born
        repo = base + self._first("repo-downloaded") - self._last_before("repo-created", "repo-downloaded")
        deployed = self._first("app-deployed")
        app = max(repo, project) + deployed - self._last_before("operation-created", "app-deployed")
        return max(self._node(node, born, app, deployed) for node in self._measured())

    def _node(self, node: str, born: float, app: float, deployed: float) -> float:
        """End of the verification job on ``node``, with no client in between."""
        joined = self._first("node-ready", node)
        ready = max(self._first("allocatable", node), self._policy())
        chain = ready - max(joined, deployed)
        return max(joined - born, app) + chain + self._job_seconds(node)

    def _job_seconds(self, node: str) -> float:
        """The longest job on ``node``, from its creation to its end."""
        seconds = []
        for bound in self._all("job-pod-bound"):
            job, where = bound.detail.split()
            ends = [e.at_world for e in self._all("job-finished") if e.detail.split()[0] == job]
            if where == node and ends:
                seconds.append(ends[0] - self._first("job-created", job))
        if not seconds:
            raise ValueError(f"no job has finished on {node}")
        return max(seconds)

    def _policy(self) -> float:
        """When the ClusterPolicy was reconciled for good, before the first job."""
        first_job = self._first("job-created")
        times = [e.at_world for e in self._all("policy") if e.detail == "Reconciled" and e.at_world <= first_job]
        return times[-1] if times else 0.0

    def _measured(self) -> list[str]:
        """GPU nodes on which a job has run."""
        ran = {e.detail.split()[1] for e in self._all("job-pod-bound")}
        nodes = [node for node in self._gpu_nodes() if node in ran]
        if not nodes:
            raise ValueError("no job has run on a GPU node yet")
        return nodes

    def _gpu_nodes(self) -> list[str]:
        return [e.detail for e in self._all("gpu-node")]

    def _all(self, kind: str) -> list[LogEntry]:
        return [e for e in self._entries if e.kind == kind]

    def _first(self, kind: str, detail: str | None = None) -> float:
        for entry in self._all(kind):
            if detail is None or entry.detail == detail:
                return entry.at_world
        raise ValueError(f"the log has no {kind} {detail or ''}".rstrip())

    def _last_before(self, kind: str, later: str) -> float:
        """The last ``kind`` before the first ``later``: the attempt that led to it."""
        limit = self._first(later)
        times = [e.at_world for e in self._all(kind) if e.at_world <= limit]
        if not times:
            raise ValueError(f"the log has no {kind} before {later}")
        return times[-1]
