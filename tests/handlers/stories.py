"""Any story there can be (hypothesis): long names, nasty text, many machines."""

from __future__ import annotations

import dataclasses

from hypothesis import strategies as st

from bot.core.changes import Change, Extend, Replace, Scale, Share, Unshare, Verify
from bot.core.plan import plan_for
from bot.core.records import ClusterState, Kind, RequestState, StepState
from bot.core.spec import Check, ClusterSpec, Envelope, Existing, GpuExpectation, Pool, Taint
from bot.core.story import Access, Decision, StepFacts, Story
from bot.core.verification.verdict import CheckResult, GpuResult, NodeResult, Report

NASTY = st.sampled_from(
    [
        "<!channel>",
        "<!here> & <!everyone>",
        "<@U0LEAD>",
        "<https://evil.example|https://good.example>",
        "*bold* _it_ ~no~ `code` ```fence```",
        "\u202egnp.exe \u2066x\u2069",
        "\x00\x07\x1b[31m\r\n\n",
        "&lt;!channel&gt;",
        "]]> {{x}} %s \\",
        "&" * 400,
        "<" * 3_000,
        "𝔘" * 2_000,
        "line\n" * 200,
        "x" * 5_000,
        "",
        " ",
    ]
)
TEXT = NASTY | st.text(max_size=120) | st.builds(lambda a, b: a + b, NASTY, NASTY)
USER = st.sampled_from(["U0REQUESTER", "U0LEAD", "W0ENTERPRISE", "S0LEADS", "engine", "<!channel>"])
AT = st.floats(min_value=0, max_value=4e9, allow_nan=False)
MAYBE_AT = st.none() | AT
NAME = st.from_regex(r"[a-z][a-z0-9-]{0,28}[a-z0-9]", fullmatch=True)

CHANGES: dict[Kind, st.SearchStrategy[Change | None]] = {
    Kind.CREATE: st.none(),
    Kind.DELETE: st.none(),
    Kind.EXTEND: st.builds(Extend, st.integers(1, 999)),
    Kind.SHARE: st.builds(Share, st.just("UMATE")),
    Kind.UNSHARE: st.builds(Unshare, st.just("UMATE")),
    Kind.ENABLE: st.none(),
    Kind.VERIFY: st.builds(Verify, TEXT, st.sampled_from(["asked", "scheduled", "new"])),
    Kind.REPLACE: st.builds(Replace, TEXT, TEXT),
    Kind.SCALE: st.builds(Scale, TEXT, st.integers(1, 99), st.integers(1, 99), st.integers(1, 99)),
}
SPECS = st.builds(
    ClusterSpec,
    name=NAME,
    preset=TEXT,
    gpus=st.integers(1, 1024),
    hours=st.integers(1, 999),
    reason=TEXT,
    team=TEXT,
    target=TEXT,
)
POOLS = st.builds(
    Pool,
    name=TEXT,
    instance_type=TEXT,
    count=st.integers(0, 64),
    control_plane=st.booleans(),
    worker=st.booleans(),
    gpu=st.booleans(),
    root_gib=st.just(60),
    zone=st.just("a"),
    subnet=TEXT,
    ami=TEXT,
    labels=st.just(()),
    taints=st.just(()),
)
EXISTING = st.builds(
    Existing,
    management_id=TEXT,
    nodes=st.lists(st.tuples(TEXT, st.none() | st.integers(0, 99)), max_size=12).map(tuple),
    taints=st.lists(st.builds(Taint, TEXT, TEXT, TEXT), max_size=9).map(tuple),
    adopted=st.booleans(),
    host_driver=st.booleans(),
)
ENVELOPES = st.builds(
    Envelope,
    name=NAME,
    team=TEXT,
    target=TEXT,
    preset=TEXT,
    account=TEXT,
    region=TEXT,
    vpc=TEXT,
    cloud_credential=TEXT,
    security_group=TEXT,
    ssh_user=TEXT,
    kubernetes=TEXT,
    operator=TEXT,
    driver=TEXT,
    probe_image=TEXT,
    pools=st.lists(POOLS, max_size=12).map(tuple),
    gpu=st.just(GpuExpectation("t", "T4", 1, 1)),
    gpus=st.integers(1, 1024),
    hours=st.integers(1, 999),
    max_price_per_hour=st.none() | st.floats(0, 1e6, allow_nan=False),
    existing=st.none() | EXISTING,
)
CHECKS = st.lists(st.builds(Check, TEXT, st.sampled_from(["ok", "no", "unknown", "?"]), TEXT, TEXT), max_size=40)
DECISIONS = st.lists(st.builds(Decision, USER, st.sampled_from(["approve", "deny"]), AT, TEXT), max_size=30)
ACCESS = st.builds(
    Access,
    rancher_url=TEXT | st.just("https://r.example/"),
    management_id=TEXT,
    bound_to=TEXT,
    role=TEXT,
    storage_class=TEXT,
    group=TEXT,
    tokens=st.sampled_from(["", "rancher", "cluster", "off"]),
)
GPU_CHECKS = st.lists(st.builds(CheckResult, TEXT, st.booleans(), TEXT), max_size=3).map(tuple)
NUMBER = st.none() | st.floats(0, 1e5, allow_nan=False)
GPUS = st.builds(
    GpuResult,
    node=TEXT,
    index=st.integers(0, 15),
    uuid=TEXT,
    name=TEXT,
    memory_mib=st.integers(0, 10**6),
    driver=TEXT,
    checks=GPU_CHECKS,
    device_gbs=NUMBER,
    host_to_device_gbs=NUMBER,
    device_to_host_gbs=NUMBER,
    temperature_c=st.none() | st.integers(0, 120),
    verdict=st.sampled_from(["verified", "failed"]),
    reasons=st.lists(TEXT, max_size=2).map(tuple),
)


