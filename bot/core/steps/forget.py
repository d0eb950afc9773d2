"""A cluster that was there before us is given back: what people got from us goes, the cluster stays."""

from __future__ import annotations

from bot.core.steps.base import Done, Look, Outcome
from bot.core.verification.sight import NAMESPACE as VERIFY_NAMESPACE


class Forget:
    """The GPU Operator stays: people's pods need it, and whoever owns the cluster can uninstall it."""

    kind = "forget@1"

    def ensure(self, look: Look) -> Outcome:
        if look.cluster.management_id:
            look.outside.rancher.unbind(look.management_id, "")
            for person in sorted({look.cluster.owner, *look.cluster.shared_with}):
                look.downstream.remove_accounts(person=person)
            look.downstream.remove_namespace(VERIFY_NAMESPACE, look.requests[0].id)
        return Done()

    def give_up(self, look: Look) -> Done:
        return Done(short=f"what people were given could not be taken away: {look.row.why}")
