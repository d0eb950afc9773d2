"""EC2 has the last word: no instance carries the cluster's tag any more."""

from __future__ import annotations

from bot.core.spec import LABEL_CLUSTER
from bot.core.steps.base import Done, Fail, Look, Outcome, Wait


class NoInstances:
    kind = "no_instances@1"

    def ensure(self, look: Look) -> Outcome:
        left = look.outside.cloud.instances(LABEL_CLUSTER, look.cluster.name)
        if left:
            return Wait(f"EC2 still has {len(left)} machines: {', '.join(i.id for i in left[:4])}", 10.0)
        return Done()

    def give_up(self, look: Look) -> Fail:
        left = look.outside.cloud.instances(LABEL_CLUSTER, look.cluster.name)
        return Fail(
            f"Rancher has forgotten the cluster, but EC2 still has {len(left)} machines of it, and they cost money.",
            "Terminate them in the EC2 console: "
            f"aws ec2 terminate-instances --instance-ids {' '.join(i.id for i in left)}",
            tuple(f"{i.id} {i.name} {i.type} {i.state} {i.zone}" for i in left),
        )
