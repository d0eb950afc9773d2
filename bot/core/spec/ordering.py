"""What somebody asks for, as typed and once it is checked."""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass, field

from bot.core.spec.catalogue import Catalogue, Preset, Team
from bot.core.spec.words import Invalid, Problem

# A cluster's name is part of machine and host names, which Rancher builds as cluster-pool-hash-random:
# 30 characters leave room for the rest (rancher/webhook: provisioning.cattle.io/v1/cluster/validator.go).
NAME = re.compile(r"[a-z][a-z0-9-]{0,28}[a-z0-9]")

_RANCHER_OWN_ID = re.compile(r"c-[a-z0-9]{5}")

REASON_MAX = 300
"""Longest reason, in characters; it stands on a card beside everything else."""

MAX_GPUS = 1024
"""More GPUs than this in one order is taken for a slip of the finger whatever the policy says."""


@dataclass(frozen=True)
class ClusterSpec:
    """What one person asked for, in their words, after checking. `gpus` in all, `hours` from ready.

    `wait_hours`: for how long AWS is asked again when no place has capacity. `instance_type` of the GPU machines and
    `zone` (the letter only): the only one that will do, '' for whichever preset and target allow.
    """

    name: str
    preset: str
    gpus: int
    hours: int
    reason: str
    team: str
    target: str
    wait_hours: int = 0
    instance_type: str = ""
    zone: str = ""


@dataclass(frozen=True)
class Draft:
    """A create as typed or filled in, nothing checked yet; an empty string is a thing not said."""

    name: str = ""
    preset: str = ""
    gpus: str = ""
    hours: str = ""
    reason: str = ""
    problems: tuple[Problem, ...] = field(default=())
    wait: str = ""
    instance_type: str = ""
    zone: str = ""

    @property
    def complete(self) -> bool:
        return all((self.name, self.preset, self.gpus, self.hours, self.reason))


def name_problem(name: str) -> str | None:
    """Why Rancher (or we) would refuse this name, or None."""
    if NAME.fullmatch(name) and name != "local" and not _RANCHER_OWN_ID.fullmatch(name):
        return None
    if name == "local" or _RANCHER_OWN_ID.fullmatch(name):
        return f"“{name}” is a name Rancher keeps for itself; choose another, such as “{name}-gpu”."
    return (
        "A cluster name has 2 to 30 characters: small letters, digits and dashes, first a letter, "
        "last a letter or digit. Example: train-a."
    )


def check_draft(draft: Draft, team: Team, catalogue: Catalogue) -> ClusterSpec:
    """Everything that can be said about a create without asking anybody.

    Raises `Invalid` with every problem at once, so that a person mends them all in one go.
    """
    problems = list(draft.problems)
    if (bad_name := name_problem(draft.name)) is not None:
        problems.append(Problem("name", bad_name))
    preset = _preset(draft.preset, team, catalogue, problems)
    if preset is not None and draft.instance_type and draft.instance_type not in preset.types:
        known = ", ".join(preset.types)
        message = f"Preset {preset.name} is not made of “{draft.instance_type}”; choose one of: {known}."
        problems.append(Problem("type", message))
    zone = _zone(draft.zone, team, catalogue, problems)
    gpus = _whole_number(draft.gpus, "gpus", 1, min(catalogue.policy.max_gpus, MAX_GPUS), "GPUs", problems)
    max_hours = catalogue.policy.max_hours
    if preset is not None and preset.max_hours:
        max_hours = min(max_hours, preset.max_hours)
    hours = _whole_number(draft.hours.removesuffix("h"), "hours", 1, max_hours, "hours", problems)
    wait_hours = _wait_hours(draft.wait, catalogue.policy.max_wait_hours, problems)
    reason = draft.reason.strip()
    if not reason:
        problems.append(Problem("reason", "Say what it is for: a lead reads it before approving."))
    elif len(reason) > REASON_MAX:
        problems.append(Problem("reason", f"The reason is {len(reason)} characters long; {REASON_MAX} at most."))
    if problems:
        raise Invalid(*problems)
    return ClusterSpec(
        draft.name, draft.preset, gpus, hours, reason, team.name, team.targets[0], wait_hours, draft.instance_type, zone
    )


def draft_of(spec: ClusterSpec) -> Draft:
    """What somebody would have to type to ask for the same."""
    wait = f"{spec.wait_hours}h" if spec.wait_hours else ""
    typed = (spec.name, spec.preset, str(spec.gpus), str(spec.hours), spec.reason)
    return Draft(*typed, wait=wait, instance_type=spec.instance_type, zone=spec.zone)


_ZONE = re.compile(r"[a-z]")


def _zone(text: str, team: Team, catalogue: Catalogue, problems: list[Problem]) -> str:
    """The letter of a zone, typed as such or with its region before it. Whether it is there, AWS says later."""
    target = catalogue.targets.get(team.targets[0])
    region = target.region if target is not None else ""
    letter = text.lower().removeprefix(region)
    if not text or _ZONE.fullmatch(letter):
        return letter
    problems.append(Problem("zone", f"“{text}” is no zone of {region}: type its letter, as in {region}a."))
    return ""


def _wait_hours(text: str, most: int, problems: list[Problem]) -> int:
    """`--wait 48h`; nothing said is no waiting."""
    if not text:
        return 0
    if most == 0:
        problems.append(Problem("wait", "Waiting for capacity is switched off (max_wait_hours = 0 under [policy])."))
        return 0
    bare = text.removesuffix("h")
    if bare.isascii() and bare.isdigit() and len(bare) < 10 and 1 <= int(bare) <= most:
        return int(bare)
    message = f"“{text}” will not do: say how many hours to wait for capacity, 1h to {most}h."
    problems.append(Problem("wait", message))
    return 0


def _preset(name: str, team: Team, catalogue: Catalogue, problems: list[Problem]) -> Preset | None:
    allowed = [n for n in catalogue.presets if not team.presets or n in team.presets]
    if name in allowed:
        return catalogue.presets[name]
    known = ", ".join(sorted(allowed))
    close = difflib.get_close_matches(name.lower(), allowed, n=1) if name else []
    meant = f"Did you mean {close[0]}? " if close else ""
    message = f"There is no preset “{name}” for team {team.name}. {meant}" if name else "No preset was chosen. "
    problems.append(Problem("preset", message + f"Choose one of: {known}."))
    return None


def _whole_number(text: str, key: str, low: int, high: int, unit: str, problems: list[Problem]) -> int:
    if text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high:
        return int(text)
    problems.append(Problem(key, f"“{text}” will not do: {unit} must be a whole number from {low} to {high}."))
    return 0


def spec_from_json(text: str) -> ClusterSpec:
    """The spec as it was stored."""
    return ClusterSpec(**json.loads(text))
