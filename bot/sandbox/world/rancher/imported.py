"""A cluster that was there before the bot: Rancher has it, and did not make its machines."""

from __future__ import annotations

from bot.sandbox.world.engine import Process
from bot.sandbox.world.kube.objects import Obj
from bot.sandbox.world.metal.gpus import make_gpus
from bot.sandbox.world.metal.hardware import Hardware
from bot.sandbox.world.rancher.provisioning import ProvisionedCluster

#: A taint of its owners on the GPU node.
TAINT: Obj = {"key": "dedicated", "value": "ml", "effect": "NoSchedule"}


class ImportedCluster(ProvisionedCluster):
    """A control-plane node and a node with a T4, connected from the start. What happened before is in no journal."""

    _told = False

    def record(self, kind: str, detail: str = "") -> None:
        """Only what happens from now on."""
        if self._told:
            super().record(kind, detail)

    def _live(self) -> Process:
        self.report.begin(self.downstream.distribution)
        self.report.control_plane_up()
        plane = [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]
        self.downstream.join(f"{self.name}-cp", _machine("t3.large", 1), {}, plane, ["control-plane", "etcd"])
        self.downstream.join(f"{self.name}-gpu", _machine("g4dn.xlarge", 2, gpus=1), {}, [TAINT], ["worker"])
        self.report.connected()
        self.report.nodes(2, self.downstream.git_version)
        self.report.done()
        self.connected = self.reachable = self.has_project = True
        yield 0.0  # the operator's own news of these nodes come first
        self._told = True


def _machine(instance_type: str, number: int, *, gpus: int = 0) -> Hardware:
    return Hardware(
        instance_type=instance_type,
        instance_id=f"i-0existing{number:08d}",
        region="us-east-1",
        zone="us-east-1a",
        private_ip=f"10.9.0.{number}",
        architecture="amd64",
        vcpus=4,
        memory_mib=16384,
        gpus=make_gpus("T4", 16384, gpus, f"existing-{number}") if gpus else (),
    )
