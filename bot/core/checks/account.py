"""Who we are and where: the account, the region, Rancher's credential, the right to start machines, left-overs."""

from __future__ import annotations

from bot.core.checks.facts import Facts
from bot.core.checks.finding import Finding, no, ok, unknown
from bot.core.ports import Refused


def account(facts: Facts) -> Finding:
    identity, target = facts.identity.get(), facts.target
    if target.account and target.account != identity.account:
        return no(
            f"The bot's keys belong to AWS account {identity.account}, target {target.name} to {target.account}.",
            "Give the bot keys of that account, or correct account in the target.",
        )
    return ok(f"{identity.account}, as {identity.arn}")


def region(facts: Facts) -> Finding:
    status, name = facts.region.get(), facts.target.region
    if not status:
        return no(f"AWS has no region {name}.", "Correct region in the target, such as us-east-1 or eu-west-1.")
    if status == "not-opted-in":
        return no(
            f"The account has not opted in to {name}.",
            f"aws account enable-region --region-name {name}, or choose another region in the target.",
        )
    return ok(name)


def credential(facts: Facts) -> Finding:
    name = facts.target.cloud_credential
    if facts.credential.get():
        return ok(name)
    return no(
        f"Rancher shows the bot no cloud credential {name or '(none is configured)'}.",
        "Create it in Rancher as the bot's user, or correct cloud_credential in the target.",
    )


def kubernetes(facts: Facts) -> Finding:
    version, known = facts.kubernetes.get(), facts.kubernetes_known.get()
    if version in known:
        return ok(version)
    if not known:
        return unknown(f"Rancher lists no versions to look {version} up in")
    return no(
        f"This Rancher cannot install {version}.",
        f"Set kubernetes in preset {facts.preset.name} to one of: {', '.join(known[-3:])}.",
    )


def permission(facts: Facts) -> Finding | None:
    """By a dry run, which asks about rights and parameters only. The bot's rights are not those of Rancher."""
    try:
        allowed = facts.trial.get()
    except Refused:
        return unknown(
            "the bot itself may not start machines, so it cannot try",
            "Nothing to mend: Rancher's credential starts them (manifests/iam/rancher.json says what it needs).",
        )
    return ok("EC2 would take the order (dry run with the bot's own keys)") if allowed else None


def left_overs(facts: Facts) -> Finding:
    machines = facts.left_overs.get()
    if not machines:
        return ok("no machine of that name in EC2")
    listed = ", ".join(f"{machine.id} ({machine.state})" for machine in machines)
    return no(
        f"Machines of a cluster {facts.spec.name} are still in EC2: {listed}.",
        "Wait until they are gone, terminate them in the AWS console, or choose another name.",
    )
