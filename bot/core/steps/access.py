"""People get in: by a role binding for their own Rancher principal. No token of the bot ever leaves the process."""

from __future__ import annotations

from bot.core.changes import person_of
from bot.core.steps.base import Done, Fail, Look, Outcome

SHIPPED_ROLE = "gpu-cluster-user"
"""manifests/rancher/role-template.yaml: administers what runs in the cluster, not its machines or credential."""
FALLBACK_ROLE = "cluster-member"
"""Rancher's own role: projects and namespaces of one's own in that cluster."""


class FirstAccess:
    """As plans of the first release have it."""

    kind = "access@1"

    def ensure(self, look: Look) -> Outcome:
        principal = look.principals.get(look.request.requester, "")
        if principal:
            look.outside.rancher.bind_role(look.management_id, principal, FALLBACK_ROLE)
        return Done(_facts(look, bound_to=principal, role=FALLBACK_ROLE if principal else ""))

    def give_up(self, look: Look) -> Fail:
        return _not_given(look)


class Access:
    """The requester and the team's group. Who is neither known to Rancher nor in the group gets in by a token."""

    kind = "access@2"

    def ensure(self, look: Look) -> Outcome:
        owner = look.cluster.owner
        principal = look.principals.get(owner, "")
        team = look.catalogue.teams.get(look.cluster.team)
        group = team.rancher_group if team else ""
        role = role_to_give(look) if principal or group else ""
        look.must_be_wanted()
        if principal:
            look.outside.rancher.bind_role(look.management_id, principal, role, person=owner)
        if group:
            look.outside.rancher.bind_role(look.management_id, group, role)
        return Done(
            {**_facts(look, bound_to=principal, role=role), "group": group, "tokens": look.catalogue.access.tokens}
        )

    def give_up(self, look: Look) -> Fail:
        return _not_given(look)


class Share:
    """One more person. Who has no principal is let in by the right to ask for a token."""

    kind = "share@1"

    def ensure(self, look: Look) -> Outcome:
        person = person_of(look.request)
        principal = look.principals.get(person, "")
        role = role_to_give(look) if principal else ""
        look.must_be_wanted()
        if principal:
            look.outside.rancher.bind_role(look.management_id, principal, role, person=person)
        return Done(
            {
                "rancher_url": look.outside.rancher_url,
                "management_id": look.management_id,
                "bound_to": principal,
                "role": role,
                "storage_class": "",
                "tokens": look.catalogue.access.tokens,
            }
        )

    def give_up(self, look: Look) -> Fail:
        return Fail(
            f"Nobody was let in: {look.row.why}.",
            "Type it again; or add the person in Rancher (Cluster Members).",
        )


class Unshare:
    """Both ways in are shut: the role in Rancher, and every account inside of the cluster."""

    kind = "unshare@1"

    def ensure(self, look: Look) -> Outcome:
        person = person_of(look.request)
        look.outside.rancher.unbind(look.management_id, person)
        look.downstream.remove_accounts(person=person)
        return Done()

    def give_up(self, look: Look) -> Fail:
        return Fail(
            f"What the person was given could not be taken away: {look.row.why}. They may still get in.",
            "Type it again; or remove them in Rancher (Cluster Members) and delete their service account in namespace "
            "gpu-cluster-access.",
        )


def role_to_give(look: Look) -> str:
    """The shipped role where an admin of Rancher has put it there, else Rancher's own."""
    return SHIPPED_ROLE if look.outside.rancher.has_role(SHIPPED_ROLE) else FALLBACK_ROLE


def _facts(look: Look, *, bound_to: str, role: str) -> dict[str, str]:
    return {
        "rancher_url": look.outside.rancher_url,
        "management_id": look.management_id,
        "bound_to": bound_to,
        "role": role,
        "storage_class": look.downstream.storage_class(),
    }


def _not_given(look: Look) -> Fail:
    return Fail(
        f"The requester could not be given access: {look.row.why}.",
        "Add them to the cluster in Rancher (Cluster Members), with the role Cluster Member.",
    )
