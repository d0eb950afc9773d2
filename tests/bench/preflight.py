"""Preflight against the AWS stand-in: how long, how many calls, and what a hundred of them leave in memory.

The preflights run in a process of their own, which holds nothing of the stand-in: `python -m tests.bench.preflight`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from bot.aws.cloud import Ec2Cloud
from bot.sandbox.aws import AwsStandIn
from tests.bench.figures import Figure
from tests.core.account import World

TIMES = 100
_WARM = 5


@dataclass(frozen=True)
class Account:
    """What a preflight must know of the account; crosses to the other process as JSON."""

    region: str
    vpc: str
    subnets: tuple[str, ...]
    security_group: str


async def preflights() -> list[Figure]:
    """The figures; raises RuntimeError when a preflight did not end in an envelope."""
    stand_in = AwsStandIn()
    endpoint = stand_in.start()
    try:
        account = Account(stand_in.region, stand_in.vpc, stand_in.subnets, stand_in.security_group)
        environment = {
            **os.environ,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "b",
            "AWS_SECRET_ACCESS_KEY": "b",
        }
        await _measured(account, environment, times=1)  # the stand-in reads its data when it is first asked
        stand_in.front.calls.clear()
        await _measured(account, environment, times=1)
        calls = stand_in.front.calls.total()
        told = await _measured(account, environment, times=TIMES)
    finally:
        stand_in.stop()
    return [
        Figure(
            "preflight_cold_s", told["cold_s"], "s", "first preflight of a process, clients and prices included", 5.0
        ),
        Figure("preflight_warm_s", told["warm_s"], "s", f"median of the next {_WARM}", 5.0),
        Figure("preflight_calls", calls, "", "AWS calls of one preflight, prices not yet known"),
        Figure("preflight_rss_mb", told["rss_mb"], "MB", f"resident memory of the process after {TIMES} preflights"),
    ]


async def _measured(account: Account, environment: dict[str, str], *, times: int) -> dict[str, float]:
    """What the other process tells."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.preflight", json.dumps(asdict(account)), str(times),
        env=environment, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await child.communicate()
    if child.returncode:
        raise RuntimeError("a preflight came to nothing")
    told: dict[str, float] = json.loads(out)
    return told


def measure(account: Any, times: int) -> dict[str, float]:
    """Run preflights in this process; the cloud is made anew for the first, kept for the rest."""
    seconds = []
    cloud = None
    for _ in range(times):
        began = time.perf_counter()
        cloud = cloud or Ec2Cloud(account.region)
        if World(account, cloud).ask().envelope is None:
            sys.exit("a preflight came to nothing")
        seconds.append(time.perf_counter() - began)
    warm = sorted(seconds[1 : _WARM + 1]) or seconds
    return {
        "cold_s": seconds[0],
        "warm_s": warm[len(warm) // 2],
        "rss_mb": psutil.Process().memory_info().rss / 1e6,
    }


if __name__ == "__main__":
    raw = json.loads(sys.argv[1])
    print(json.dumps(measure(Account(**{**raw, "subnets": tuple(raw["subnets"])}), int(sys.argv[2]))))
