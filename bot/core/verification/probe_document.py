"""From a probe's log to its document, or to the reason why there is none. Nothing of it is trusted before."""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SCHEMA = 1


class Unreadable(Exception):
    """There is no document of our schema; the text says why."""


@dataclass(frozen=True)
class Document:
    """What one probe said: `gpus` and `peers` as it printed them, `error` why it could use no GPU."""

    driver: str
    level: str
    error: str
    gpus: tuple[Mapping[str, Any], ...]
    peers: tuple[Mapping[str, Any], ...]

    @property
    def shared_uuids(self) -> frozenset[str]:
        """UUIDs with which more than one GPU answers."""
        counted = Counter(str(gpu.get("uuid") or "") for gpu in self.gpus)
        return frozenset(uuid for uuid, times in counted.items() if times > 1)


def document_line(log: str) -> str:
    """The line that holds the document: the last one that looks like it; '' where none does."""
    return next((line for line in reversed(log.strip().splitlines()) if line.startswith("{")), "")


def pack(line: str) -> str:
    """A document small enough to be a fact: eight GPUs take 12 kB as text and 2 kB so."""
    return base64.b85encode(zlib.compress(line.encode())).decode()


def unpack(packed: str) -> Any:
    """What `pack` packed, as plain data."""
    return json.loads(zlib.decompress(base64.b85decode(packed)))


def read_document(log: str, probe: str = "") -> Document:
    """The document in `log`; raises `Unreadable`.

    `probe` is the fingerprint of the script that was sent (its field `probe`), '' where any will do.
    """
    line = document_line(log)
    if not line:
        raise Unreadable("the probe printed nothing" if not log.strip() else "the probe printed no result")
    try:
        raw = json.loads(line, parse_constant=_no_number)
    except ValueError as error:
        if isinstance(error, _NotANumber):
            raise Unreadable(f"the probe's output holds {error}, which is no measurement") from None
        raise Unreadable("the probe's output is cut off or not JSON") from None
    return _document(raw, probe)


def _document(raw: Mapping[str, Any], probe: str) -> Document:
    if raw.get("schema") != SCHEMA:
        raise Unreadable(f"the probe speaks schema {raw.get('schema')!r}, this release reads {SCHEMA}")
    if probe and raw.get("probe") != probe:
        raise Unreadable(f"the result is from another probe ({raw.get('probe')}) than the one sent ({probe})")
    gpus, peers = _objects(raw, "gpus"), _objects(raw, "peers")
    for gpu in gpus:
        _check_gpu(gpu)
    if not all(peer.get("gbs") is None or _possible(peer["gbs"]) for peer in peers):
        raise Unreadable("the probe's output has a number that cannot be")
    return Document(
        driver=str(raw.get("driver") or "unknown"),
        level=str(raw.get("level") or ""),
        error=str(raw.get("error") or ""),
        gpus=gpus,
        peers=peers,
    )


def _check_gpu(gpu: Mapping[str, Any]) -> None:
    """Raise `Unreadable` where a field that is judged has a shape that cannot be."""
    numbers = [gpu.get("index"), gpu.get("memory_mib"), gpu.get("ecc_uncorrected"), gpu.get("temperature_c")]
    for part in ("bandwidth_gbs", "tflops", "pcie", "remapped_rows"):
        inner = gpu.get(part)
        if inner is not None and not isinstance(inner, dict):
            raise Unreadable(f"the probe's output has a wrong field {part}")
        if part != "remapped_rows":
            numbers += (inner or {}).values()
    if not all(number is None or _possible(number) for number in numbers):
        raise Unreadable("the probe's output has a number that cannot be")
    _objects(gpu, "checks")
    for part in ("uuid", "name", "mig_mode", "recovery_action"):
        if not isinstance(gpu.get(part), str | None):
            raise Unreadable(f"the probe's output has a wrong field {part}")
    for part in ("errors", "throttle_reasons"):
        words = gpu.get(part) or []
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise Unreadable(f"the probe's output has a wrong field {part}")


def _possible(number: Any) -> bool:
    """Finite and not below zero: 1e999 is valid JSON, and infinite."""
    plain = isinstance(number, int | float) and not isinstance(number, bool)
    return plain and math.isfinite(number) and number >= 0


def _objects(raw: Mapping[str, Any], part: str) -> tuple[Mapping[str, Any], ...]:
    """The list of objects in that field; raises `Unreadable` for anything else."""
    value = raw.get(part)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise Unreadable(f"the probe's output has no list of {part}")
    return tuple(value)


class _NotANumber(ValueError):
    pass


def _no_number(word: str) -> None:
    raise _NotANumber(word)
