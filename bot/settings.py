"""The environment and gpu-cluster.toml, checked at start. Every complaint names the variable, or the line and key."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from bot.core.base import BadBase, kubernetes_of, read_base
from bot.core.ports import Temporary
from bot.core.spec import (
    NAME,
    AccessPolicy,
    Catalogue,
    EnablePolicy,
    Image,
    Policy,
    PoolSpec,
    Preset,
    Target,
    Team,
    distribution_of,
)
from bot.core.wiring import DIRECT, Network
from bot.sections import AddonSection as AddonSection
from bot.sections import CountedPoolSection as CountedPoolSection
from bot.sections import GpuPoolSection, NetworkSection

_SECRETS = ("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET", "RANCHER_TOKEN")
_IMAGE = Annotated[str, StringConstraints(pattern=r"^[^\s@]+(:[\w.-]+)?(@sha256:[0-9a-f]{64})?$")]
_USER = Annotated[str, StringConstraints(pattern=r"^[UW][A-Z0-9]+$")]
_PRINCIPAL = Annotated[str, StringConstraints(pattern=r"^\w+://\S+$")]
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
    rancher_group: Annotated[str, StringConstraints(pattern=r"^(\w+_(group|org|team)://\S+)?$")] = ""

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
    ami_arm64: str = ""
    kms_key: Annotated[str, StringConstraints(pattern=r"^(arn:aws[\w-]*:kms:\S+)?$")] = ""
    private: bool = False
    instance_profile: Annotated[str, StringConstraints(pattern=r"^[\w+=,.@-]*$")] = ""


_POOL_NAME = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]{0,7}$")]


class PresetSection(_Strict):
    """`gpu` is the pool whose size the order decides; the others have a `count`."""

    description: str = ""
    control_plane: CountedPoolSection
    workers: CountedPoolSection
    gpu: GpuPoolSection
    kubernetes: str = ""
    operator: Annotated[str, StringConstraints(pattern=r"^v\d+\.\d+\.\d+$")] = "v26.7.0"
    driver: str = ""
    ami: str = ""
    max_hours: Annotated[int, Field(ge=0)] = 0
    ami_arm64: str = ""
    distribution: Literal["rke2", "k3s"] = "rke2"
    gpu_fixed: dict[_POOL_NAME, CountedPoolSection] = {}
    operator_by: Literal["catalog", "manifest"] = "catalog"
    base: str = ""
    addons: list[AddonSection] = []

    @model_validator(mode="before")
    @classmethod
    def _distribution_by_version(cls, raw: Any) -> Any:
        """The version decides, as in Rancher; a distribution beside it must be the same."""
        version = raw.get("kubernetes") if isinstance(raw, dict) else None
        if not isinstance(version, str) or not version:
            return raw
        found = distribution_of(version)
        if raw.get("distribution", found) != found:
            raise ValueError(f"kubernetes = {version} is {found}, distribution says {raw['distribution']}")
        return {**raw, "distribution": found}

    @model_validator(mode="after")
    def _can_live(self) -> PresetSection:
        if self.control_plane.count not in (1, 3):
            raise ValueError("control_plane.count must be 1 or 3: etcd needs an odd number, and more only cost")
        if self.control_plane.spot:
            raise ValueError("control_plane.spot: with its control plane taken back, the cluster is lost")
        if self.workers.taints:
            raise ValueError("workers.taints: cluster agent and DNS need one pool of workers that lets everything in")
        if (taken := next((name for name in self.gpu_fixed if name in ("cp", "wk", "gpu")), None)) is not None:
            raise ValueError(f"gpu_fixed.{taken}: that name is the bot's own; choose another")
        if len({addon.name for addon in self.addons}) < len(self.addons):
            raise ValueError("addons: two of them have the same name")
        return self

    together: bool = False


class PolicySection(_Strict):
    max_hours: Annotated[int, Field(ge=1, le=24 * 365)] = 72
    max_gpus: Annotated[int, Field(ge=1, le=1024)] = 64
    approvals: Annotated[int, Field(ge=1, le=2)] = 1
    approval_hours: Annotated[int, Field(ge=1, le=24 * 14)] = 24
    no_approval_below: Annotated[float, Field(ge=0)] = 0.0
    two_approvals_above: Annotated[float, Field(ge=0)] | None = None
    catalog_everywhere: bool = False
    verify_every_hours: Annotated[int, Field(ge=0, le=24 * 30)] = 24
    extend_free_hours: Annotated[int, Field(ge=0, le=24 * 365)] = 0
    failed_hours: Annotated[int, Field(ge=0, le=24 * 365)] = 24
    keep_hours: Annotated[int, Field(ge=1, le=24 * 365)] = 168
    tries_per_place: Annotated[int, Field(ge=1, le=20)] = 3
    place_minutes: Annotated[int, Field(ge=2, le=120)] = 15
    max_wait_hours: Annotated[int, Field(ge=0, le=24 * 7)] = 48


class VerifySection(_Strict):
    """The probe's image: any small glibc Python ≥ 3.8, by digest, so that it is the same one every time.

    `registry` takes the place of the image's own registry (a mirror); `pull_secrets` name secrets of namespace
    gpu-cluster-verify; `level` is how long the probe looks. `vector_add` also runs NVIDIA's sample, `dcgm` DCGM's
    diagnostics at that run level (0: not); the doctor says which of their images is not named by digest.
    """

    image: Annotated[str, StringConstraints(pattern=r"^\S+@sha256:[0-9a-f]{64}$")] = (
        "docker.io/library/python:3.12-slim@sha256:78387bc3881b8273120a12ebe6c1ab22b018ccc2c9adf565ae1ac9b536e184ea"
    )
    registry: Annotated[str, StringConstraints(pattern=r"^([^\s/]+(/[^\s/]+)*)?$")] = ""
    pull_secrets: list[str] = []
    level: Literal["quick", "standard", "burn"] = "standard"
    architectures: Annotated[list[Literal["amd64", "arm64"]], Field(min_length=1)] = ["amd64", "arm64"]
    vector_add: bool = False
    vector_add_image: _IMAGE = "nvcr.io/nvidia/k8s/cuda-sample:vectoradd-cuda12.5.0-ubuntu22.04"
    dcgm: Annotated[int, Field(ge=0, le=3)] = 0
    # NVIDIA/gpu-operator v26.7.0: bundle/manifests/gpu-operator-certified.clusterserviceversion.yaml, dcgm-image.
    dcgm_image: _IMAGE = (
        "nvcr.io/nvidia/cloud-native/dcgm:4.6.0-1-ubi10"
        "@sha256:92080d86d04c265f7fc0b8e1cd95dff94d3ab57de6a6474c3c483e4c2ada5dea"
    )

    def probe_image(self, network: Network = DIRECT) -> Image:
        """The images as they are pulled: from `registry`, else from the network's mirror of their own."""
        return Image(
            self._pulled(self.image, network),
            tuple(dict.fromkeys((*self.pull_secrets, *network.pull_secrets))),
            self.level,
            tuple(self.architectures),
            vector_add=self._pulled(self.vector_add_image, network) if self.vector_add else "",
            dcgm=self._pulled(self.dcgm_image, network),
            dcgm_level=self.dcgm,
        )

    def _pulled(self, image: str, network: Network) -> str:
        return f"{self.registry}/{image.partition('/')[2] or image}" if self.registry else network.mirrored(image)


