"""How long things take in the simulated world, in world seconds.

Each delay says where it is from: a document or source that gives or bounds it, or *assumed*, which is a guess that
keeps within the bounds of its group. Nothing here was measured on a real Rancher.
Whole groups are bounded by what is reported of real clusters: from order to all nodes joined 3 to 8 minutes, a driver
built on the node 3 to 5 (NVIDIA cloud-native-docs: gpu-operator/getting-started.rst; NVIDIA/gpu-operator#413).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Timings:
    """Mean delays; :meth:`jittered` varies each by up to 15 %."""

    # Rancher and EC2
    management_cluster: float = 2.0  # POST of the cluster → its management cluster exists
    # "within seconds": rancher/rancher: pkg/controllers/provisioningv2/cluster/controller.go makes it in one go
    machine_objects: float = 3.0  # → machines of every pool exist. Assumed: some reconciliations of Cluster API
    ec2_launch: float = (
        20.0  # rancher-machine's job, until RunInstances has answered. Assumed: a pod's start and the call
    )
    ec2_ready: float = 20.0  # → the infrastructure is ready
    # The driver asks every 3 s, 60 times at most: rancher/machine: drivers/amazonec2/amazonec2.go (waitForInstance)
    agent_check_in: float = (
        70.0  # → the node's agent has asked for its plan. Assumed: boot, cloud-init, the agent's download
    )
    bootstrap: float = 150.0  # every role registered → control plane answers. Assumed: RKE2's images, etcd and probes
    join: float = 60.0  # control plane up → a further node is Ready. Assumed: the agent's images and the CNI
    agent_connected: float = 20.0  # control plane up → cluster agent connected. Assumed: one image
    impersonation: float = 6.0  # agent connected → the proxy can impersonate users
    # It says so with a 500 meanwhile: rancher/rancher: pkg/clusterrouter, pkg/impersonation. Length assumed
    system_project: float = 4.0  # agent connected → System project exists. Assumed: one reconciliation
    reconcile_again: float = (
        15.0  # length of the second "updating" after the first join. Assumed: the planner's next turns
    )
    failed_machine: float = 20.0  # a failed machine is wiped after this
    # Setting delete-machine-on-failure-after is 0s: seconds to a minute (rancher/rancher: pkg/settings/setting.go)
    drain: float = 5.0  # assumed: nothing to evict
    terminate: float = (
        30.0  # machine told to go → its instance is terminated. Assumed; with what follows "3 to 10 minutes"
    )
    machine_gone: float = 45.0  # → the machine object is gone. Assumed: rancher-machine's rm job
    cluster_gone: float = 15.0  # last machine gone → cluster object gone. Assumed: finalizers
    namespace_gone: float = 5.0  # assumed

    # Helm through Rancher (rancher/rancher: pkg/catalogv2/helmop)
    repo_download: float = 10.0  # assumed: an index of some MB
    helm_pod: float = 4.0  # action POST → the helm pod runs. Assumed: image rancher/shell is there already
    helm_release: float = 12.0  # → a release secret exists (pending-install). Assumed
    helm_apply: float = 22.0  # → manifests are applied, the release is deployed. Assumed: CRDs, then some 40 objects
    helm_uninstall: float = 15.0  # assumed

    # The GPU Operator
    operator_start: float = 15.0  # manifests applied → gpu-operator and NFD pods run. Assumed: two images
    nfd_label: float = (
        25.0  # NFD worker on the node → pci-10de label. At its start, then every 60 s (NFD: sleepInterval)
    )
    operator_label: float = 3.0  # pci-10de → nvidia.com/gpu.present and deploy labels. Assumed: one reconciliation
    driver: float = 180.0  # 3 to 5 minutes: getting-started.rst, gpu-operator#413
    driver_failure: float = 75.0  # a driver that cannot build gives up after this. Assumed: kernel headers do not come
    toolkit: float = 20.0  # assumed: one image, its init container waits for the driver
    toolkit_restart: float = 10.0  # node NotReady while containerd restarts (gpu-operator#432). Length assumed
    device_plugin: float = 20.0  # assumed: one image
    validator: float = 40.0  # assumed: one image, then four containers one after the other
    policy_reconcile: float = 5.0  # requeued after 5 s: gpu-operator: controllers/clusterpolicy_controller.go

    # Kubernetes
    schedule: float = 0.5  # assumed
    image_pull: float = 15.0  # assumed: 45 MB of python:slim
    container_start: float = 1.0  # assumed
    container_default: float = 5.0  # what an unknown command takes
    probe: float = 6.0  # short of what two H100 took: quick 7.7, standard 22.9 (docs/probe.md)
    pod_removal: float = 2.0  # assumed: nothing that needs its grace period
    mount_retry: float = 10.0  # assumed: within the kubelet's back-off of 0.5 s to 2 minutes
    sandbox_retry: float = 15.0  # a pod whose sandbox cannot be made is tried again. Assumed, as above

    def jittered(self, seed: int) -> Timings:
        """The same delays, each multiplied by a factor within 0.85–1.15 that ``seed`` decides."""
        rng = random.Random(seed)
        return Timings(**{f.name: getattr(self, f.name) * rng.uniform(0.85, 1.15) for f in fields(self)})
