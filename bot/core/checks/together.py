"""Whether what was configured goes together: the probe's image and the nodes, and what the network needs."""

from __future__ import annotations

from bot.core.checks.facts import Facts
from bot.core.checks.finding import Finding, no, ok

_SHORT = {"x86_64": "amd64"}


def probe_image(facts: Facts) -> Finding | None:
    """The image named by digest must hold every architecture that a GPU pool has."""
    listed = facts.types.get()
    pools = (facts.preset.gpu_pool, *facts.preset.fixed_gpu_pools)
    needed = {
        _SHORT.get(found.architecture, found.architecture): pool
        for pool in pools
        if (found := listed.get(pool.instance_type)) is not None
    }
    if needed.keys() <= {"amd64"} and "amd64" in facts.probe_image.architectures:
        return None
    for chip, pool in needed.items():
        if chip not in facts.probe_image.architectures:
            return no(
                f"The probe's image is for {', '.join(facts.probe_image.architectures)}, pool {pool.name} is {chip}.",
                "Name the digest of a multi-architecture index as image in [verify], and its architectures.",
            )
    return ok(f"for {', '.join(sorted(needed))}")


def network(facts: Facts) -> Finding | None:
    """What the network block comes to; nothing where there is none."""
    wired = facts.network
    parts = [
        *([f"proxy {wired.proxy}"] if wired.proxy else []),
        *(["own CA"] if wired.ca else []),
        *(f"{upstream} from {instead}" for upstream, instead in wired.mirrors),
        *([f"charts from {wired.chart_mirror}"] if wired.chart_mirror else []),
    ]
    if not parts:
        return None
    return ok(", ".join(parts))
