"""How long things take in the simulated world, in world seconds.

Sources of the orders of magnitude: rancher/rancher (provisioning), NVIDIA/gpu-operator (readiness chain).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Timings:
    """Mean delays; :meth:`jittered` varies each by up to 15 %."""

    management_cluster: float = 2.0  # POST of the cluster → its management cluster exists
    machine_objects: float = 3.0  # → machines of every pool exist
    ec2_launch: float = 20.0  # rancher-machine's job, until RunInstances has answered
    ec2_ready: float = 20.0  # → the infrastructure is ready
    agent_check_in: float = 70.0  # → the node's agent has asked for its plan
    bootstrap: float = 150.0  # every role registered → control plane answers
    join: float = 60.0  # control plane up → a further node is Ready
    agent_connected: float = 20.0  # control plane up → cluster agent connected
    impersonation: float = 6.0  # agent connected → the proxy can impersonate users
    system_project: float = 4.0  # agent connected → System project exists
    reconcile_again: float = 15.0  # length of the second "updating" after the first join
    failed_machine: float = 20.0  # a failed machine is wiped after this
    drain: float = 5.0
    terminate: float = 30.0  # machine told to go → its instance is terminated
    machine_gone: float = 45.0  # → the machine object is gone
    cluster_gone: float = 15.0  # last machine gone → cluster object gone
    namespace_gone: float = 5.0

    repo_download: float = 10.0
    helm_pod: float = 4.0  # action POST → the helm pod runs
    helm_release: float = 12.0  # → a release secret exists (pending-install)
    helm_apply: float = 22.0  # → manifests are applied, the release is deployed
    helm_uninstall: float = 15.0

    operator_start: float = 15.0  # manifests applied → gpu-operator and NFD pods run
    nfd_label: float = 25.0  # NFD worker on the node → pci-10de label
    operator_label: float = 3.0  # pci-10de → nvidia.com/gpu.present and deploy labels
    driver: float = 180.0
    driver_failure: float = 75.0  # a driver that cannot build gives up after this
    toolkit: float = 20.0
    toolkit_restart: float = 10.0  # node NotReady while containerd restarts
    device_plugin: float = 20.0
    validator: float = 40.0
    policy_reconcile: float = 5.0

    schedule: float = 0.5
    image_pull: float = 15.0
    container_start: float = 1.0
    container_default: float = 5.0  # what an unknown command takes
    probe: float = 6.0
    pod_removal: float = 2.0
    mount_retry: float = 10.0
    sandbox_retry: float = 15.0  # a pod whose sandbox cannot be made is tried again

    def jittered(self, seed: int) -> Timings:
        """The same delays, each multiplied by a factor within 0.85–1.15 that ``seed`` decides."""
        rng = random.Random(seed)
        return Timings(**{f.name: getattr(self, f.name) * rng.uniform(0.85, 1.15) for f in fields(self)})
