"""Reports for whoever pays: what clusters cost, what is left of them in AWS, and which nobody uses."""

from __future__ import annotations

from collections.abc import Iterable

from bot.app import NotReady, Outsides, make_clock, make_store
from bot.aws.sweep import Sweep
from bot.core import ledger
from bot.core.forgotten import OURS, Idle, forgotten, usable
from bot.core.ledger import Account
from bot.core.orphans import GONE, Orphan, orphans
from bot.settings import Settings


def costs(settings: Settings) -> list[Account]:
    """Every cluster's bill, oldest first."""
    store, clock = make_store(settings), make_clock(settings.environment)
    with store.reading() as tx:
        return ledger.accounts(tx, clock.now())


def left_in_aws(settings: Settings) -> dict[str, list[Orphan]]:
    """What is left of clusters that are gone, by region: those of all targets and their other regions."""
    store, clock = make_store(settings), make_clock(settings.environment)
    found = {region: Sweep(region).things() for region in regions(settings)}
    with store.reading() as tx:
        return {region: orphans(tx, things, clock.now()) for region, things in found.items()}


def terminate(settings: Settings, machines: Iterable[str]) -> list[str]:
    """End machines by id and return them. Raises `NotReady` for one that is no orphan: then none is ended.

    Machines of clusters that this bot never had may be another bot's; those are listed, and not ended.
    """
    where = {
        orphan.thing.id: region
        for region, found in left_in_aws(settings).items()
        for orphan in found
        if orphan.thing.kind == "machine" and orphan.why == GONE
    }
    chosen = list(machines)
    if unknown := [machine for machine in chosen if machine not in where]:
        raise NotReady(f"{', '.join(unknown)}: no machine of a cluster that is gone. Nothing was ended.")
    for machine in chosen:
        Sweep(where[machine]).terminate(machine)
    return chosen


def unused(settings: Settings, days: float) -> list[Idle]:
    """Clusters whose GPUs no pod has asked for in that many days."""
    store, clock = make_store(settings), make_clock(settings.environment)
    outsides = Outsides(settings, clock)
    with store.reading() as tx:
        rows = usable(tx)
    return forgotten(rows, lambda row: outsides.cluster(row.management_id).gpu_use(OURS), clock.now(), days)


def regions(settings: Settings) -> list[str]:
    """Where clusters are or may be suggested."""
    targets = settings.catalogue.targets.values()
    return sorted({region for target in targets for region in (target.region, *target.regions)})