class AccessSection(_Strict):
    """Slack user id → Rancher principal (such as local://u-abcde), for role bindings.

    Others get a token of a service account inside of their cluster: `tokens` says by which way in, for `token_hours`.
    """

    principals: dict[_USER, _PRINCIPAL] = {}
    tokens: Literal["rancher", "cluster", "off"] = "rancher"
    token_hours: Annotated[int, Field(ge=1, le=24)] = 8


class EnableSection(_Strict):
    """Clusters of Rancher that were there before us: name → the team whose leads decide."""

    clusters: dict[Annotated[str, StringConstraints(pattern=f"^{NAME.pattern}$")], str] = {}
    operator: Annotated[str, StringConstraints(pattern=r"^v\d+\.\d+\.\d+$")] = "v26.7.0"


class ConfigFile(_Strict):
    slack: SlackSection = SlackSection()
    team: dict[str, TeamSection]
    target: dict[str, TargetSection]
    preset: dict[str, PresetSection]
    policy: PolicySection = PolicySection()
    network: NetworkSection = NetworkSection()
    verify: VerifySection = VerifySection()
    access: AccessSection = AccessSection()
    enable: EnableSection = EnableSection()

    @model_validator(mode="after")
    def _something_to_choose(self) -> ConfigFile:
        if not (self.team and self.target and self.preset):
            raise ValueError("at least one [team.…], one [target.…] and one [preset.…] are needed")
        return self

    def dangling(self) -> list[tuple[tuple[str, ...], str]]:
        """Names that stand for nothing: the key where each stands, and what is wrong with it."""
        found: list[tuple[tuple[str, ...], str]] = [
            (("team", name, key), f"there is no [{section}.{wanted}]")
            for name, team in self.team.items()
            for key, section, wanted_names, known in (
                ("targets", "target", team.targets, self.target.keys()),
                ("presets", "preset", team.presets, self.preset.keys()),
            )
            for wanted in wanted_names
            if wanted not in known
        ]
        owners = self.enable.clusters.items()
        return found + [
            (("enable", "clusters", name), f"there is no [team.{team}]")
            for name, team in owners
            if team not in self.team
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
    catalogue = catalogue_of(config, path.parent)
    return Settings(environment, config, path, catalogue, environment.database_url or default_database())


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


def how_to_mend(name: str) -> str:
    """How the bot gets another secret of that name, as the end of a sentence."""
    file = os.environ.get(f"{name}_FILE")
    if file:
        return f"put it into {file} ({name}_FILE), without a restart"
    return f"set {name} to it and start the bot again (with {name}_FILE no restart is needed)"


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
    if bad := [*_bad_files(config, path.parent)]:
        raise SettingsError([_complaint(path, text, where, message) for where, message in bad])
    return config


def _bad_files(config: ConfigFile, folder: Path) -> Iterator[tuple[tuple[str, ...], str]]:
    """Files that the configuration names and that will not do: the key where each stands, and what is wrong with it."""
    try:
        config.network.network(folder)
    except ValueError as error:
        yield ("network", "ca"), str(error)
    for name, preset in config.preset.items():
        try:
            base = _base(preset, folder)
        except ValueError as error:
            yield ("preset", name, "base"), str(error)
            continue
        version = preset.kubernetes or kubernetes_of(base)
        if version and base and distribution_of(version) != distribution_of(kubernetes_of(base) or version):
            told = (
                f"{preset.base} is a cluster of {distribution_of(kubernetes_of(base))}, the preset asks for {version}"
            )
            yield ("preset", name, "kubernetes"), told


def _base(preset: PresetSection, folder: Path) -> str:
    """The preset's base file as the core keeps it, '' without one. Raises ValueError with file, line and reason."""
    if not preset.base:
        return ""
    path = folder / preset.base
    try:
        return read_base(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: it cannot be read ({error})") from None
    except BadBase as error:
        where = f", line {error.line}" if error.line else ""
        raise ValueError(f"{path}{where}: {error.reason} {error.remedy.removesuffix('.')}") from None


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


def catalogue_of(config: ConfigFile, folder: Path = Path()) -> Catalogue:
    """The configuration as the core knows it; `folder` is where the files that it names are looked for."""
    network = config.network.network(folder)
    return Catalogue(
        teams={n: Team(n, **{k: _frozen(v) for k, v in t.model_dump().items()}) for n, t in config.team.items()},
        targets={n: Target(n, **{k: _frozen(v) for k, v in t.model_dump().items()}) for n, t in config.target.items()},
        presets={name: _preset(name, preset, folder) for name, preset in config.preset.items()},
        policy=Policy(**config.policy.model_dump()),
        probe_image=config.verify.probe_image(network),
        network=network,
        access=AccessPolicy(**config.access.model_dump()),
        enable=EnablePolicy(**config.enable.model_dump()),
    )


def _preset(name: str, section: PresetSection, folder: Path) -> Preset:
    control, workers, gpu = section.control_plane, section.workers, section.gpu
    fixed = (
        PoolSpec(pool, one.instance_type, one.count, worker=True, gpu=True, **one.wishes())
        for pool, one in section.gpu_fixed.items()
    )
    alternatives = tuple(gpu.alternatives)
    pools = (
        PoolSpec("cp", control.instance_type, control.count, control_plane=True, **control.wishes()),
        PoolSpec("wk", workers.instance_type, workers.count, worker=True, **workers.wishes()),
        PoolSpec("gpu", gpu.instance_type, None, worker=True, gpu=True, alternatives=alternatives, **gpu.wishes()),
        *fixed,
    )
    base = _base(section, folder)
    kubernetes = section.kubernetes or kubernetes_of(base)
    return Preset(
        name,
        section.description,
        pools,
        kubernetes,
        section.operator,
        section.driver,
        section.ami,
        section.max_hours,
        ami_arm64=section.ami_arm64,
        distribution=distribution_of(kubernetes) if kubernetes else section.distribution,
        operator_by=section.operator_by,
        base=base,
        addons=tuple(addon.addon() for addon in section.addons),
        together=section.together,
    )


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
