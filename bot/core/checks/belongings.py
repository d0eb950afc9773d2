"""What settings name and somebody else keeps: the instance profile, the disks' key, Secrets of Rancher and clusters."""

from __future__ import annotations

from bot.core.checks.facts import Facts
from bot.core.checks.finding import Finding, no, ok, unknown

# EBS takes symmetric keys only (AWS: "How Amazon EBS uses KMS keys").
_FOR_DISKS = ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
_MEND_STATE = {
    "Disabled": "aws kms enable-key --region {region} --key-id {arn}",
    "PendingDeletion": "aws kms cancel-key-deletion --region {region} --key-id {arn}, then enable-key",
}
# What Rancher takes as a login at a registry (rancher/rancher: pkg/capr/planner/registry.go).
_LOGINS = ("rke.cattle.io/auth-config", "kubernetes.io/basic-auth", "kubernetes.io/dockerconfigjson")


def instance_profile(facts: Facts) -> Finding | None:
    name = facts.target.instance_profile
    if not name:
        return None
    found = facts.instance_profile.get()
    if found is None or not found.roles:
        return no(
            f"Instance profile {name} holds no role, so machines with it may do nothing.",
            f"aws iam add-role-to-instance-profile --instance-profile-name {name} --role-name <role of the nodes>",
        )
    return ok(f"{name}, role {', '.join(found.roles)}; Rancher's keys need iam:PassRole on it")


def disk_key(facts: Facts) -> Finding | None:
    arn, target = facts.target.kms_key, facts.target
    if not arn:
        return None
    region, what = region_of(arn), "Correct kms_key in the target"
    if region != target.region:
        where = f"of {region}" if region else "without a region"
        return no(
            f"The disks' key is one {where}, the machines are in {target.region}; EBS takes keys of its own region.",
            f"{what}: an ARN that begins with arn:aws:kms:{target.region}:, or a replica of that key there.",
        )
    key = facts.disk_key.get()
    if key is None:
        return unknown(f"{arn} was not looked at")
    if key.state != "Enabled":
        mend = _MEND_STATE.get(key.state, what + ".").format(region=target.region, arn=key.arn)
        return no(f"The disks' key {key.arn} is {key.state or 'in a state that KMS does not tell'}.", mend)
    if (key.spec, key.usage) != _FOR_DISKS:
        return no(
            f"The disks' key {key.arn} is {key.spec} for {key.usage}; EBS takes symmetric ones only.",
            f"{what}: a key of {' for '.join(_FOR_DISKS)}.",
        )
    own = facts.identity.value is None or facts.identity.value.account == key.account
    whose = "" if own else f", of account {key.account}: its policy must let this account in"
    return ok(f"{key.arn}{whose}")


def region_of(arn: str) -> str:
    """The region within an ARN, '' where it has none."""
    parts = arn.split(":")
    return parts[3] if len(parts) > 3 else ""


def registry_login(facts: Facts) -> Finding | None:
    """The Secret with which nodes log in at the mirrors. Without it no node gets an image."""
    name = facts.network.registry_secret
    if not name:
        return None
    found = facts.registry_secret.get()
    make = f"create secret generic {name} -n fleet-default --type={_LOGINS[0]}"
    make = f"kubectl {make} --from-literal=username=… --from-literal=password=…"
    if found is None:
        return no(
            f"Rancher has no Secret fleet-default/{name}, with which nodes are to log in at the mirrors.",
            f"In Rancher's own cluster: {make}; or correct registry_secret in [network].",
        )
    if found.type not in _LOGINS:
        return no(
            f"Secret fleet-default/{name} is of type {found.type or 'Opaque'}; Rancher takes {', '.join(_LOGINS)}.",
            f"Make it anew: {make}.",
        )
    if not found.keys:
        return no(f"Secret fleet-default/{name} is empty.", f"Make it anew: {make}.")
    return ok(f"Secret fleet-default/{name}, {', '.join(found.keys)}")


def pull_secrets(facts: Facts) -> Finding | None:
    """Those live in the cluster, which is not there yet: nobody can look, and people must know."""
    if not facts.network.pull_secrets and not facts.probe_image.pull_secrets:
        return None
    probe = tuple(dict.fromkeys(facts.probe_image.pull_secrets))
    parts = [
        *([f"{', '.join(facts.network.pull_secrets)} in gpu-operator"] if facts.network.pull_secrets else []),
        *([f"{', '.join(probe)} in gpu-cluster-verify"] if probe else []),
    ]
    return unknown(
        f"the cluster is still to be made, and will need {' and '.join(parts)}",
        "Let something put them into every new cluster, such as Fleet or an add-on of the preset.",
    )
