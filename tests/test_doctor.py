"""The doctor, beside services that are well, and with one thing wrong at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from backstage import program, services

from bot.core.spec import Image
from bot.doctor import image_checks
from bot.sandbox.stage import Stage
from bot.settings import example_config


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with services(tmp_path_factory.mktemp("services")) as stage:
        yield stage


def test_all_is_well(stage: Stage) -> None:
    ended = program("doctor", env=stage.environment)
    assert ended.returncode == 0, ended.stderr
    checks = [line.split(":")[0].split(None, 1) for line in ended.stderr.splitlines()]
    assert checks == [
        ["ok", "Configuration"],
        ["ok", "Store"],
        ["ok", "Slack bot token"],
        ["ok", "Slack connection"],
        ["ok", "Rancher"],
        ["ok", "Cloud credential of default"],
        ["ok", "Role for people"],
        ["ok", "Rights in Rancher"],
        ["ok", "AWS for default"],
    ]
    assert "2.15.0" in ended.stderr
    assert stage.world.events == []


NOTHING_LISTENS = "http://127.0.0.1:9"

# Variables that are set otherwise, and for each check that then says no: its beginning, and words of the remedy.
WRONG: list[tuple[dict[str, str], dict[str, str]]] = [
    (
        {"GPU_CLUSTER_CONFIG": "nowhere.toml"},
        {"Configuration: nowhere.toml: there is no such file": "Mend it"},
    ),
    (
        {"DATABASE_URL": "mysql://db/bot", "SLACK_BOT_TOKEN": "", "SLACK_APP_TOKEN": "", "RANCHER_URL": ""},
        {
            "Store: DATABASE_URL is none that can be opened": "Mend DATABASE_URL",
            "Slack bot token: SLACK_BOT_TOKEN is not set": "OAuth & Permissions",
            "Slack connection: SLACK_APP_TOKEN is not set": "SLACK_SIGNING_SECRET",
            "Rancher: RANCHER_URL is not set": "Set RANCHER_URL",
        },
    ),
    (
        {"SLACK_BOT_TOKEN": "xoxb-no", "SLACK_APP_TOKEN": "xapp-no", "RANCHER_TOKEN": "token-no:no"},
        {
            "Slack bot token: Slack answered invalid_auth": "Copy the token again",
            "Slack connection: Slack answered invalid_auth": "Copy the token again",
            "Rancher: ": "RANCHER_TOKEN",
        },
    ),
    (
        {"SLACK_API_URL": f"{NOTHING_LISTENS}/api/", "RANCHER_URL": NOTHING_LISTENS},
        {
            "Slack bot token: Slack cannot be reached": "SLACK_API_URL",
            "Slack connection: Slack cannot be reached": "SLACK_API_URL",
            f"Rancher: Rancher at {NOTHING_LISTENS} cannot be reached": "Check RANCHER_URL",
        },
    ),
    (
        {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"},
        {"AWS for default: AWS: Unable to locate credentials": "AWS_ACCESS_KEY_ID"},
    ),
]


@pytest.mark.parametrize(("wrong", "told"), WRONG)
def test_what_is_wrong_is_told_with_its_remedy(stage: Stage, wrong: dict[str, str], told: dict[str, str]) -> None:
    assert_told(stage.environment | wrong, told)


def test_the_file_names_other_things(stage: Stage, tmp_path: Path) -> None:
    text = Path(stage.environment["GPU_CLUSTER_CONFIG"]).read_text()
    for old, new in {'"123456789012"': '"999"', "cc-sandbox": "cc-nobody", '"T0SANDBOX"': '"T0OTHER"'}.items():
        assert old in text
        text = text.replace(old, new)
    other = tmp_path / "gpu-cluster.toml"
    other.write_text(text)
    assert_told(
        stage.environment | {"GPU_CLUSTER_CONFIG": str(other)},
        {
            "Slack bot token: the token belongs to workspace T0SANDBOX": "slack.workspace",
            "Cloud credential of default: cattle-global-data:cc-nobody is not there": "target.default.cloud_credential",
            "AWS for default: the keys belong to account 123456789012": "target.account",
        },
    )


def test_the_example_itself_is_not_well(stage: Stage, tmp_path: Path) -> None:
    """Its placeholders are told, with or without a Rancher; a credential that cannot be looked for yet is listed."""
    example = tmp_path / "gpu-cluster.toml"
    example.write_text(example_config())
    told = {
        "Leads of default: U00000000 is the example's": "team.default.leads",
        "Cloud credential of default: cattle-global-data:cc-xxxxx is the example's": "target.default.cloud_credential",
    }
    env = stage.environment | {"GPU_CLUSTER_CONFIG": str(example)}
    assert_told(env, told)
    assert_told(env | {"RANCHER_URL": ""}, {**told, "Rancher: RANCHER_URL is not set": "Set RANCHER_URL"})
    ended = program("doctor", env=stage.environment | {"RANCHER_URL": ""})
    assert "could not check  Cloud credential of default: cattle-global-data:cc-sandbox can be" in ended.stderr


def test_an_image_that_is_named_by_tag_is_pointed_at() -> None:
    pinned = Image("python@sha256:1", dcgm=f"dcgm:4@sha256:{'0' * 64}", dcgm_level=1)
    assert list(image_checks(pinned)) == []
    (check,) = image_checks(dataclasses.replace(pinned, vector_add="sample:1", dcgm="dcgm:4", dcgm_level=0))
    assert (check.name, check.state) == ("Image of vectorAdd", "ok")
    assert "sample:1 is a tag" in check.detail


def assert_told(env: dict[str, str], told: dict[str, str]) -> None:
    """Exit status 1, and no other check says no; each with how to mend it on the line below."""
    ended = program("doctor", env=env)
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    lines = [line.strip() for line in ended.stderr.splitlines()]
    noes = {line.removeprefix("NO  "): lines[n + 1] for n, line in enumerate(lines) if line.startswith("NO  ")}
    assert len(noes) == len(told), ended.stderr
    for (said, mend), (beginning, remedy) in zip(noes.items(), told.items(), strict=True):
        assert said.startswith(beginning)
        assert mend.startswith("→ ")
        assert remedy in mend
