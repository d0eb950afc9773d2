"""Families of instance types that share a quota.

Codes and families: AWS, "Amazon EC2 on-demand instance quotas" and "Spot Instance quotas"; a quota counts vCPUs of
running machines in a region, and spot machines have one of their own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """`name` as AWS says it; `code` of the quota of its on-demand machines, `spot` of its spot ones ('': unknown)."""

    name: str
    pattern: str
    code: str
    spot: str = ""

    def holds(self, instance_type: str) -> bool:
        """Whether that type counts against this quota."""
        return re.match(self.pattern, instance_type) is not None


STANDARD = Family("Standard", r"[acdhimrtz]\d", "L-1216C47A", "L-34B43A08")
_SPECIAL = (
    Family("P", r"p\d", "L-417A185B", "L-7212CCBC"),
    Family("G and VT", r"(g|gr|vt)\d", "L-DB2E81BA", "L-3819A6DF"),
    Family("DL", r"dl\d", "L-6E869C2A", "L-85EED4F7"),
    Family("Trn", r"trn\d", "L-2C3B7624"),
    Family("Inf", r"inf\d", "L-1945791B", "L-B5D1601B"),
    Family("F", r"f\d", "L-74FC7D96", "L-88CF9481"),
    Family("X", r"x\d", "L-7295265B", "L-E3A00192"),
    Family("High memory", r"u-", "L-43DA4232"),
    Family("HPC", r"hpc\d", "L-F7808C92"),
)
GPU_FAMILIES = _SPECIAL[:2]
"""Where NVIDIA GPUs are."""


def family_of(instance_type: str) -> Family:
    """The family whose quota the type counts against; Standard where none is special."""
    return next((family for family in _SPECIAL if family.holds(instance_type)), STANDARD)


_P5 = "L-C4BD4855"
"""P5 spot machines count against a quota of their own."""


def spot_code(instance_type: str) -> str:
    """The quota of spot machines of that type, '' where AWS's code is not known here (Trn, high memory, HPC)."""
    return _P5 if instance_type.startswith("p5") else family_of(instance_type).spot