@st.composite
def reports(draw: st.DrawFn) -> Report:
    """A report of up to 64 nodes; the nodes repeat a few that were drawn."""
    few = draw(st.lists(GPUS, min_size=1, max_size=3))
    sizes = draw(st.lists(st.integers(0, 8), max_size=3)) or [1]
    count = draw(st.sampled_from([0, 1, 2, 7, 64]))
    nodes = tuple(
        NodeResult(f"node-{i}", str(i), "failed", 8, tuple(few[j % len(few)] for j in range(sizes[i % len(sizes)])), ())
        for i in range(count)
    )
    verdict = draw(st.sampled_from(["verified", "degraded", "failed", "unknown"]))
    good = draw(st.integers(0, 512))
    return Report(verdict, good, good + draw(st.integers(0, 9)), nodes, tuple(draw(st.lists(TEXT, max_size=40))))


@st.composite
def steps(draw: st.DrawFn, kind: Kind) -> tuple[StepFacts, ...]:
    """None, or all steps of the plan, or more than any plan has."""
    names = [planned.kind.partition("@")[0] for planned in plan_for(kind)]
    names = draw(st.sampled_from([[], names, [*names, *(f"unheard_of_{i}" for i in range(60))]]))
    facts = st.builds(
        StepFacts,
        name=st.just(""),
        state=st.sampled_from(StepState),
        started_at=MAYBE_AT,
        done_at=MAYBE_AT,
        why=TEXT,
        progress=TEXT,
        stalled=st.booleans(),
        usual_s=st.floats(0, 1e5),
    )
    few = draw(st.lists(facts, min_size=1, max_size=4))
    return tuple(dataclasses.replace(few[i % len(few)], name=name) for i, name in enumerate(names))


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """A story whose parts need not fit together: a view must hold the limits whatever it is told."""
    kind = draw(st.sampled_from(Kind))
    return Story(
        request_id="r-0123456789",
        kind=kind,
        state=draw(st.sampled_from(RequestState)),
        cluster=draw(NAME),
        enabled=draw(st.booleans()),
        cluster_state=draw(st.sampled_from(ClusterState)),
        requester=draw(USER),
        team=draw(TEXT),
        channel="C0GPU",
        asked_at=draw(AT),
        approvals_needed=draw(st.integers(0, 2)),
        spec=draw(SPECS) if kind == Kind.CREATE else None,
        change=draw(CHANGES[kind]),
        envelope=draw(st.none() | ENVELOPES),
        envelope_hash=draw(st.text("0123456789abcdef", max_size=64)),
        checks=tuple(draw(CHECKS)),
        decisions=tuple(draw(DECISIONS)),
        steps=draw(steps(kind)),
        lapses_at=draw(MAYBE_AT),
        approved_at=draw(MAYBE_AT),
        finished_at=draw(MAYBE_AT),
        ready_at=draw(MAYBE_AT),
        expires_at=draw(MAYBE_AT),
        reason=draw(TEXT),
        remedy=draw(TEXT),
        diagnosis=tuple(draw(st.lists(TEXT, max_size=40))),
        incident=draw(TEXT),
        report=draw(st.none() | reports()),
        access=draw(st.none() | ACCESS),
    )


