"""One Amazonec2Config a pool. Made once and never edited: an edit would replace every node of the pool."""

from __future__ import annotations

from bot.core.steps.base import Done, Fail, Look, Outcome


class MachineConfigs:
    kind = "machine_configs@1"

    def ensure(self, look: Look) -> Outcome:
        for pool in look.order.pools:
            look.must_be_wanted()
            look.outside.rancher.ensure_machine_config(look.order, pool, look.request.id)
        return Done()

    def give_up(self, look: Look) -> Fail:
        return Fail(
            f"Rancher did not take the machine configurations: {look.row.why or 'no answer'}.",
            "Run gpu-cluster doctor; when Rancher answers again, ask again.",
        )
