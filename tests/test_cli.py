"""The command line: whatever is wrong gets a clear line and exit status 2, never a stack trace."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from backstage import NEEDED, complaint, program, services

from bot.cli import main
from bot.sandbox.stage import Stage
from bot.store import SqliteStore
from tests.core.stage import Stage as CoreStage


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with services(tmp_path_factory.mktemp("services")) as stage:
        yield stage


def last_words(*arguments: str, env: dict[str, str]) -> str:
    """What the program says when it cannot go on; it must end with status 2 and no trace."""
    ended = program(*arguments, env=env)
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr


# --- settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN"), ("SLACK_BOT_TOKEN is not set", "SLACK_APP_TOKEN is not set")),
        (("RANCHER_TOKEN",), ("RANCHER_URL and RANCHER_TOKEN must be set",)),
    ],
)
def test_a_missing_setting_is_named(stage: Stage, missing: tuple[str, ...], said: tuple[str, ...]) -> None:
    env = {name: value for name, value in stage.environment.items() if name not in missing}
    heard = last_words("run", env=env)
    assert all(words in heard for words in said)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"SLACK_BOT_TOKEN": "xoxb-wrong"}, "Slack refuses SLACK_BOT_TOKEN (invalid_auth)"),
        ({"SLACK_APP_TOKEN": "xapp-wrong"}, "Slack refuses SLACK_APP_TOKEN (invalid_auth)"),
        ({"SLACK_API_URL": "http://127.0.0.1:9/api/"}, "Slack does not answer"),
        ({"RANCHER_TOKEN": "token-wrong:wrong"}, "RANCHER_TOKEN"),
        ({"RANCHER_URL": "rancher", "GPU_CLUSTER_CLOCK": ""}, "RANCHER_URL must be an http(s) address"),
    ],
)
def test_what_others_refuse_is_named(stage: Stage, wrong: dict[str, str], said: str) -> None:
    assert said in last_words("run", env=stage.environment | wrong)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"RANCHER_URL": "https://203.0.113.9"}, "GPU_CLUSTER_CLOCK is for the sandbox"),
        ({"GPU_CLUSTER_CLOCK": "nowhere.json"}, "GPU_CLUSTER_CLOCK: nowhere.json cannot be read"),
        ({"DATABASE_URL": "postgresql://bot:hidden@db/bot"}, "DATABASE_URL: postgresql:// is not in this version"),
        ({"GPU_CLUSTER_CONFIG": "nowhere.toml"}, "nowhere.toml: there is no such file"),
        ({"PORT": "eighty"}, "PORT: "),
    ],
)
def test_a_wrong_setting_is_named(stage: Stage, wrong: dict[str, str], said: str) -> None:
    heard = complaint("worker", env=stage.environment | wrong)
    assert said in heard
    assert "hidden" not in heard


def test_a_port_in_use_is_named(stage: Stage) -> None:
    with socket.create_server(("", 0)) as taken:
        port = str(taken.getsockname()[1])
        env = stage.environment | {"SLACK_SIGNING_SECRET": "s", "PORT": port}
        assert f"PORT {port} cannot be listened on" in last_words("run", env=env)
        heard = last_words("sandbox", "--headless", "--port", port, env={})
    assert "The sandbox cannot start" in heard
    assert port in heard


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('region = "us-east-1"', "region = ", r"line 10"),
        ('region = "us-east-1"', "region = 1", r"line 10, key target\.default\.region"),
        (
            'region = "us-east-1"',
            'region = "us-east-1"\nzone = "a"',
            r"line 11, key target\.default\.zone: .*not known",
        ),
        ('lead_group = "S0LEADS"', "", r"key team\.default: .*nobody can approve"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_line_and_key(
    stage: Stage, tmp_path: Path, old: str, new: str, said: str
) -> None:
    good = Path(stage.environment["GPU_CLUSTER_CONFIG"]).read_text()
    assert old in good
    bad = tmp_path / "gpu-cluster.toml"
    bad.write_text(good.replace(old, new))
    heard = complaint("worker", env=stage.environment | {"GPU_CLUSTER_CONFIG": str(bad)})
    assert re.search(said, heard), heard


# --- the sandbox ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--fault", "nocapacity"), "unknown fault nocapacity; did you mean no-capacity?"),
        (("--fault", "xyz"), "There are: no-capacity, no-capacity-first-zone, "),
        (("--fault", "xyz"), "and diag-01 to diag-28."),
        (("--preset", "nosuch"), "there are: blog, starter, l4, h100"),
        (("--rancher", "1.6"), "plays Rancher 2.11, 2.13, 2.15, not 1.6"),
        (("--play", "nowhere.toml"), "--play nowhere.toml: it cannot be read (No such file or directory)"),
        (("--speed", "0"), "--speed"),
    ],
)
def test_what_the_sandbox_does_not_know_is_named(arguments: tuple[str, ...], said: str) -> None:
    assert said in " ".join(complaint("sandbox", "--headless", *arguments).split()), "however it is wrapped"


def test_a_play_that_is_none_is_named(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text('[[step]]\nas = "king"\nsay = "hear, hear"\n')
    assert "step 1 is played by “king”" in complaint("sandbox", "--headless", "--play", str(bad))


def test_json_belongs_to_headless() -> None:
    assert "--headless" in complaint("sandbox", "--json")


# --- create -----------------------------------------------------------------------------------------------------


def test_an_order_that_cannot_be_is_told_whole(stage: Stage) -> None:
    order = ("create", "--dry-run", "Train_1", "--preset", "nosuch", "--gpus", "0", "--hours", "1000")
    heard = complaint(*order, env=stage.environment)
    assert [line.partition(":")[0] for line in heard.splitlines()] == ["name", "preset", "gpus", "hours"]


def test_create_without_dry_run_points_to_slack(stage: Stage) -> None:
    heard = complaint("create", "train", "--preset", "starter", env=stage.environment)
    assert "/gpu-cluster create train --preset starter --gpus 1 --hours 8" in heard


def test_a_rancher_out_of_reach_is_said_check_by_check(stage: Stage) -> None:
    env = stage.environment | {"RANCHER_URL": "http://127.0.0.1:9"}
    heard = last_words("create", "--dry-run", "train", "--preset", "starter", env=env)
    assert "could not check  cloud credential: Rancher at http://127.0.0.1:9 cannot be reached" in heard
    assert "Nothing would be made" in heard


def test_dry_run_prints_the_envelope_and_leaves_no_trace(stage: Stage, tmp_path: Path) -> None:
    env = stage.environment | {"DATABASE_URL": f"sqlite:///{tmp_path}/gpu-cluster.db"}
    ended = program("create", "--dry-run", "train", "--preset", "starter", env=env)
    assert ended.returncode == 0, ended.stderr
    envelope = json.loads(ended.stdout)
    assert re.fullmatch(r"[0-9a-f]{64}", envelope["hash"])
    assert [pool["instance_type"] for pool in envelope["pools"]] == ["t3.large", "t3.large", "g4dn.xlarge"]
    assert "NO" not in ended.stderr
    assert stage.world.events == []
    assert list(tmp_path.iterdir()) == []


# --- reports ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("orphans",), "Nothing is left in us-east-1."),
        (("cost",), "Nothing has been spent on clusters: there have been none yet."),
        (("cost", "train-a"), "Nothing has been spent on a cluster “train-a”."),
        (("forgotten",), "There is no cluster whose GPUs nobody has asked for in 3 days."),
    ],
)
def test_reports_of_a_bot_that_has_done_nothing(stage: Stage, tmp_path: Path, line: tuple[str, ...], said: str) -> None:
    ended = program(*line, env=stage.environment | {"DATABASE_URL": f"sqlite:///{tmp_path}/gpu-cluster.db"})
    assert ended.returncode == 0, ended.stderr
    assert said in ended.stdout


def test_what_clusters_cost_is_a_table(stage: Stage, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "bot.db")
    core = CoreStage(store)
    core.finish(core.running())
    ended = program("cost", env=stage.environment | {"DATABASE_URL": f"sqlite:///{tmp_path}/bot.db"})
    assert "on GPUs nobody could use" in ended.stdout and "train-a" in ended.stdout and "UREQUESTER" in ended.stdout


def test_a_cluster_that_is_not_there_cannot_be_exported(stage: Stage, tmp_path: Path) -> None:
    env = stage.environment | {"DATABASE_URL": f"sqlite:///{tmp_path / 'bot.db'}"}
    assert "train-a: there is no such cluster" in complaint("export", "train-a", env=env)


def test_only_orphans_are_ended(stage: Stage, tmp_path: Path) -> None:
    env = stage.environment | {"DATABASE_URL": f"sqlite:///{tmp_path}/gpu-cluster.db"}
    heard = last_words("orphans", "--terminate", "i-0123456789abcdef0", "--yes", env=env)
    assert "nothing of a cluster that is gone. Nothing was ended." in heard


# --- help -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_has_an_example(name: str) -> None:
    command = main.commands[name]
    with click.Context(command, info_name=name) as context:
        text = command.get_help(context)
    assert "Example" in text
    assert f"gpu-cluster {name}" in text


def test_example_config_is_one_that_loads(tmp_path: Path, stage: Stage) -> None:
    ended = program("example-config", env={})
    written = tmp_path / "gpu-cluster.toml"
    written.write_text(ended.stdout)
    heard = program("doctor", env={"GPU_CLUSTER_CONFIG": str(written), "DATABASE_URL": f"sqlite:///{tmp_path}/x.db"})
    assert f"ok  Configuration: {written}" in heard.stderr


@pytest.mark.slow
def test_a_play_whose_request_ends_before_the_click_says_so_and_shows_no_log() -> None:
    ended = program("sandbox", "--headless", "--preset", "blog", "--without-p3", env={})
    assert ended.returncode == 1
    assert "no longer lists p3.2xlarge" in ended.stdout
    assert "a lead approves: the request had ended before" in ended.stderr
    assert "The end of the bot's log" not in ended.stderr


@pytest.mark.slow
def test_sigterm_leaves_nothing_behind(tmp_path: Path) -> None:
    """A service manager, or `kill`, ends it as Ctrl-C does: no folder, no process."""
    kept = {name: os.environ[name] for name in NEEDED if name in os.environ}
    with subprocess.Popen(
        [sys.executable, "-m", "bot.cli", "sandbox"],
        env=kept | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as sandbox:
        assert sandbox.stdout is not None
        try:
            assert any("The sandbox is open" in line for line in sandbox.stdout)
            assert [path.name.startswith("gpu-cluster-sandbox-") for path in tmp_path.iterdir()] == [True]
            sandbox.terminate()
            assert sandbox.wait(30) == 0
        finally:
            sandbox.kill()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.killpg(sandbox.pid, 0)
