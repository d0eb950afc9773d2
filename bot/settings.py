"""The environment and gpu-cluster.toml, checked at start. Every complaint names the variable, or the line and key."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from bot.core.impossible import IMPOSSIBLE
from bot.core.ports import Temporary
from bot.core.spec import Catalogue, Image, Policy, PoolSpec, Preset, Target, Team

_SECRETS = ("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET", "RANCHER_TOKEN")
_USER = Annotated[str, StringConstraints(pattern=r"^[UW][A-Z0-9]+$")]
_GROUP = Annotated[str, StringConstraints(pattern=r"^(S[A-Z0-9]+)?$")]
_CHANNEL = Annotated[str, StringConstraints(pattern=r"^(C[A-Z0-9]+|G[A-Z0-9]+)?$")]


class SettingsError(Exception):
    """Something in the settings will not do; `problems` has one line for each, with how to mend it."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Environment(BaseSettings):
    """The variables of docs/contracts.md. Every secret also as NAME_FILE, which is read instead."""

    model_config = SettingsConfigDict(extra="ignore", case_sensitive=False)

    slack_bot_token: str = Field(default="", repr=False)
    slack_app_token: str = Field(default="", repr=False)
    slack_signing_secret: str = Field(default="", repr=False)
    slack_api_url: str = "https://slack.com/api/"
    port: int = 3000
    rancher_url: str = ""
    rancher_token: str = Field(default="", repr=False)
    rancher_ca_bundle: str = ""
    database_url: str = ""
    gpu_cluster_config: str = ""
    gpu_cluster_clock: str = ""

    @field_validator("rancher_url")
    @classmethod
    def _no_trailing_slash(cls, value: str) -> str:
        return value.rstrip("/")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SlackSection(_Strict):
    """`workspace` is a team id (T…); empty channels mean everywhere the bot is invited."""

    workspace: str = ""
    channel: _CHANNEL = ""
    approvals_channel: _CHANNEL = ""


class TeamSection(_Strict):
    leads: list[_USER] = []
    lead_group: _GROUP = ""
    members: list[_USER] = []
    channels: list[_CHANNEL] = []
    presets: list[str] = []
    targets: Annotated[list[str], Field(min_length=1)] = ["default"]
    budget_per_month: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _somebody_approves(self) -> TeamSection:
        if not self.leads and not self.lead_group:
            raise ValueError("a team needs `leads` or `lead_group`, or nobody can approve anything")
        return self


class TargetSection(_Strict):
    cloud_credential: Annotated[str, StringConstraints(pattern=r"^cattle-global-data:.+$")]
    region: str
    vpc: str = ""
    subnets: list[str] = []
    security_group: str = ""
    ami: str = ""
    account: str = ""
    ssh_user: str = "ubuntu"
    regions: list[str] = []


