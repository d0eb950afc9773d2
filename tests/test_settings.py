"""Settings: what is wrong is said with file, line and key, whatever is in the file; secrets are never said."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bot import settings as configuration
from bot.settings import SettingsError, VerifySection, example_config, line_of, load, read_config, secret

GOOD = example_config()
LINES = GOOD.splitlines()


def line_with(start: str) -> int:
    """The line (from 1) of the example that starts so."""
    return next(number for number, line in enumerate(LINES, 1) if line.startswith(start))


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Nothing of the caller's environment, and an empty folder to stand in."""
    for name in list(os.environ):
        if name.upper().startswith(("SLACK_", "RANCHER_", "GPU_CLUSTER_", "DATABASE_", "PORT", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    yield


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gpu-cluster.toml"


def complaints(path: Path, text: str) -> list[str]:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as error:
        read_config(path)
    return error.value.problems


# --- a good file ----------------------------------------------------------------------------------------------


def test_the_example_is_good_and_becomes_a_catalogue(path: Path) -> None:
    path.write_text(GOOD)
    loaded = load()
    assert loaded.config_path.resolve() == path
    assert set(loaded.catalogue.presets) == {"blog", "starter", "l4", "h100"}
    blog = loaded.catalogue.presets["blog"]
    assert [(pool.name, pool.instance_type, pool.count) for pool in blog.pools] == [
        ("cp", "t3.xlarge", 1),
        ("wk", "t3.xlarge", 1),
        ("gpu", "p3.2xlarge", None),
    ]
    assert blog.gpu_pool.root_gib == 100
    assert loaded.catalogue.teams["default"].leads == ("U00000000",)
    assert "@sha256:" in loaded.catalogue.probe_image.reference
    assert loaded.database_url.startswith("sqlite:///")


def test_the_file_is_where_the_variable_says_else_here_else_at_home(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere.toml"
    path.write_text(GOOD)
    elsewhere.write_text(GOOD)
    monkeypatch.setenv("GPU_CLUSTER_CONFIG", str(elsewhere))
    assert load().config_path == elsewhere
    monkeypatch.delenv("GPU_CLUSTER_CONFIG")
    assert load().config_path == Path("gpu-cluster.toml")
    path.unlink()
    with pytest.raises(SettingsError, match="there is no such file") as error:
        load()
    assert str(tmp_path / "home") in str(error.value)


# --- a file that will not do ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "key", "says"),
    [
        ("max_hours = 72", 'max_hours = "many"', "policy.max_hours", "valid integer"),
        ("max_hours = 72", "max_hours = 0", "policy.max_hours", "greater than or equal to 1"),
        ("max_gpus = 64", "max_gpus = 99999", "policy.max_gpus", "less than or equal to 1024"),
        ("max_gpus = 64", "max_gpu = 64", "policy.max_gpu", "this key is not known"),
        ("approvals = 1 ", "approvals = 0 ", "policy.approvals", "greater than or equal to 1"),
        ('leads = ["U00000000"]', 'leads = ["somebody"]', "team.default.leads.0", "match pattern"),
        ('leads = ["U00000000"]', "leads = []", "team.default", "nobody can approve anything"),
        ('targets = ["default"]', "targets = []", "team.default.targets", "at least 1 item"),
        ('targets = ["default"]', 'targets = ["other"]', "team.default.targets", "there is no [target.other]"),
        ("clusters = {}", 'clusters = { lab = "ml" }', "enable.clusters.lab", "there is no [team.ml]"),
        ("clusters = {}", 'clusters = { Lab = "default" }', "enable.clusters.Lab.[key]", "match pattern"),
        ('tokens = "rancher"', 'tokens = "all"', "access.tokens", "Input should be"),
        ("principals = {}", 'principals = { U1 = "me" }', "access.principals.U1", "match pattern"),
        ('# rancher_group = "okta_group://ml"', 'rancher_group = "ml"', "team.default.rancher_group", "match pattern"),
        ("presets = []", 'presets = ["strater"]', "team.default.presets", "there is no [preset.strater]"),
        (
            "cloud_credential =",
            'cloud_credential = "cc-1" #',
            "target.default.cloud_credential",
            "match pattern",
        ),
        (
            'gpu = { instance_type = "p3.2xlarge", root_gib = 100 }',
            'gpu = { instance_type = "p3.2xlarge", root_gib = 1 }',
            "preset.blog.gpu.root_gib",
            "greater than or equal to 8",
        ),
        (
            'gpu = { instance_type = "p3.2xlarge", root_gib = 100 }',
            'gpu = { instancetype = "p3.2xlarge" }',
            "preset.blog.gpu.instancetype",
            "this key is not known",
        ),
    ],
)
def test_a_bad_value_is_named_with_file_line_and_key(path: Path, old: str, new: str, key: str, says: str) -> None:
    number = line_with("[team.default]") if key == "team.default" else line_with(old)
    problems = complaints(path, GOOD.replace(old, new, 1))
    assert any(f"{path}, line {number}, key {key}: " in p and says in p for p in problems), problems


def test_what_is_missing_is_named_with_the_line_of_its_table(path: Path) -> None:
    (problem,) = complaints(path, GOOD.replace('region = "us-east-1"', "", 1))
    assert f"line {line_with('[target.default]')}, key target.default.region: Field required" in problem


def test_everything_that_is_wrong_is_said_at_once(path: Path) -> None:
    problems = complaints(path, GOOD.replace("max_hours = 72", "max_hours = 0").replace("max_gpus = 64", "x = 1"))
    assert len(problems) == 2


@pytest.mark.parametrize(("text", "says"), [("", "key team: Field required"), ("team = 3\n", "line 1, key team")])
def test_a_file_with_next_to_nothing(path: Path, text: str, says: str) -> None:
    assert any(says in problem for problem in complaints(path, text))


def test_tables_without_anything_in_them(path: Path) -> None:
    (problem,) = complaints(path, "[team]\n[target]\n[preset]\n")
    assert "at least one [team.…]" in problem


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[policy]\nmax_hours = \n", "line 2, key max_hours"),
        ("[policy]\nmax_hours = 1\nmax_hours = 2\n", "line 3, key max_hours"),
        ("[policy\n", "line 1"),
        ('a = "unfinished\n', "line 1, key a"),
        ("a = 1\nb = { c = 1\n", ""),
    ],
)
def test_broken_toml_is_named_with_line_and_key(path: Path, text: str, where: str) -> None:
    (problem,) = complaints(path, text)
    assert problem.startswith(f"{path}")
    assert where in problem
    assert "not valid TOML" in problem


