"""Reports for whoever pays: what clusters cost, what is left of them in AWS, and which nobody uses."""

from __future__ import annotations

from collections.abc import Iterable

from bot.app import NotReady, Outsides, make_clock, make_store
from bot.aws.sweep import Sweep
from bot.core.costs import ledger
from bot.core.costs.ledger import Account
from bot.core.in_use.forgotten import OURS, Idle, forgotten, usable
from bot.core.orphans import Orphan, orphans
from bot.settings import Settings


def costs(settings: Settings) -> list[Account]:
    """Every cluster's bill, oldest first."""
    store, clock = make_store(settings), make_clock(settings.environment)
    with store.reading() as tx:
        return ledger.accounts(tx, clock.now())


def left_in_aws(settings: Settings) -> dict[str, list[Orphan]]:
    """What is left of clusters that are gone, by region: those of all targets and their other regions."""
    store, clock = make_store(settings), make_clock(settings.environment)
    found = {region: Sweep(region).things() for region in settings.catalogue.regions}
    with store.reading() as tx:
        return {region: orphans(tx, things, clock.now()) for region, things in found.items()}


def terminate(settings: Settings, identities: Iterable[str]) -> list[str]:
    """End things by id and return those. Raises `NotReady` for one that may not be ended: then none is."""
    where = {
        orphan.thing.id: (region, orphan.thing)
        for region, found in left_in_aws(settings).items()
        for orphan in found
        if not orphan.kept
    }
    chosen = list(identities)
    if unknown := [identity for identity in chosen if identity not in where]:
        raise NotReady(f"{', '.join(unknown)}: nothing of a cluster that is gone. Nothing was ended.")
    for identity in chosen:
        region, thing = where[identity]
        Sweep(region).end(thing)
    return chosen


def unused(settings: Settings, days: float) -> list[Idle]:
    """Clusters whose GPUs no pod has asked for in that many days."""
    store, clock = make_store(settings), make_clock(settings.environment)
    outsides = Outsides(settings, clock)
    with store.reading() as tx:
        rows = usable(tx)
    return forgotten(rows, lambda row: outsides.cluster(row.management_id).gpu_use(OURS), clock.now(), days)
