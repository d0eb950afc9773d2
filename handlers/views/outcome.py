"""The end of a request: one message that mentions the requester and holds what they need next."""

from __future__ import annotations

from bot.core.credentials import BY_CLUSTER, BY_RANCHER
from bot.core.records import Kind, RequestState, StepState
from bot.core.steps.access import FALLBACK_ROLE, SHIPPED_ROLE
from bot.core.story import Access, Story
from handlers.views import changes
from handlers.views.page import Bullets, Button, Buttons, Code, Confirm, Fields, Header, Page, Para, Part
from handlers.views.request import again_button, cost
from handlers.views.results import closed_whole
from handlers.views.retype import create_line
from handlers.views.spans import Line, bold, code, joined, line, link, moment, who
from handlers.views.spans import said as told
from handlers.views.trouble import degraded_buttons
from handlers.views.words import clip, count, outcome_state, step_title

# Any glibc image will do: NVIDIA's container toolkit puts nvidia-smi in (NVIDIA/nvidia-container-toolkit: README.md).
TRY_IMAGE = "ubuntu:24.04"

Metadata = dict[str, str | int]


def outcome(story: Story, leads: tuple[str, ...] = ()) -> Page:
    """How it ended and what to do with it. `leads` are asked what to do with a degraded one."""
    match outcome_state(story):
        case "done":
            return changes.done(story)
        case "ready" | "degraded":
            return _usable(story, leads)
        case "deleted" if story.enabled:
            said = line(
                who(story.requester),
                f" {story.cluster} is forgotten: roles and tokens are taken back, it and its GPU Operator stay.",
            )
            return Page(said, (Header(f"{story.cluster}: Forgotten"), Para((said,))))
        case "deleted":
            said = line(
                who(story.requester), f" {story.cluster} is deleted: Rancher and EC2 show nothing of it any more."
            )
            return Page(said, (Header(f"{story.cluster}: Deleted"), Para((said,))))
        case "denied":
            return _denied(story)
        case "lapsed":
            said = line(who(story.requester), f" nobody decided on {story.cluster} in time, so the request has lapsed.")
            again = Buttons(f"again-{story.request_id}", (again_button(story),))
            return Page(said, (Header(f"{story.cluster}: Lapsed"), Para((said, _again(story))), again))
        case _:
            return _failed(story)


def metadata(story: Story) -> Metadata:
    """The outcome for programs (message metadata): what, how it ended, and why; below 1 kB of text."""
    report = story.report
    return {
        "request": story.request_id,
        "cluster": story.cluster,
        "kind": str(story.kind),
        "state": outcome_state(story),
        "verdict": report.verdict if report else "",
        "gpus": report.good if report else 0,
        "reason": clip(_reason(story), 600),
        "remedy": clip(story.remedy, 300),
    }


def getting_in(story: Story) -> list[Part]:
    """How to get in, a command to try it with, and where to put data."""
    access = story.access
    if access is None:
        return []
    pairs = [("How to get in", _door(access, story.cluster))]
    storage = (
        line(code(access.storage_class)) if access.storage_class else line("none: pods have no volumes of their own")
    )
    pairs.append(("Storage class", storage))
    if story.expires_at is not None:
        pairs.append(("Available until", line(moment(story.expires_at))))
    if not story.enabled:
        pairs.append(("Price", line(cost(story))))
    first = "download the KubeConfig from that page" if access.role else "set KUBECONFIG to your file"
    return [Fields(tuple(pairs)), Para((line(f"To see a GPU, {first} and paste:"),)), Code(smi_command())]


def smi_command() -> str:
    """A command that runs nvidia-smi in a pod which asks for one GPU and nothing else."""
    limits = '"resources":{"limits":{"nvidia.com/gpu":1}}'
    container = f'{{"name":"smi","image":"{TRY_IMAGE}","command":["nvidia-smi"],{limits}}}'
    return (
        f"kubectl run smi --rm -i --restart=Never --image={TRY_IMAGE} \\\n"
        f"""  --overrides='{{"spec":{{"containers":[{container}]}}}}'"""
    )


def _usable(story: Story, leads: tuple[str, ...]) -> Page:
    state, report = outcome_state(story), story.report
    told = f"{report.good} of {count(report.expected, 'GPU')} verified" if report else "nothing was measured"
    said = line(who(story.requester), f" {story.cluster} is {state}: {told}.")
    lines = [said]
    if state == "degraded":
        lines += [line(bold("Why: "), _reason(story) or told)]
        if story.remedy:
            lines.append(line(bold("What to do: "), story.remedy))
        lines += [line(said) for said in closed_whole(report)] if report and not story.enabled else []
        remove = code(f"/gpu-cluster delete {story.cluster}")
        if not story.enabled:
            lines.append(line("Use what passed, or give it back with ", remove, " and ask again."))
        if leads:
            asked = joined([line(who(lead)) for lead in leads[:10]], ", ")
            lines.append(line("Leads decide: ", *asked, "."))
    parts: list[Part] = [Header(f"{story.cluster}: {state.capitalize()}, {told}"), Para(tuple(lines))]
    if state == "degraded":
        parts.append(Bullets(tuple(line(item) for item in story.diagnosis)))
    if state == "degraded" and story.cluster_id:
        parts.append(degraded_buttons(story.cluster_id))
    return Page(said, (*parts, *getting_in(story)))


