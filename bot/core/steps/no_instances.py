"""EC2 has the last word: no instance carries the tag of one of our requests for this cluster any more."""

from __future__ import annotations

from bot.core.ports import Instance
from bot.core.spec import LABEL_REQUEST
from bot.core.steps.base import Done, Fail, Look, Outcome, Wait


class NoInstances:
    """Told by the request, not by the cluster's name: another bot in the account may have used the same name."""

    kind = "no_instances@1"

    def ensure(self, look: Look) -> Outcome:
        left = _left(look)
        if left:
            return Wait(f"EC2 still has {len(left)} machines: {', '.join(i.id for i in left[:4])}", 10.0)
        return Done()

    def give_up(self, look: Look) -> Fail:
        left = _left(look)
        return Fail(
            f"Rancher has forgotten the cluster, but EC2 still has {len(left)} machines of it, and they cost money.",
            "Terminate them in the EC2 console: "
            f"aws ec2 terminate-instances --instance-ids {' '.join(i.id for i in left)}",
            tuple(f"{i.id} {i.name} {i.type} {i.state} {i.zone}" for i in left),
        )


def _left(look: Look) -> tuple[Instance, ...]:
    cloud = look.outside.cloud
    return tuple(left for request in look.requests for left in cloud.instances(LABEL_REQUEST, request.id))