def test_a_file_that_is_not_text(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_config(path)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        read_config(tmp_path)


SNIPPETS = st.sampled_from(
    ["[", "]", "=", '"', "'", "\n", "{", "}", "#", "[[team]]", "x = 1", "\x00", "\t", "[policy]"]
)


@st.composite
def broken_files(draw: st.DrawFn) -> str:
    """The example with a piece cut out and something else put there."""
    start = draw(st.integers(0, len(GOOD)))
    end = min(len(GOOD), start + draw(st.integers(0, 80)))
    return GOOD[:start] + draw(SNIPPETS | st.text(max_size=20)) + GOOD[end:]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=broken_files() | st.text(max_size=200))
@example(text="[team.default]\nleads = [[[[")
def test_whatever_the_file_holds_it_is_read_or_complained_about_by_name(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        config = read_config(path)
    except SettingsError as error:
        assert error.problems
        assert all(problem.startswith(str(path)) and problem.endswith(".") for problem in error.problems)
    else:
        assert configuration.catalogue_of(config).presets


@given(st.sampled_from(range(len(LINES))))
def test_a_line_is_found_by_its_key(index: int) -> None:
    line = LINES[index]
    table = [head for head in LINES[: index + 1] if head.startswith("[")]
    if not table or "=" not in line or line.startswith("#"):
        return
    keys = [*table[-1].strip("[]").split("]")[0].split("."), line.partition("=")[0].strip()]
    assert line_of(GOOD, keys) == index + 1
    assert line_of(GOOD, [*keys, "0"]) == index + 1


def test_a_key_that_stands_nowhere_has_the_line_of_its_table_or_none() -> None:
    assert line_of(GOOD, ["policy", "nothing"]) == line_with("[policy]")
    assert line_of(GOOD, ["nothing", "at_all"]) is None
    assert tomllib.loads(GOOD)


# --- the environment ------------------------------------------------------------------------------------------


def test_a_port_that_is_no_number_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(GOOD)
    monkeypatch.setenv("PORT", "http")
    with pytest.raises(SettingsError, match=r"^PORT: .*integer"):
        load()


def test_a_secret_comes_from_its_file_and_is_read_again(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text(GOOD)
    file = tmp_path / "token"
    file.write_text("xoxb-from-file\n")
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-from-variable")
    assert load().environment.slack_bot_token == "xoxb-from-variable"
    monkeypatch.setenv("SLACK_BOT_TOKEN_FILE", str(file))
    assert load().environment.slack_bot_token == secret("SLACK_BOT_TOKEN") == "xoxb-from-file"
    file.write_text("xoxb-rotated")
    assert secret("SLACK_BOT_TOKEN") == "xoxb-rotated"
    assert secret("RANCHER_TOKEN") == ""


@pytest.mark.parametrize(
    ("content", "why"), [(None, "No such file"), (b"\xff\xfe", "it is not text")], ids=["missing", "binary"]
)
def test_a_secret_file_that_cannot_be_read_is_named_without_what_is_in_it(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, why: str
) -> None:
    path.write_text(GOOD)
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("RANCHER_TOKEN_FILE", str(file))
    with pytest.raises(SettingsError, match=why) as error:
        load()
    assert error.value.problems[0].startswith(f"RANCHER_TOKEN_FILE: {file} cannot be read")


def test_ranchers_address_has_no_slash_at_its_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(GOOD)
    monkeypatch.setenv("RANCHER_URL", "https://rancher.test//")
    assert load().environment.rancher_url == "https://rancher.test"


def test_no_secret_is_said_when_something_else_is_wrong(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(GOOD)
    monkeypatch.setenv("RANCHER_TOKEN", "token-abcde:very-secret")
    monkeypatch.setenv("PORT", "http")
    with pytest.raises(SettingsError) as error:
        load()
    assert "very-secret" not in str(error.value)


@pytest.mark.parametrize("key", ["capacity_reservation", "capacity_block", "placement_group", "efa"])
def test_what_ranchers_driver_cannot_do_is_said(path: Path, key: str) -> None:
    path.write_text(GOOD.replace("gpu = { ", f'gpu = {{ {key} = "yes", ', 1))
    with pytest.raises(SettingsError, match=f"{key} is impossible: Rancher's EC2 driver has no option"):
        read_config(path)


def test_money_and_alternatives_reach_the_catalogue(path: Path) -> None:
    text = GOOD.replace("[team.default]", "[team.default]\nbudget_per_month = 5000", 1)
    text = text.replace("[policy]", "[policy]\nno_approval_below = 50\ntwo_approvals_above = 2000", 1)
    text = text.replace(
        'gpu = { instance_type = "g4dn.xlarge"', 'gpu = { instance_type = "g4dn.xlarge", alternatives = ["g5.xlarge"]'
    )
    path.write_text(text.replace("regions = []", 'regions = ["us-west-2"]', 1))
    catalogue = configuration.catalogue_of(read_config(path))
    assert catalogue.teams["default"].budget_per_month == 5000
    assert (catalogue.policy.no_approval_below, catalogue.policy.two_approvals_above) == (50, 2000)
    assert catalogue.targets["default"].regions == ("us-west-2",)
    assert catalogue.presets["starter"].gpu_pool.alternatives == ("g5.xlarge",)


def test_what_is_run_beside_the_probe_is_off_unless_asked_for_and_comes_through_the_mirror() -> None:
    plain = VerifySection().probe_image()
    assert (plain.vector_add, plain.dcgm_level) == ("", 0)
    asked = VerifySection(registry="mirror.example/gpu", vector_add=True, dcgm=3).probe_image()
    assert asked.vector_add == "mirror.example/gpu/nvidia/k8s/cuda-sample:vectoradd-cuda12.5.0-ubuntu22.04"
    assert re.fullmatch(r"mirror\.example/gpu/nvidia/cloud-native/dcgm:4\.6\.0-1-ubi10@sha256:[0-9a-f]{64}", asked.dcgm)
    assert asked.dcgm_level == 3


@pytest.mark.parametrize("wrong", [{"dcgm": 4}, {"dcgm": -1}, {"vector_add_image": "two words"}, {"dcgm_image": ""}])
def test_what_cannot_be_run_beside_the_probe_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        VerifySection(**wrong)  # type: ignore[arg-type]
