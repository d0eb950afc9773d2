"""Every mode of the catalogue from end to end: played, named to programs first, and explained by `why`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from scene import REQUESTER, SPEED, scene

MODES = [f"diag-{number:02d}" for number in range(1, 29)]


@pytest.mark.slow
@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "diag-10"])
def test_every_mode_is_named_first(mode: str) -> None:
    """Mode 10 needs a second machine: see below."""
    command = [sys.executable, "-m", "bot.cli", "sandbox", "--headless", "--json", "--speed", "600", "--fault", mode]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert outcome["state"] == "failed", done.stderr[-2000:]
    assert outcome["diagnosis"][:1] == [mode]
    assert outcome["remedy"]


@pytest.mark.slow
async def test_a_machine_without_a_gpu_degrades_and_is_explained(tmp_path: Path) -> None:
    async with scene(tmp_path, speed=SPEED, faults=("diag-10",)) as now:
        await now.create("sandbox", gpus=2)
        await now.approve("sandbox")
        assert (await now.outcome("sandbox"))["state"] == "degraded"
        since = now.mark
        await now.type("why sandbox")
        told = await now.answered(REQUESTER, "diag-10", since)
        assert "lspci -d 10de:" in str(told.blocks)
        await now.type("logs sandbox")
        logs = await now.answered(REQUESTER, "Logs: sandbox", since)
        for pod in ("gpu-operator-", "nvidia-driver-daemonset-", "verify-"):
            assert pod in str(logs.blocks)


@pytest.mark.slow
def test_a_bot_that_draws_nothing_starts_without_pillow() -> None:
    script = "import sys, bot.app, handlers.publisher; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0