class PoolSection(_Strict):
    instance_type: str
    root_gib: Annotated[int, Field(ge=8, le=16384)] = 60

    @model_validator(mode="before")
    @classmethod
    def _possible(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and (asked := next((key for key in raw if key in IMPOSSIBLE), None)) is not None:
            raise ValueError(f"{asked} is impossible: {IMPOSSIBLE[asked]}")
        return raw


class CountedPoolSection(PoolSection):
    count: Annotated[int, Field(ge=1, le=100)] = 1


class GpuPoolSection(PoolSection):
    """`alternatives`: types that may stand in, in this order, where the first has no capacity."""

    alternatives: list[str] = []


class PresetSection(_Strict):
    """`gpu` is the pool whose size the order decides; the other two have a `count`."""

    description: str = ""
    control_plane: CountedPoolSection
    workers: CountedPoolSection
    gpu: GpuPoolSection
    kubernetes: str = ""
    operator: Annotated[str, StringConstraints(pattern=r"^v\d+\.\d+\.\d+$")] = "v26.7.0"
    driver: str = ""
    ami: str = ""
    max_hours: Annotated[int, Field(ge=0)] = 0
    together: bool = False


class PolicySection(_Strict):
    max_hours: Annotated[int, Field(ge=1, le=24 * 365)] = 72
    max_gpus: Annotated[int, Field(ge=1, le=1024)] = 64
    approvals: Annotated[int, Field(ge=1, le=2)] = 1
    approval_hours: Annotated[int, Field(ge=1, le=24 * 14)] = 24
    no_approval_below: Annotated[float, Field(ge=0)] = 0.0
    two_approvals_above: Annotated[float, Field(ge=0)] | None = None
    tries_per_place: Annotated[int, Field(ge=1, le=20)] = 3
    place_minutes: Annotated[int, Field(ge=2, le=120)] = 15
    max_wait_hours: Annotated[int, Field(ge=0, le=24 * 7)] = 48


class VerifySection(_Strict):
    """The probe's image: any small glibc Python ≥ 3.8, by digest, so that it is the same one every time.

    `registry` takes the place of the image's own registry (a mirror); `pull_secrets` name secrets of namespace
    gpu-cluster-verify; `level` is how long the probe looks.
    """

    image: Annotated[str, StringConstraints(pattern=r"^\S+@sha256:[0-9a-f]{64}$")] = (
        "docker.io/library/python:3.12-slim@sha256:78387bc3881b8273120a12ebe6c1ab22b018ccc2c9adf565ae1ac9b536e184ea"
    )
    registry: Annotated[str, StringConstraints(pattern=r"^([^\s/]+(/[^\s/]+)*)?$")] = ""
    pull_secrets: list[str] = []
    level: Literal["quick", "standard", "burn"] = "standard"

    def probe_image(self) -> Image:
        """The image as it is pulled."""
        reference = f"{self.registry}/{self.image.partition('/')[2] or self.image}" if self.registry else self.image
        return Image(reference, tuple(self.pull_secrets), self.level)


class AccessSection(_Strict):
    """Slack user id → Rancher principal (such as local://u-abcde), for the role binding of the requester."""

    principals: dict[_USER, str] = {}


class ConfigFile(_Strict):
    slack: SlackSection = SlackSection()
    team: dict[str, TeamSection]
    target: dict[str, TargetSection]
    preset: dict[str, PresetSection]
    policy: PolicySection = PolicySection()
    verify: VerifySection = VerifySection()
    access: AccessSection = AccessSection()

    @model_validator(mode="after")
    def _something_to_choose(self) -> ConfigFile:
        if not (self.team and self.target and self.preset):
            raise ValueError("at least one [team.…], one [target.…] and one [preset.…] are needed")
        return self

    def dangling(self) -> list[tuple[tuple[str, ...], str]]:
        """Names that stand for nothing: the key where each stands, and what is wrong with it."""
        return [
            (("team", name, key), f"there is no [{section}.{wanted}]")
            for name, team in self.team.items()
            for key, section, wanted_names, known in (
                ("targets", "target", team.targets, self.target.keys()),
                ("presets", "preset", team.presets, self.preset.keys()),
            )
            for wanted in wanted_names
            if wanted not in known
        ]


@dataclass(frozen=True)
class Settings:
    """All settings, checked. `config_path` is where gpu-cluster.toml was read."""

    environment: Environment
    config: ConfigFile
    config_path: Path
    catalogue: Catalogue
    database_url: str


def load() -> Settings:
    """Read everything; raises `SettingsError` with every problem that can be told at once."""
    environment = _environment()
    path = config_path(environment)
    config = read_config(path)
    return Settings(environment, config, path, catalogue_of(config), environment.database_url or default_database())


def config_path(environment: Environment) -> Path:
    """GPU_CLUSTER_CONFIG, else ./gpu-cluster.toml, else the user's configuration folder."""
    if environment.gpu_cluster_config:
        return Path(environment.gpu_cluster_config)
    here = Path("gpu-cluster.toml")
    return here if here.exists() else Path(platformdirs.user_config_dir("gpu-cluster")) / "gpu-cluster.toml"


def default_database() -> str:
    """The SQLite file in the user's state folder."""
    return f"sqlite:///{Path(platformdirs.user_state_dir('gpu-cluster')) / 'gpu-cluster.db'}"


def example_config() -> str:
    """The example gpu-cluster.toml that travels with the program."""
    return (resources.files("manifests") / "gpu-cluster.example.toml").read_text()


def secret(name: str) -> str:
    """A secret as it is now: NAME_FILE is read again each time, so that a rotated file counts.

    Raises `Temporary` when the file cannot be read.
    """
    file = os.environ.get(f"{name}_FILE")
    try:
        return Path(file).read_text().strip() if file else os.environ.get(name, "")
    except (OSError, UnicodeDecodeError) as error:
        raise Temporary(f"{name}_FILE: {file} cannot be read ({error}).", "See that the file is there.") from None


def _environment() -> Environment:
    """From the environment; a secret's file wins over its variable."""
    problems: list[str] = []
    from_files: dict[str, Any] = {}
    for name in _SECRETS:
        file = os.environ.get(f"{name}_FILE")
        if file:
            try:
                from_files[name.lower()] = Path(file).read_text().strip()
            except (OSError, ValueError) as error:
                why = error.strerror if isinstance(error, OSError) else "it is not text"
                problems.append(f"{name}_FILE: {file} cannot be read ({why}).")
    try:
        environment = Environment(**from_files)
    except ValidationError as error:
        problems += [f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}." for e in error.errors()]
        raise SettingsError(problems) from None
    if problems:
        raise SettingsError(problems)
    return environment


def read_config(path: Path) -> ConfigFile:
    """gpu-cluster.toml; raises `SettingsError` that names file, line and key."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(
            [f"{path}: there is no such file. Make one: gpu-cluster example-config > gpu-cluster.toml"]
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"{path}: it cannot be read ({error})."]) from None
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([f"{path}{_key_there(text, str(error))}: it is not valid TOML: {error}."]) from None
    try:
        config = ConfigFile.model_validate(raw)
    except ValidationError as error:
        raise SettingsError([_complaint(path, text, e["loc"], e["msg"]) for e in error.errors()]) from None
    if dangling := config.dangling():
        raise SettingsError([_complaint(path, text, where, message) for where, message in dangling])
    return config


def _key_there(text: str, message: str) -> str:
    """The line that TOML's complaint is about, and the key that stands on it."""
    if (found := re.search(r"at line (\d+)", message)) is None:
        return ""
    lines = text.splitlines()
    number = int(found[1])
    key = re.match(r"\s*([\w.\"'-]+)\s*=", lines[number - 1]) if number <= len(lines) else None
    return f", line {number}" + (f", key {key[1]}" if key else "")


def _complaint(path: Path, text: str, where: tuple[int | str, ...], message: str) -> str:
    key = ".".join(str(part) for part in where)
    line = line_of(text, [str(part) for part in where])
    message = message.removeprefix("Value error, ").replace("Extra inputs are not permitted", "this key is not known")
    return f"{path}{f', line {line}' if line else ''}{f', key {key}' if key else ''}: {message}."


def line_of(text: str, keys: list[str]) -> int | None:
    """The line (from 1) on which that key, or the nearest table above it, stands; None when neither is found."""
    best, table = None, []
    for number, line in enumerate(text.splitlines(), 1):
        if (header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line)) is not None:
            table = [part.strip().strip("\"'") for part in header[1].split(".")]
            if table == keys[: len(table)]:
                best = number
        elif (assigned := re.match(r"\s*([\w.\"'-]+)\s*=", line)) is not None:
            full = table + [part.strip("\"'") for part in assigned[1].split(".")]
            if full == keys[: len(full)]:
                return number
    return best


