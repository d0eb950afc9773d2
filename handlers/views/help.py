"""What `help` answers: what one can type, what one may do, and who decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bot.core.costs.ledger import Committed
from bot.core.costs.money import dollars
from bot.core.spec import Preset
from handlers.views.page import Bullets, Header, Page, Para
from handlers.views.spans import Line, code, joined, line, who

EXAMPLE = 'create train-a --preset starter --gpus 1 --hours 8 --reason "try the new data loader"'
_EXAMPLES = (f"/gpu-cluster {EXAMPLE}", f"/gpu-cluster {EXAMPLE} --dry-run", "/gpu-cluster status train-a")

_COMMANDS: tuple[tuple[str, str], ...] = (
    ("/gpu-cluster create", "opens the form; a complete line asks at once; with --dry-run it only tells the price"),
    ("/gpu-cluster create … --wait 48h", "goes on trying that long where AWS has no capacity"),
    ("/gpu-cluster list", "the clusters there are, 99 a page; list 2 is the second"),
    ("/gpu-cluster status NAME", "where it stands, and how to get in"),
    ("/gpu-cluster why NAME", "what is wrong, the likeliest cause first, with the command that proves it"),
    ("/gpu-cluster logs NAME", "the last lines of the operator, the driver and the probe"),
    (
        "/gpu-cluster cost",
        "what clusters cost so far, by cluster, person and team; cost NAME for one, cost 2 for the next page",
    ),
    ("/gpu-cluster extend NAME 4h", "keep it longer; a lead confirms"),
    ("/gpu-cluster share NAME @someone", "let somebody else in; unshare NAME @someone ends it"),
    ("/gpu-cluster kubeconfig NAME", "a file of your own, where Rancher has no account for you"),
    ("/gpu-cluster enable NAME", "GPUs of a cluster that Rancher has already; a lead of its team confirms"),
    ("/gpu-cluster export NAME", "the cluster as YAML for a repository, without secrets"),
    ("/gpu-cluster verify NAME", "measure its idle GPUs again; --level quick, standard or burn"),
    ("/gpu-cluster replace NAME", "another machine for one that is bad or gone; a lead confirms"),
    ("/gpu-cluster scale NAME gpu 4", "another number of GPUs, or of machines in another pool; a lead confirms"),
    ("/gpu-cluster cancel NAME", "withdraw what waits; end what runs and have removed what it made"),
    ("/gpu-cluster retry NAME", "a create that failed goes on from the step that failed"),
    ("/gpu-cluster keep NAME", "a failed cluster is not deleted by itself yet"),
    ("/gpu-cluster history NAME", "who did what, and when"),
    ("/gpu-cluster stop-creates", "for leads: no new clusters until allow-creates"),
    ("/gpu-cluster orphans", "for leads: what is left in AWS of clusters that are gone, with a button to end it"),
    ("/gpu-cluster delete NAME", "give it back; a lead confirms"),
    ("@gpu-cluster status", "in a cluster's thread, where slash commands do not exist; in direct messages without @"),
)


@dataclass(frozen=True)
class Rights:
    """What somebody is to their team and may do, and who decides for it (Slack ids): by name and group, and `leads`
    person by person."""

    roles: tuple[str, ...]
    verbs: tuple[str, ...]
    team: str
    approvers: tuple[str, ...]
    leads: tuple[str, ...] = ()


def help_page(rights: Rights, presets: Mapping[str, Preset], held: Committed | None = None) -> Page:
    """Commands, the presets one may use, one's rights, the team's month and the approvers."""
    said = line("GPU clusters: create, list, status, delete. Example: ", code(f"/gpu-cluster {EXAMPLE}"))
    return Page(
        said,
        (
            Header("GPU clusters"),
            Bullets(tuple(line(code(command), f" – {what}") for command, what in _COMMANDS)),
            Para((line("For example:"), *(line(code(example)) for example in _EXAMPLES))),
            Bullets(tuple(line(code(name), f" – {preset.description}") for name, preset in presets.items())),
            Para((_rights(rights), *_budget(rights, held), _approvers(rights))),
        ),
    )


def _rights(rights: Rights) -> Line:
    roles = ", ".join(rights.roles) or "nobody"
    may = f" You may: {', '.join(rights.verbs)}." if rights.verbs else " You may do nothing here."
    return line(f"Towards team {rights.team} you are: {roles}.{may}")


def _budget(rights: Rights, held: Committed | None) -> tuple[Line, ...]:
    """What is left of the team's month."""
    if held is None:
        return ()
    if held.budget is None:
        return (line(f"Team {rights.team} has no budget set."),)
    return (line(f"Budget of team {rights.team}: {dollars(held.left)} of {dollars(held.budget)} left this month."),)


def _approvers(rights: Rights) -> Line:
    if not rights.approvers:
        return line(f"Nobody may approve for team {rights.team}: gpu-cluster.toml names no lead.")
    people = joined([line(who(identity)) for identity in rights.approvers[:10]], ", ")
    now = joined([line(who(identity)) for identity in rights.leads[:10]], ", ")
    at_present = line(" At present that is: ", *now, ".") if now and rights.leads != rights.approvers else ()
    return line("Approved by: ", *people, ".", *at_present, " Nobody approves their own request.")
