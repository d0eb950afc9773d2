"""GPUs that somebody uses: what nvidia-smi in the driver's pod says of them, with nothing run on them.

Field names as of driver 580 (nvidia-smi --help-query-gpu); a value that a GPU does not have reads [N/A] and proves
nothing. One unknown field makes nvidia-smi print no data at all, so the newest ones are not asked for here.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection

FIELDS = (
    "uuid",
    "pcie.link.width.current",
    "pcie.link.width.max",
    "ecc.errors.uncorrected.volatile.total",
    "remapped_rows.pending",
    "remapped_rows.failure",
    "clocks_throttle_reasons.hw_thermal_slowdown",
    "clocks_throttle_reasons.hw_power_brake_slowdown",
)
COMMAND = ("nvidia-smi", f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits")


def faults(printed: str, measured: Collection[str]) -> tuple[str, ...]:
    """What is wrong with GPUs that were not measured (`measured` are UUIDs), a line each."""
    found = []
    for row in csv.reader(io.StringIO(printed), skipinitialspace=True):
        if len(row) == len(FIELDS) and row[0].startswith("GPU-") and row[0] not in measured:
            said = dict(zip(FIELDS, (cell.strip() for cell in row), strict=True))
            found += [f"{said['uuid']}, in use: {fault}" for fault in _faults(said)]
    return tuple(found)


def _faults(said: dict[str, str]) -> list[str]:
    faults = []
    errors = said["ecc.errors.uncorrected.volatile.total"]
    if errors.isdigit() and int(errors):
        faults.append(f"{errors} uncorrected memory errors since the driver started")
    if said["remapped_rows.failure"] in ("Yes", "1"):
        faults.append("row remapping has failed: replace the machine")
    elif said["remapped_rows.pending"] in ("Yes", "1"):
        faults.append("a row remap is pending: the GPU needs a reset")
    slowed = [name for name in ("hw_thermal_slowdown", "hw_power_brake_slowdown")
              if said[f"clocks_throttle_reasons.{name}"] == "Active"]  # fmt: skip
    if slowed:
        faults.append(f"slowed down by hardware: {', '.join(slowed)}")
    width, most = said["pcie.link.width.current"], said["pcie.link.width.max"]
    if width.isdigit() and most.isdigit() and int(width) < int(most) // 2:
        faults.append(f"PCIe runs at x{width} of x{most}")  # half is what EC2 gives some models
    return faults
