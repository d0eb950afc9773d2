"""README and docs against the code: commands, settings, names, tables and links say what is."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
import pytest
import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from bot import settings
from bot.cli import main
from bot.core import plan, policy, spec
from bot.core.operator_values import NAMESPACE, REPO_NAME, REPO_URL
from bot.core.records import Kind
from bot.core.verification.sight import NAMESPACE as VERIFY_NAMESPACE
from bot.sandbox import play
from bot.sandbox.world.faults import FAULTS
from handlers.grammar import CHANGES, draft_of, split
from handlers.views.answers import COMMANDS
from handlers.views.form import CALLBACK, FIELDS

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
README, CONTRACTS, ARCHITECTURE, SLACK = (
    (ROOT / name).read_text() for name in ("README.md", "docs/contracts.md", "docs/architecture.md", "docs/slack.md")
)
EVERYTHING = "\n".join(page.read_text() for page in PAGES)


def parted(text: str) -> tuple[list[tuple[str, str]], str]:
    """The code blocks with their languages, and the text without them."""
    blocks: list[tuple[str, str]] = []
    prose: list[str] = []
    inside: list[str] | None = None
    for line in text.splitlines():
        if line.startswith("```") and inside is None:
            language, inside = line[3:], []
        elif line.startswith("```"):
            blocks.append((language, "\n".join(inside or [])))
            inside = None
        else:
            (prose if inside is None else inside).append(line)
    return blocks, "\n".join(prose)


def fenced(text: str, language: str = "") -> list[str]:
    """The code blocks of that language."""
    return [block for named, block in parted(text)[0] if named == language]


def section(text: str, heading: str) -> str:
    """What stands under a heading, down to the next one."""
    return text.split(f"\n{heading}\n", 1)[1].split("\n#", 1)[0]


def rows(text: str) -> Iterator[list[str]]:
    """The cells of every table row that is neither header nor rule."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
        if cells and cells[0].startswith("`"):
            yield cells


def codes(text: str) -> list[str]:
    """What stands in backticks within a line."""
    return re.findall(r"`([^`\n]+)`", parted(text)[1])


# --- commands -------------------------------------------------------------------------------------------------

LINES = [line for block in fenced(EVERYTHING) for line in block.splitlines()]
INLINE = codes(EVERYTHING)
SHELL = sorted(
    {
        s.split(" #")[0].split(" > ")[0].replace(" -v ", " ").strip()
        for s in (*LINES, *INLINE)
        if s.startswith("gpu-cluster ") and "[" not in s
    }
)
TYPED = sorted({s for s in (*LINES, *INLINE) if re.match(r"[/@]gpu-cluster \w", s)})


@pytest.mark.parametrize("line", SHELL)
def test_shell_commands_parse(line: str) -> None:
    words = shlex.split(line)[1:]
    context = click.Context(main, info_name="gpu-cluster")
    command = main.get_command(context, words[0])
    assert command is not None, f"there is no {words[0]}"
    assert command.make_context(words[0], words[1:], parent=context).args == []


def test_there_are_commands_to_look_at() -> None:
    assert {line.split()[1] for line in SHELL} == set(main.commands)
    assert len(TYPED) >= 6


def test_sandbox_options_are_all_told() -> None:
    told = {codes(cells[0])[0] for cells in rows(section(CONTRACTS, "## Sandbox")) if cells[0].startswith("`--")}
    options = {name for o in main.commands["sandbox"].params for name in o.opts if name.startswith("--")}
    synopsis = set(re.findall(r"--[\w-]+", section(CONTRACTS, "## Sandbox").split("`\n\n", 1)[0]))
    assert told == options == synopsis


@pytest.mark.parametrize("line", TYPED)
def test_slack_lines_are_understood(line: str) -> None:
    words = split(line.split(maxsplit=1)[1])
    assert words.verb in {*COMMANDS, *CHANGES}
    if words.verb == "create" and words.rest:
        catalogue = settings.catalogue_of(settings.ConfigFile.model_validate(EXAMPLE))
        assert spec.check_draft(draft_of(words.rest), catalogue.teams["default"], catalogue)


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    told = {line.split()[1] for line in (*LINES, *INLINE) if line.startswith("make ")}
    assert told
    assert told <= targets


# --- settings -------------------------------------------------------------------------------------------------

EXAMPLE = tomllib.loads(settings.example_config())


def test_environment_variables() -> None:
    told = {codes(c[0])[0]: c[1] for c in rows(section(CONTRACTS, "## Environment variables"))}
    fields = settings.Environment.model_fields
    assert set(told) == {name.upper() for name in fields}
    for name, field in fields.items():
        if field.default:
            assert told[name.upper()] == f"`{field.default}`"
    files = {
        name for name in codes(section(CONTRACTS, "## Environment variables")) if re.fullmatch(r"[A-Z]\w+_FILE", name)
    }
    assert files == {f"{name}_FILE" for name in settings._SECRETS} == set(re.findall(r"`(\w+_FILE)`", README))


def _model(annotation: Any) -> type[BaseModel]:
    """The section's model, out of `dict[str, Section]` where it is repeated."""
    found = get_args(annotation)[1] if get_args(annotation) else annotation
    assert isinstance(found, type)
    assert issubclass(found, BaseModel)
    return found


def _sections() -> dict[str, type[BaseModel]]:
    named = settings.ConfigFile.model_fields
    repeated = {n: bool(get_args(f.annotation)) for n, f in named.items()}
    return {f"### `[{n}{'.NAME' * repeated[n]}]`": _model(f.annotation) for n, f in named.items()} | {
        "### Pools": settings.CountedPoolSection,
        "### Add-ons": settings.AddonSection,
    }


