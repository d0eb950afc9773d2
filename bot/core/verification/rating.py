"""How fast a GPU is, compared with what its model should do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.core.verification.gpu_models import MEASURES, find_model, line, slow_line

GOOD, LOW, BAD, UNRATED, NOT_MEASURED = "good", "low", "bad", "unrated", "not measured"
SLOW = "slow, by data sheet"
WORDS = (BAD, SLOW, LOW, NOT_MEASURED, UNRATED, GOOD)
"""The worst first; what was not measured might be anything."""

_TITLES = {
    "device": "memory bandwidth",
    "host_to_device": "bandwidth from the host",
    "device_to_host": "bandwidth to the host",
    "fp32": "float32 throughput",
    "tensor": "tensor throughput",
}


@dataclass(frozen=True)
class Rate:
    """One measure: `value` and `expected` in GB/s or TFLOPS, None where not known; `word` is how good that is."""

    measure: str
    value: float | None
    expected: float | None
    good: float | None
    bad: float | None
    word: str

    @property
    def unit(self) -> str:
        return "TFLOPS" if self.measure in ("fp32", "tensor") else "GB/s"

    @property
    def sentence(self) -> str:
        """What is wrong with it, in words."""
        if self.word == SLOW:
            said = f"{_TITLES[self.measure]} {self.value:,.4g} {self.unit}"
            return f"{said}, {self.good:,.4g} or more are likely: slow by the data sheet, as no good one was measured"
        least = self.good if self.word == LOW or self.good is not None else self.bad
        return f"{_TITLES[self.measure]} {self.value:,.4g} {self.unit}, should be {least or 0:,.4g} or more"


def rate_all(driver_name: str, document: Mapping[str, Any]) -> tuple[Rate, ...]:
    """Every measure of one GPU's record. `driver_name` decides what it should come to."""
    found = {**(document.get("bandwidth_gbs") or {}), **(document.get("tflops") or {})}
    return tuple(_rate(driver_name, measure, found.get(measure)) for measure in MEASURES)


def _rate(driver_name: str, measure: str, value: float | None) -> Rate:
    model = find_model(driver_name)
    wanted = line(model, measure) if model else None
    if value is None:
        return Rate(measure, None, wanted.expected if wanted else None, None, None, NOT_MEASURED)
    slowest = slow_line(model, measure) if model else None
    if slowest is not None and value < slowest and (wanted is None or value >= wanted.bad):
        return Rate(measure, value, None, slowest, None, SLOW)
    if wanted is None:
        return Rate(measure, value, None, None, None, UNRATED)
    if value < wanted.bad:
        word = BAD
    elif wanted.good is None:
        word = UNRATED
    else:
        word = GOOD if value >= wanted.good else LOW
    return Rate(measure, value, wanted.expected, wanted.good, wanted.bad, word)


def performance(rates: Sequence[Rate]) -> str:
    """The word for the GPU: its worst measure counts; what could not be rated does not make it better."""
    words = {rate.word for rate in rates}
    for word in (BAD, SLOW, LOW, GOOD, UNRATED):
        if word in words:
            return word
    return NOT_MEASURED
