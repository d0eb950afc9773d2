"""How fast the SQLite store is here: `python tests/bench/store_bench.py`. Prints one JSON object.

`claims_per_s`: requests claimed one by one by 16 threads, each in a synced transaction of its own.
`write_p50_ms`, `write_p99_ms`, `write_max_ms`: a small write transaction (one compare-and-set with its audit line)
while 16 threads do nothing else.
"""

from __future__ import annotations

import json
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import quantiles

from bot.core.ports import Store
from bot.core.records import AuditRow, ClusterRow, ClusterState, Kind, RequestRow, RequestState
from bot.store import SqliteStore

THREADS = 16
REQUESTS = 2000
WRITES = 100


def main() -> None:
    """Measure in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "store.db")
        _fill(store)
        print(json.dumps({"threads": THREADS, **_claims(store), **_writes(store)}, indent=2))


def _fill(store: Store) -> None:
    with store.transaction() as tx:
        for n in range(REQUESTS):
            tx.add(ClusterRow(f"c{n}", f"n{n}", "default", "default", "U1", "C1", ClusterState.BUILDING, 0.0))
            tx.add(_request(n))


def _request(n: int) -> RequestRow:
    return RequestRow(
        id=f"r{n}",
        cluster_id=f"c{n}",
        kind=Kind.CREATE,
        state=RequestState.RUNNING,
        requester="U1",
        team="default",
        target="default",
        channel="C1",
        spec="{}",
        asked_at=0.0,
        next_look_at=float(n),
    )


def _claims(store: Store) -> dict[str, float]:
    def work(owner: str) -> list[str]:
        mine: list[str] = []
        while True:
            with store.transaction() as tx:
                rows = tx.claim_requests(now=1e9, real=0.0, owner=owner, lease_s=1e9, limit=1)
            if not rows:
                return mine
            mine.append(rows[0].id)

    began = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        claimed = [id for mine in pool.map(work, map(str, range(THREADS))) for id in mine]
    seconds = time.perf_counter() - began
    twice = len(claimed) - len(set(claimed))
    return {"claimed": len(claimed), "claimed_twice": twice, "claims_per_s": round(len(claimed) / seconds)}


def _writes(store: Store) -> dict[str, float]:
    def work(thread: int) -> list[float]:
        took = []
        for number in range(WRITES):
            began = time.perf_counter()
            with store.transaction() as tx:
                tx.change(tx.cluster(f"c{thread}"), verdict=str(number))
                tx.add(AuditRow(float(number), "engine", "measured", f"r{thread}", f"c{thread}", ""))
            took.append((time.perf_counter() - began) * 1000)
        return took

    with ThreadPoolExecutor(THREADS) as pool:
        took = [one for some in pool.map(work, range(THREADS)) for one in some]
    cuts = quantiles(took, n=100)
    return {
        "write_p50_ms": round(cuts[49], 2),
        "write_p99_ms": round(cuts[98], 2),
        "write_max_ms": round(max(took), 2),
    }


if __name__ == "__main__":
    main()
