"""A preset that says nearly everything, played whole: K3s, three arm64 servers, arm64 and spot GPU machines beside
others, an add-on, the operator by manifest."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
import yaml
from scene import Scene

from bot.sandbox.show import raise_curtain
from bot.sandbox.stage import Plot, Stage

PRESET = """
[preset.everything]
distribution = "k3s"
operator_by = "manifest"
control_plane = { instance_type = "m7g.large", count = 3 }
workers = { instance_type = "t3.large", labels = { "example.com/tier" = "plain" } }
gpu = { instance_type = "g5g.xlarge", root_gib = 100, spot = true, taints = ["example.com/team=vision:NoSchedule"] }
gpu_fixed = { dev = { instance_type = "g4dn.xlarge", root_gib = 100 } }
[[preset.everything.addons]]
name = "aws-ebs-csi-driver"
repo = "https://kubernetes-sigs.github.io/aws-ebs-csi-driver"
version = "2.53.0"
[[preset.everything.addons.values.storageClasses]]
name = "gp3"
annotations = { "storageclass.kubernetes.io/is-default-class" = "true" }
"""


@pytest.mark.slow
async def test_nearly_everything(tmp_path: Path) -> None:
    async with Stage(tmp_path, Plot(speed=120.0)) as stage:
        with (tmp_path / "gpu-cluster.toml").open("a") as config:
            config.write(PRESET)
        await raise_curtain(stage)
        now = Scene(stage)
        await now.type('create mixed --preset everything --gpus 2 --hours 8 --reason "all of it"')
        await now.approve("mixed")
        ended = await now.outcome("mixed", within=90)
        assert (ended["state"], ended["verdict"], ended["gpus"]) == ("ready", "verified", 2)
        made = now.made("mixed", ["cluster-created", "helm-chart", "operation-created", "gpu-node", "app-deployed"])
        assert made == {
            "cluster-created": 1,
            "helm-chart": 1,  # the operator, by the cluster itself
            "operation-created": 1,  # the add-on, by Rancher
            "app-deployed": 1,
            "gpu-node": 2,
        }
        exported = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bot.cli", "export", "mixed",
            env=os.environ | stage.environment, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await exported.communicate()
        cluster = next(one for one in yaml.safe_load_all(out) if one["kind"] == "Cluster")
        assert cluster["spec"]["kubernetesVersion"].endswith("+k3s1")
        assert "HelmChart" in cluster["spec"]["rkeConfig"]["additionalManifest"]
        assert "sandbox:not-a-secret" not in json.dumps(cluster)
