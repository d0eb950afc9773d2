"""What `help` answers: what one can type, what one may do, and who decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bot.core.spec import Preset
from handlers.views.page import Bullets, Header, Page, Para
from handlers.views.spans import Line, code, joined, line, who

EXAMPLE = 'create train-a --preset starter --gpus 1 --hours 8 --reason "try the new data loader"'

_COMMANDS: tuple[tuple[str, str], ...] = (
    ("/gpu-cluster create", "opens the form; a complete line asks at once"),
    ("/gpu-cluster create … --wait 48h", "goes on trying that long where AWS has no capacity"),
    ("/gpu-cluster list", "the clusters there are"),
    ("/gpu-cluster status NAME", "where it stands, and how to get in"),
    ("/gpu-cluster cost", "what clusters cost so far, by cluster, person and team; cost NAME for one"),
    ("/gpu-cluster delete NAME", "give it back; a lead confirms"),
    ("@gpu-cluster status", "in a cluster's thread, where slash commands do not exist"),
)

LATER: Mapping[str, str] = {
    "enable": "install the GPU Operator from Rancher's Apps page for now.",
    "why": "status NAME shows the step, what it waits for and what was found.",
    "logs": "Rancher's own page of the cluster has the logs of its pods.",
    "verify": "every cluster is measured once, when it is made; status NAME shows the result.",
    "scale": "ask for a second cluster with create for now.",
    "extend": "ask for a new cluster before the time is over.",
    "share": "whoever keeps Rancher can add people under Cluster Members.",
    "cancel": "a lead can deny what waits; delete NAME ends what runs.",
    "retry": "delete NAME, then create it again.",
    "export": "Rancher's page of the cluster shows it as YAML.",
    "history": "the thread of each request holds its story.",
}
"""Words that are planned and not there yet, with what to do instead."""


@dataclass(frozen=True)
class Rights:
    """What somebody is to their team, and who decides for it (Slack ids)."""

    roles: tuple[str, ...]
    team: str
    approvers: tuple[str, ...]


def help_page(rights: Rights, presets: Mapping[str, Preset]) -> Page:
    """Commands, the presets one may use, one's rights and the approvers."""
    said = line("GPU clusters: create, list, status, delete. Example: ", code(f"/gpu-cluster {EXAMPLE}"))
    return Page(
        said,
        (
            Header("GPU clusters"),
            Bullets(tuple(line(code(command), f" – {what}") for command, what in _COMMANDS)),
            Para((line("For example: ", code(f"/gpu-cluster {EXAMPLE}")),)),
            Bullets(tuple(line(code(name), f" – {preset.description}") for name, preset in presets.items())),
            Para((_rights(rights), _approvers(rights))),
        ),
    )


def _rights(rights: Rights) -> Line:
    roles = ", ".join(rights.roles) or "nobody"
    return line(f"Towards team {rights.team} you are: {roles}.")


def _approvers(rights: Rights) -> Line:
    if not rights.approvers:
        return line(f"Nobody may approve for team {rights.team}: gpu-cluster.toml names no lead.")
    people = joined([line(who(identity)) for identity in rights.approvers[:10]], ", ")
    return line("Approved by: ", *people, ". Nobody approves their own request.")
