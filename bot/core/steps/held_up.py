"""Why Rancher does not get rid of a cluster's machines: its cloud credential is gone, or AWS refuses the keys in it.

Rancher says nothing of the first but in its own log: it cannot even start the job that removes a machine, and tries
again for ever (rancher/rancher: pkg/controllers/capr/machineprovision/{controller,args}.go; issues 35823, 36294). The
second is told on the machine, whose job is not run again (34945, 41635).
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.core.causes.diagnosis import aws_words, ec2_cause
from bot.core.ports import ClusterView
from bot.core.records import Kind
from bot.core.spec import LABEL_REQUEST, envelope_from_json
from bot.core.steps.base import Look

_SURE_S = 60.0
"""Observed seconds before the credential is asked for: most machines are on their way by then."""


@dataclass(frozen=True)
class HeldUp:
    """`what` holds the removal up, what is `likely` behind it, and the `action` that helps, without its full stop."""

    what: str
    likely: str
    action: str
    evidence: tuple[str, ...] = ()


def held_up(look: Look, view: ClusterView) -> HeldUp | None:
    """What keeps the machines of a cluster that is being deleted; None while nothing is known to."""
    return _refused(look, view) or _without_credential(look, view)


def _refused(look: Look, view: ClusterView) -> HeldUp | None:
    machines = [machine for machine in view.machines if machine.undeleted]
    if not machines:
        return None
    cause = ec2_cause(machines[0].undeleted)
    why = f"{cause.what} ({cause.code})" if cause and cause.code else aws_words(machines[0].undeleted)
    first = f"{cause.remedy} " if cause else ""
    return HeldUp(
        f"Rancher could not remove {len(machines)} of the machines: {why}",
        why,
        f"{first}Rancher does not try again by itself: terminate the machines in EC2 by their tag {_tag(look)}, then "
        'set the annotation provisioning.cattle.io/force-machine-remove: "true" on their Amazonec2Machines in Rancher. '
        "The bot looks in EC2 before it calls the cluster gone",
        tuple(f"{machine.name}: {aws_words(machine.undeleted)}" for machine in machines),
    )


def lost_credential(look: Look) -> tuple[str, str] | None:
    """What there is to say and to do where Rancher does not show the cluster's credential any more: it can neither
    start nor remove a machine then. None where it does."""
    credential = _credential(look)
    if not credential or look.outside.rancher.has_credential(credential):
        return None
    namespace, _, name = credential.rpartition(":")
    return (
        f"its cloud credential {credential} is gone, or hidden from the bot",
        f"Make the Secret anew under the same name, with keys of the same AWS account (kubectl -n {namespace} create "
        f"secret generic {name} --from-literal=amazonec2credentialConfig-accessKey=… "
        "--from-literal=amazonec2credentialConfig-secretKey=…)",
    )


def _without_credential(look: Look, view: ClusterView) -> HeldUp | None:
    if not view.machines or look.observed_s < _SURE_S or (lost := lost_credential(look)) is None:
        return None
    what, anew = lost
    return HeldUp(
        f"Rancher cannot remove the machines: {what}",
        "somebody deleted the cloud credential while the cluster used it",
        f"{anew}: Rancher then goes on by itself. To stop the cost now, "
        f"terminate the machines in EC2 by their tag {_tag(look)}; Rancher needs the Secret all the same",
    )


def _credential(look: Look) -> str:
    """That of the create, as it was approved: the configuration may name another by now."""
    made = next((row for row in look.requests if row.kind == Kind.CREATE and row.envelope), None)
    return envelope_from_json(made.envelope).cloud_credential if made else ""


def _tag(look: Look) -> str:
    return f"{LABEL_REQUEST} = {look.home}"
