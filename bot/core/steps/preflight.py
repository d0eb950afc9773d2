"""The first step after approval: what the card promised must still hold."""

from __future__ import annotations

from bot.core.checks.preflight import preflight
from bot.core.ports import Temporary
from bot.core.spec import spec_from_json
from bot.core.steps.base import Done, Fail, Look, Outcome


class Preflight:
    """Runs the checks again. What was resolved for the card stays: the approval binds that envelope and no other."""

    kind = "preflight@1"

    def ensure(self, look: Look) -> Outcome:
        spec = spec_from_json(look.request.spec)
        found = preflight(
            spec,
            look.catalogue,
            cloud=look.outside.cloud,
            rancher=look.outside.rancher,
            ignore_request=look.request.id,
        )
        if found.refusals:
            return Fail(
                "; ".join(check.detail for check in found.refusals),
                found.refusals[0].remedy or "Mend it, then ask again.",
                tuple(f"{check.name}: {check.detail}" for check in found.refusals),
            )
        if found.envelope is None:
            raise Temporary("; ".join(check.detail for check in found.checks if check.state == "unknown"))
        return Done()

    def give_up(self, look: Look) -> Fail:
        return Fail("The checks before the start could not be made.", "Run gpu-cluster doctor, then ask again.")
