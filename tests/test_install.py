"""What `pip install .` gives: a wheel with everything in it, which works from any folder."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TRAVELS = {
    "manifests/gpu-cluster.example.toml",
    "manifests/slack-app.yaml",
    "manifests/verify/probe.py",
    "bot/sandbox/plays/walkthrough.toml",
    "bot/sandbox/slack/assets/page.html",
    "bot/sandbox/slack/assets/page.css",
    "bot/sandbox/slack/assets/page.js",
}


def pip(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    (built,) = folder.glob("gpu_cluster-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel; the libraries are those of this one, so that nothing is fetched twice."""
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    pip("--python", str(python), "install", "--no-deps", str(wheel))
    (packages,) = home.glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return home / "bin"


def run(program: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *arguments], cwd=cwd, env={"HOME": str(cwd)}, capture_output=True, text=True, timeout=60, check=False
    )


def test_everything_travels(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert TRAVELS - names == set()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"bot", "handlers", "manifests"}


@pytest.mark.slow
def test_the_sandbox_plays_from_another_folder(installed: Path, tmp_path: Path) -> None:
    played = run(installed / "gpu-cluster", "sandbox", "--headless", "--json", "--speed", "120", cwd=tmp_path)
    assert played.returncode == 0, played.stderr
    outcome = json.loads(played.stdout.splitlines()[-1])
    assert (outcome["state"], outcome["verdict"], outcome["gpus"]) == ("ready", "verified", 1)
    assert list(tmp_path.iterdir()) == []


def test_the_example_configuration_travels(installed: Path, tmp_path: Path) -> None:
    where = run(installed / "python", "-c", "import bot.app; print(bot.app.__file__)", cwd=tmp_path)
    assert Path(where.stdout).is_relative_to(installed.parent)
    shown = run(installed / "gpu-cluster", "example-config", cwd=tmp_path)
    assert shown.stdout == (ROOT / "manifests" / "gpu-cluster.example.toml").read_text()
