"""Another process on the same store: `python other_process.py WHAT URL …`, talked to by lines."""

from __future__ import annotations

import sys

import sample_rows as rows

from bot.store import open_store


def claim(url: str, owner: str) -> None:
    """Print the id of every request this process could claim, when told to start."""
    store = open_store(url)
    _say("ready")
    sys.stdin.readline()
    while True:
        with store.transaction() as tx:
            claimed = tx.claim_requests(now=1e6, real=1000.0, owner=owner, lease_s=30.0, limit=7)
        if not claimed:
            return
        for row in claimed:
            _say(row.id)


def write(url: str) -> None:
    """Commit one pair of rows after another, for ever; print the id of each that is committed."""
    store = open_store(url)
    number = 0
    while True:
        with store.transaction() as tx:
            tx.add(rows.cluster(f"c{number}", f"n{number}"))
            tx.add(rows.audit("asked", "all", cluster_id=f"c{number}"))
        _say(f"c{number}")
        number += 1


def hang(url: str) -> None:
    """Write two rows and wait in the middle of the transaction."""
    store = open_store(url)
    with store.transaction() as tx:
        tx.add(rows.cluster())
        tx.add(rows.request())
        _say("written")
        sys.stdin.readline()


def migrate(url: str) -> None:
    """Open the store when told to start; print what it is."""
    _say("ready")
    sys.stdin.readline()
    _say(open_store(url).describe())


def fill_disk(url: str) -> None:
    """Write until the file may not grow any more (RLIMIT_FSIZE); print what the store says."""
    import resource

    from bot.store import StoreError

    store = open_store(url)
    with store.transaction() as tx:
        tx.add(rows.cluster())
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
    try:
        with store.transaction() as tx:
            tx.add(rows.audit(detail="x" * 1_000_000))
    except StoreError as error:
        _say(error.reason)
    with store.reading() as tx:
        _say(f"{tx.cluster('c1').name} {len(tx.audit_trail('r1'))}")


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    {work.__name__: work for work in (claim, write, hang, migrate, fill_disk)}[sys.argv[1]](*sys.argv[2:])
