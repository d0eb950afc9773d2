"""What one look sees of a cluster that is measured, asked once for all its nodes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property

from bot.core.ports import Cluster, JobView
from bot.core.spec import LABEL_MANAGED, LABEL_REQUEST

NAMESPACE = "gpu-cluster-verify"


class Sight:
    """Good for one look. Asks nothing before it is needed; raises the `WorldError`s of the cluster.

    `labels` are those of the Jobs; `wanted` the names of the Jobs whose result is still to be read.
    """

    def __init__(self, cluster: Cluster, labels: Mapping[str, str], wanted: Collection[str]) -> None:
        self.cluster = cluster
        self._labels, self._wanted = labels, wanted
        self._has_namespace = False

    @cached_property
    def jobs(self) -> Mapping[str, JobView]:
        """The Jobs that are there, by name."""
        return self.cluster.jobs(NAMESPACE, self._labels[LABEL_REQUEST], self._wanted)

    @cached_property
    def in_use(self) -> Mapping[str, int]:
        """GPUs that pods hold, by node, before this look has made a Job."""
        return self.cluster.gpus_in_use()

    def ensure_namespace(self) -> None:
        """Jobs need it; whether it is there is asked once."""
        if not self._has_namespace:
            labels = {key: value for key, value in self._labels.items() if key in (LABEL_MANAGED, LABEL_REQUEST)}
            self.cluster.ensure_namespace(NAMESPACE, project="", privileged=False, labels=labels)
            self._has_namespace = True
