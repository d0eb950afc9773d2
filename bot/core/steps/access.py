"""People get in: by a role binding for their own Rancher principal. No token of the bot ever leaves the process."""

from __future__ import annotations

from bot.core.steps.base import Done, Fail, Look, Outcome

ROLE = "cluster-member"
"""Rancher's own role: projects and namespaces of one's own in that cluster, nothing of its machines or credential."""


class Access:
    kind = "access@1"

    def ensure(self, look: Look) -> Outcome:
        principal = look.principals.get(look.request.requester, "")
        if principal:
            look.outside.rancher.bind_role(look.management_id, principal, ROLE)
        return Done(
            {
                "rancher_url": look.outside.rancher_url,
                "management_id": look.management_id,
                "bound_to": principal,
                "role": ROLE if principal else "",
                "storage_class": look.downstream.storage_class(),
            }
        )

    def give_up(self, look: Look) -> Fail:
        return Fail(
            f"The requester could not be given access: {look.row.why}.",
            "Add them to the cluster in Rancher (Cluster Members), with the role Cluster Member.",
        )