def _door(access: Access, cluster: str) -> Line:
    """By one's own account in Rancher, by the team's group, by a token of the cluster, or by a person."""
    place = link(f"{access.rancher_url.rstrip('/')}/dashboard/c/{access.management_id}/explorer", "open it in Rancher")
    if access.bound_to:
        theirs = f", and so have members of {access.group}" if access.group else ""
        return line(place, f": your account has the role {access.role} there{theirs}{_more(access)}")
    if access.group:
        return line(place, f": members of {access.group} have the role {access.role} there{_more(access)}")
    if access.tokens in (BY_RANCHER, BY_CLUSTER):
        file = "sends a file that works for some hours to your direct messages"
        return line(
            code(f"/gpu-cluster kubeconfig {cluster}"), f" {file}; Rancher has no account for you that I know of"
        )
    return line(place, ": whoever keeps Rancher adds you under Cluster Members")


def _more(access: Access) -> str:
    """That there could be more than Rancher's own role."""
    if access.role != FALLBACK_ROLE or not access.tokens:
        return ""
    return f" (the role {SHIPPED_ROLE}, which allows more, is not in this Rancher; its admins can add it)"


def _denied(story: Story) -> Page:
    by = next((d for d in story.decisions if d.decision == "deny"), None)
    person = line(" by ", who(by.approver)) if by else ()
    said = line(who(story.requester), f" the request for {story.cluster} was denied", *person, ".")
    lines = [said]
    if story.reason:
        lines.append(line(bold("Reason: "), story.reason))
    lines.append(line("Talk to them, then ask again."))
    return Page(said, (Header(f"{story.cluster}: Denied"), Para(tuple(lines))))


_DOING = {Kind.ENABLE: "enabling", Kind.DELETE: "deleting", Kind.CREATE: "making"}


def _failed(story: Story) -> Page:
    verb = "was cancelled" if story.state == RequestState.CANCELLED else "failed"
    what = _DOING.get(story.kind, str(story.kind))
    reason = _reason(story) or "no reason was given"
    why = told(reason) if story.state == RequestState.CANCELLED else line(clip(reason, 600))
    said = line(who(story.requester), f" {what} {story.cluster} {verb}: ", *why)
    lines = [line(who(story.requester), f" {what} {story.cluster} {verb}."), *_where(story), line(bold("Why: "), *why)]
    if story.remedy:
        lines.append(line(bold("What to do: "), story.remedy))
    lines.append(_next(story))
    if story.incident:
        lines.append(line("Incident ", code(story.incident), ": the log holds the details."))
    evidence = Bullets(tuple(line(item) for item in story.diagnosis))
    header = Header(f"{story.cluster}: {verb.removeprefix('was ').capitalize()}")
    return Page(said, (header, Para(tuple(lines)), evidence, *_ways_on(story)))


def _where(story: Story) -> list[Line]:
    """The step that failed; what failed before there were steps has none."""
    for number, step in enumerate(story.steps, 1):
        if step.state == StepState.FAILED:
            return [line(bold("Failed at: "), f"{step_title(step.name)}, step {number} of {len(story.steps)}")]
    return []


def _ways_on(story: Story) -> list[Part]:
    """The three buttons below a create that failed with something made."""
    if story.kind != Kind.CREATE or story.state != RequestState.FAILED or not story.steps:
        return []
    value = f"{story.cluster}.{story.request_id}"
    sure = Confirm(f"Clean up {story.cluster}?", "A lead is asked to have everything of it deleted.", "Ask", "Not yet")
    buttons = (
        Button("retry", "Retry from this step", value, "primary"),
        Button("keep", "Keep", value),
        Button("cleanup", "Clean up", value, "danger", sure),
    )
    return [Buttons(f"ways-on-{story.request_id}", buttons)]


def _next(story: Story) -> Line:
    if story.change is not None:
        again = code(f"/gpu-cluster {story.kind} {story.cluster} …")
        status = code(f"/gpu-cluster status {story.cluster}")
        return line("The cluster itself goes on: ", status, ". To ask again, type ", again, ".")
    if story.kind == Kind.CREATE and story.state == RequestState.CANCELLED and story.steps:
        return line("What was made is being removed; the name is free then.")
    if story.kind == Kind.DELETE:
        again = code(f"/gpu-cluster delete {story.cluster}")
        return line("Machines may still run and cost money. Type ", again, " to try again.")
    if story.kind == Kind.ENABLE and story.steps:
        forget = code(f"/gpu-cluster delete {story.cluster}")
        return line("What was installed stays in the cluster. ", forget, " forgets it; then it can be asked again.")
    if not story.steps:
        return line("Nothing was made. ", *_again(story))
    remove = code(f"/gpu-cluster delete {story.cluster}")
    over = (
        line(" Unless it is kept it is deleted ", moment(story.removed_at), ".") if story.removed_at is not None else ()
    )
    return line("What was made still stands and may cost money. Type ", remove, " to remove it.", *over)


def _again(story: Story) -> Line:
    if story.kind == Kind.ENABLE:
        return line("To ask again, type ", code(f"/gpu-cluster enable {story.cluster}"), ".")
    if story.change is not None:
        return line("To ask again, type ", code(f"/gpu-cluster {story.kind} {story.cluster} …"), ".")
    if story.spec is None:
        return line("To ask again, type ", code(f"/gpu-cluster delete {story.cluster}"), ".")
    return line("To ask again, type ", code(create_line(story.spec)))


def _reason(story: Story) -> str:
    if story.reason:
        return story.reason
    return "; ".join(story.report.reasons) if story.report else ""