def plain_story(reason: str) -> Story:
    """A create that is being checked, and nothing else."""
    return Story(
        request_id="r-1",
        kind=Kind.CREATE,
        state=RequestState.CHECKING,
        cluster="train-a",
        cluster_state=ClusterState.BUILDING,
        requester="U0REQUESTER",
        team="default",
        channel="C0GPU",
        asked_at=0.0,
        approvals_needed=1,
        spec=ClusterSpec("train-a", "starter", 1, 8, reason, "default", "default"),
        envelope=None,
        envelope_hash="",
        checks=(),
        decisions=(),
        steps=(),
        lapses_at=None,
        approved_at=None,
        finished_at=None,
        ready_at=None,
        expires_at=None,
        reason="",
        remedy="",
        diagnosis=(),
        incident="",
        report=None,
        access=None,
    )


def largest(text: str, state: RequestState) -> Story:
    """Every field there can be, filled with `text`, in numbers that nobody will reach."""
    gpu = GpuResult(
        text, 0, text, text, 81559, text, (CheckResult(text, False, text),), 1e4, 1e2, 1e2, 90, "failed", (text,)
    )
    nodes = tuple(NodeResult(text, text, "failed", 8, (gpu,) * 8, (text,)) for _ in range(64))
    step = StepFacts("", StepState.RUNNING, 1e9, None, text, text, True, 420.0)
    names = [planned.kind.partition("@")[0] for planned in plan_for(Kind.CREATE)]
    pools = (Pool(text, text, 64, False, True, True, 60, "a", text, text),) * 20
    envelope = Envelope(
        "a" * 30, text, text, text, text, text, text, text, text, text, text, text, text, text, pools,
        GpuExpectation("t", "T4", 1, 1), 512, 72, 1e6,
    )  # fmt: skip
    return dataclasses.replace(
        plain_story(text),
        state=state,
        cluster="a" * 30,
        cluster_state=ClusterState.READY,
        team=text,
        envelope=envelope,
        envelope_hash="0" * 64,
        checks=(Check(text, "no", text, text),) * 60,
        decisions=(Decision("U0LEAD", "deny", 1e9, text),) * 60,
        steps=tuple(dataclasses.replace(step, name=name) for name in names) if state == RequestState.RUNNING else (),
        lapses_at=1e9,
        finished_at=1e9,
        expires_at=1e9,
        reason=text,
        remedy=text,
        diagnosis=(text,) * 60,
        incident=text,
        report=Report("degraded", 0, 512, nodes, (text,) * 60),
        access=Access("https://r.example", text, text, text, text),
    )