def catalogue_of(config: ConfigFile) -> Catalogue:
    """The configuration as the core knows it."""
    return Catalogue(
        teams={n: Team(n, **{k: _frozen(v) for k, v in t.model_dump().items()}) for n, t in config.team.items()},
        targets={n: Target(n, **{k: _frozen(v) for k, v in t.model_dump().items()}) for n, t in config.target.items()},
        presets={name: _preset(name, preset) for name, preset in config.preset.items()},
        policy=Policy(**config.policy.model_dump()),
        probe_image=config.verify.probe_image(),
    )


def _preset(name: str, section: PresetSection) -> Preset:
    control, workers, gpu = section.control_plane, section.workers, section.gpu
    pools = (
        PoolSpec("cp", control.instance_type, control.count, control_plane=True, root_gib=control.root_gib),
        PoolSpec("wk", workers.instance_type, workers.count, worker=True, root_gib=workers.root_gib),
        PoolSpec(
            "gpu",
            gpu.instance_type,
            None,
            worker=True,
            gpu=True,
            root_gib=gpu.root_gib,
            alternatives=tuple(gpu.alternatives),
        ),
    )
    return Preset(
        name,
        section.description,
        pools,
        section.kubernetes,
        section.operator,
        section.driver,
        section.ami,
        section.max_hours,
        section.together,
    )


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