def _default(field: Any) -> str:
    if field.default is PydanticUndefined:
        return "required"
    if field.default is None:
        return "none"
    return f"`{json.dumps(field.default)}`"


@pytest.mark.parametrize("heading", _sections())
def test_configuration_keys_and_defaults(heading: str) -> None:
    told = {codes(cells[0])[0]: cells[2] for cells in rows(section(CONTRACTS, heading))}
    fields = _sections()[heading].model_fields
    assert told == {name: _default(field) for name, field in fields.items()}


def test_presets() -> None:
    told = {codes(c[0])[0]: codes(c[1])[0] for c in rows(section(README, "## Configure it"))}
    assert told == {name: preset["gpu"]["instance_type"] for name, preset in EXAMPLE["preset"].items()}


# --- names ----------------------------------------------------------------------------------------------------


def test_faults() -> None:
    told = [codes(c[0])[0] for c in rows(section(CONTRACTS, "## Sandbox")) if not c[0].startswith("`--")]
    assert told == list(FAULTS)
    plain = {name for name in FAULTS if not name.startswith("diag-")}
    assert plain <= set(codes(section(README, "## Try it")))


def test_labels_and_namespaces() -> None:
    told = {codes(c[0])[0] for c in rows(section(CONTRACTS, "## Names")) if c[0].startswith("`")}
    assert told == {spec.LABEL_MANAGED, spec.LABEL_REQUEST, spec.LABEL_CLUSTER, spec.LABEL_POOL, spec.LABEL_TYPE} | {
        spec.LABEL_PERSON
    }
    said = codes(section(CONTRACTS, "## Names"))
    assert {NAMESPACE, VERIFY_NAMESPACE, REPO_NAME, REPO_URL, spec.NAME.pattern} <= set(said)
    assert f"{spec.UNVERIFIED_TAINT}=true:NoSchedule" in said
    assert f"{spec.GPU_TAINT}=present:NoSchedule" in said


def test_slack_names() -> None:
    said = codes(section(CONTRACTS, "## Slack"))
    assert {CALLBACK, *FIELDS, play.OUTCOME, "approve", "deny", "accept", "replace", "ignore", "delete"} <= set(said)


@pytest.mark.parametrize(
    ("page", "heading"),
    [
        ("contracts", "### What Slack is promised, and what tests it"),
        ("verification", "## What is promised, and what tests it"),
    ],
)
def test_what_is_promised_is_tested(page: str, heading: str) -> None:
    told = [one for one in codes(section((ROOT / f"docs/{page}.md").read_text(), heading)) if "::" in one]
    assert len(told) > 30
    for one in told:
        path, _, name = one.partition("::")
        assert f"def {name}(" in Path(path).read_text(), one


def test_play_keys_and_example() -> None:
    text = section(CONTRACTS, "### Play files")
    told = {codes(c[0])[0] for c in rows(text)}
    assert told == {"as" if name == "who" else name for name in play.Step.__dataclass_fields__}
    assert len(play.parse(fenced(text, "toml")[0], "docs").steps) == 3


def test_json_examples_are_json() -> None:
    blocks = fenced(EVERYTHING, "json")
    assert len(blocks) >= 2
    for block in blocks:
        assert json.loads(block)


# --- rights and plans -----------------------------------------------------------------------------------------


def test_rights_table() -> None:
    told: dict[tuple[str, policy.Role], bool] = {}
    roles = (
        policy.Role.OWNER,
        policy.Role.TEAMMATE,
        policy.Role.LEAD,
        policy.Role.SHARED,
        policy.Role.MEMBER,
        policy.Role.OUTSIDER,
    )
    for line in section(SLACK, "## Who may do what").splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 7 and re.match(r"[a-z]", cells[0]):
            for verb in re.sub(r"\(.*\)", "", cells[0]).split(","):
                told |= {(verb.strip(), role): cell == "yes" for role, cell in zip(roles, cells[1:], strict=True)}
    assert told == {(v.value, r): policy.permitted(v, frozenset({r})) for v in policy.Verb for r in policy.Role}


def test_steps_table() -> None:
    told = [
        (codes(c[0])[0], tuple(codes(c[1])), *map(float, c[2:5])) for c in rows(section(ARCHITECTURE, "## The steps"))
    ]
    shared = {"gpu_labels@1", "allocatable@1"}
    scale = [p for p in plan.plan_for(Kind.SCALE) if p.kind not in shared]
    planned = [*plan._CREATE, *plan._DELETE, *scale]
    clocks = {p.kind: plan.clocks(p.kind) for p in planned}
    assert told == [
        (p.kind, p.after, clocks[p.kind].usual_s, clocks[p.kind].stalled_s, clocks[p.kind].give_up_s) for p in planned
    ]


def test_scopes_are_those_of_the_manifest() -> None:
    manifest = yaml.safe_load((ROOT / "manifests" / "slack-app.yaml").read_text())
    told = {codes(cells[0])[0] for cells in rows(section(SLACK, "## Scopes"))}
    assert told == set(manifest["oauth_config"]["scopes"]["bot"])
    assert set(codes(section(SLACK, "## Events"))) == set(manifest["settings"]["event_subscriptions"]["bot_events"])


# --- links ----------------------------------------------------------------------------------------------------


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("http:", "https:")):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in _anchors(there), f"{page.name}: {target}"


def test_picture_is_small_and_described() -> None:
    alt, target = re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", README)[0]
    picture = (ROOT / target).read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) <= 300_000
    assert len(alt) > 40
