"""The ways in which GPUs fail to appear on RKE2 and K3s, as data: signal, where it is read, cause, remedy, evidence.

Sources: NVIDIA gpu-operator troubleshooting.rst, platform-support.rst and release notes; k8s-device-plugin
internal/rm/health.go; the issues named in `evidence`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

POD, LOG, EVENT, LABEL, POLICY, PROBE = "pod", "log", "event", "label", "policy", "probe"

_DRIVER, _TOOLKIT = "nvidia-driver-daemonset", "nvidia-container-toolkit-daemonset"
_PLUGIN = "nvidia-device-plugin-daemonset"
_LOGS = "kubectl -n gpu-operator logs -l app={app} --all-containers --tail=50"


@dataclass(frozen=True)
class Mode:
    """One way to fail. `where` its signal is read; `app` the pods that it is looked for in, '' for all.

    `command` proves it; `patience_s` is how long the signal is normal, in world seconds; `unseen` says what of it only
    the node itself would show, and `unseen_command` how to look there.
    """

    number: int
    pattern: str
    where: tuple[str, ...]
    what: str
    remedy: str
    evidence: str
    command: str
    app: str = ""
    patience_s: float = 0.0
    unseen: str = ""
    unseen_command: str = ""

    @property
    def code(self) -> str:
        return f"diag-{self.number:02d}"

    def matches(self, text: str) -> bool:
        return re.search(self.pattern, text) is not None


def _logs(app: str) -> str:
    return _LOGS.format(app=app)


KERNEL = "the kernel's log where no driver pod runs"
_DMESG = "kubectl debug node/NODE -it --image=ubuntu --profile=sysadmin -- chroot /host dmesg"
_DESCRIBE = "kubectl -n gpu-operator describe pods"
_VALIDATOR = "nvidia-operator-validator"
_LABELS = "kubectl get nodes --show-labels"

# In the order of telling: what is broken for good, what stops the chain early, what stops it late, what may be a
# consequence of another.
CATALOGUE = (
    Mode(18, r"exit status 14\b|infoROM is corrupted", (POD, LOG, PROBE),
         "a GPU's infoROM is corrupt: hardware", "Replace the machine", "gpu-operator#2596",
         "nvidia-smi -q | grep -i inforom"),
    Mode(20, r"driver rpc error: timed out|Xid [^\n]*: 79\b|fallen off the bus|GPU is lost", (POD, LOG, PROBE),
         "a GPU fell off the bus", "Replace the machine (stopping and starting it may do)", "troubleshooting.rst",
         "dmesg | grep -i xid", unseen=KERNEL, unseen_command=_DMESG),
    Mode(19, r"XidCriticalError: Xid=\d+ on Device=GPU-", (LOG,),
         "the device plugin marked a GPU unhealthy after a critical Xid", "Replace the machine, or reset the GPU as the Xid says",
         "k8s-device-plugin: internal/rm/health.go", _logs(_PLUGIN)),
    Mode(26, r"^ignored\b|cannot co-exist", (POLICY,),
         "more than one ClusterPolicy (or a GPUCluster) claims the cluster", "Delete the extra object",
         "gpu-operator: controllers/clusterpolicy_controller.go", "kubectl get clusterpolicies,gpuclusters"),
    Mode(24, r"violates PodSecurity", (POD, EVENT, POLICY),
         "pod security refuses the operator's pods", "Label the namespace pod-security.kubernetes.io/enforce=privileged",
         "getting-started.rst", "kubectl get ns gpu-operator --show-labels"),
    Mode(21, r"OOMKilled", (POD,),
         "the operator itself ran out of memory", "Raise operator.resources.limits.memory (350Mi is too little for big clusters)",
         "gpu-operator#208", _DESCRIBE, app=r"^gpu-operator$"),
    Mode(23, r"\bEvicted\b|DiskPressure", (POD, EVENT),
         "the node's disk is full", "Use a larger root disk: root_gib = 100 or more in the preset",
         "rancher/machine: drivers/amazonec2/amazonec2.go", "kubectl describe node | grep -A8 Conditions"),
    Mode(10, r"pci-10de\.present is missing", (LABEL,),
         "no NVIDIA device was found on the PCI bus of a GPU machine", "Replace the machine; if all lack it, look at the NFD worker",
         "gpu-operator: controllers/state_manager.go", "lspci -d 10de:"),
    Mode(9, r"desired 0 of \d+|gpu\.deploy\.operands=false", (EVENT, LABEL),
         "the operator's DaemonSets want no node", "Add tolerations for the nodes' taints, or remove gpu.deploy.operands=false",
         "troubleshooting.rst", "kubectl -n gpu-operator get daemonsets"),
    Mode(22, r"gpu-driver-upgrade-state=upgrade-failed|=paused-for-driver-upgrade", (LABEL,),
         "a driver upgrade is stuck", "Mend its cause, then label the node nvidia.com/gpu-driver-upgrade-state=upgrade-required",
         "troubleshooting.rst", _LABELS, patience_s=900),
    Mode(25, r"Could not resolve host|Temporary failure (in name resolution|resolving)", (LOG,),
         "the node reaches no package mirror", "Give the subnet a route out (NAT or internet gateway), DNS, or a proxy for the driver",
         "gpu-operator#85", _logs(_DRIVER)),
    Mode(4, r"Could not resolve Linux kernel version|Unable to locate package linux-headers", (LOG,),
         "the driver does not build: no headers for this kernel", "Use a stock AMI kernel, pin the kernel, or use the precompiled driver",
         "gpu-operator#85, #152, #526", _logs(_DRIVER)),
    Mode(6, r"nvcr\.io/nvidia/driver:\d+-\d[\w.-]*[^\n]*not found", (POD, EVENT),
         "there is no precompiled driver image for this kernel", "Set driver.usePrecompiled=false",
         "gpu-operator#682, #1436", _DESCRIBE),
    Mode(5, r"nvcr\.io/nvidia/driver:\d+(\.\d+)+-[\w.]+[^\n]*not found", (POD, EVENT),
         "there is no driver image for this operating system or version", "Use Ubuntu 22.04 or 24.04, or another driver version",
         "gpu-operator#192, #418, #858, #1212", _DESCRIBE),
    Mode(7, r"580\.xx Legacy drivers|not supported by the [\s\S]{0,80}NVIDIA|No devices were found", (LOG, PROBE),
         "the driver is too new for this GPU, or too old", 'Pin driver = "580.173.02" in the preset (V100 ends with branch 580)',
         "gpu-operator#1371, #649", "dmesg | grep NVRM", unseen=KERNEL, unseen_command=_DMESG),
    Mode(8, r"Failed to enable MSI-X|\bnouveau\b[^\n]*(is loaded|in use)", (LOG,),
         "the nouveau driver holds the GPU", "Blacklist nouveau, run update-initramfs, reboot (cloud-init)",
         "gpu-operator#974", "lsmod | grep nouveau", unseen=KERNEL, unseen_command=_DMESG),
    Mode(17, r"Driver/library version mismatch", (POD, LOG, PROBE),
         "the driver's packages were upgraded under a loaded module", "Reboot the node, and stop unattended-upgrades",
         "troubleshooting.rst", "cat /proc/driver/nvidia/version; nvidia-smi"),
    Mode(3, r"config\.toml\.tmpl", (LOG, EVENT),
         "the container toolkit wrote a containerd template that breaks RKE2 at its next start",
         "Delete config.toml.tmpl, drop CONTAINERD_CONFIG from the toolkit's env, restart rke2-agent",
         "gpu-operator#992", _logs(_TOOLKIT), unseen="RKE2's own log",
         unseen_command="journalctl -u rke2-agent, on the node"),
    Mode(2, r"unable to dial: dial unix \S*containerd\.sock: [^\n]*no such file|Max retries reached", (LOG,),
         "the container toolkit does not find containerd", "Set CONTAINERD_SOCKET=/run/k3s/containerd/containerd.sock in the toolkit's env",
         "gpu-operator#406, #522", _logs(_TOOLKIT)),
    Mode(27, r"read status from sync socket: No such process", (POD, EVENT),
         "the runtime cannot start containers with a user namespace", "Drop hostUsers: false",
         "gpu-operator release notes 26.3.1", _DESCRIBE),
    Mode(11, r"system not yet initialized|CUDA_ERROR_SYSTEM_NOT_READY|[Ff]abric\.?state: In Progress", (POD, LOG, PROBE),
         "the NVSwitch fabric is not up", "Install the fabric manager that matches the driver (the operator's driver brings it)",
         "gpu-operator#1043", "nvidia-smi -q | grep -A3 Fabric"),
    Mode(12, r"CUDA driver version is insufficient for CUDA runtime version", (POD, LOG),
         "the image's CUDA is newer than the driver", "Use an older CUDA image or a newer driver",
         "gpu-operator#176, #415, #1947", _logs("nvidia-cuda-validator")),
    Mode(13, r"error code initialization error|CUDA_ERROR_NOT_INITIALIZED", (POD, LOG, PROBE),
         "CUDA does not initialise", "Try another driver branch; on RTX PRO 6000 set uvm_disable_hmm=1",
         "gpu-operator#1546; platform-support.rst", _logs("nvidia-cuda-validator")),
    Mode(14, r"unresolvable CDI devices", (POD, EVENT),
         "the node's CDI description is stale", "Restart the toolkit and device plugin pods on the node",
         "nvidia-container-toolkit#1239, #1895", _DESCRIBE),
    Mode(15, r"nvml error: insufficient permissions|Insufficient Permissions", (POD, LOG, EVENT),
         "SELinux, CIS hardening or a nested runtime keeps containers from the devices",
         "Allow access to the devices, and label the namespace privileged", "gpu-operator#443, #679; k8s-device-plugin#637",
         _logs(_VALIDATOR)),
    Mode(16, r"Failed to initialize NVML: Unknown Error", (LOG, PROBE),
         "a daemon-reload took the devices away from running containers", "Make the pod anew; use CDI and a newer toolkit",
         "nvidia-container-toolkit#1227, #251", "systemctl show -p DeviceAllow"),
    Mode(28, r"mig\.strategy=mixed\b[\s\S]*driver-version\.full=570\.1(2[4-9]|[34]\d|5[0-8])\b", (LABEL,),
         "drivers 570.124 to 570.158 hide mixed MIG devices", "Use another driver",
         "gpu-operator#1361", _LABELS),
    Mode(1, r'no runtime for "nvidia" is configured', (POD, EVENT),
         "the NVIDIA runtime is not registered on the node", "Look at the toolkit's log, then restart rke2-agent on the node",
         "gpu-operator#432, #413", "grep nvidia /var/lib/rancher/rke2/agent/etc/containerd/config.toml",
         patience_s=300),
)  # fmt: skip
