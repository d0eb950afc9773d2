"""A machine outlives its cluster: a lead finds it with `orphans`, and ends it with the button."""

from __future__ import annotations

import asyncio
from pathlib import Path

import boto3
import pytest
from scene import BYSTANDER, LEAD, Scene, scene

from bot.core.orphans import JUST_NOW_S


def leave_a_machine(now: Scene, cluster: str) -> str:
    """As the driver starts it, and nobody ends it."""
    env = now.stage.environment
    ec2 = boto3.client(
        "ec2", endpoint_url=env["AWS_ENDPOINT_URL"], region_name=env["AWS_DEFAULT_REGION"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"], aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
    )  # fmt: skip
    tags = [{"Key": "gpu-cluster/managed", "Value": "true"}, {"Key": "gpu-cluster/cluster", "Value": cluster}]
    try:
        made = ec2.run_instances(
            ImageId=ec2.describe_images()["Images"][0]["ImageId"], InstanceType="g4dn.xlarge", MinCount=1, MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )  # fmt: skip
    finally:
        ec2.close()
    return str(made["Instances"][0]["InstanceId"])


@pytest.mark.slow
async def test_what_outlives_its_cluster_is_listed_and_ended(tmp_path: Path) -> None:
    async with scene(tmp_path, speed=240.0) as now:
        await now.create_and_approve("sandbox")
        assert (await now.outcome("sandbox"))["state"] == "ready"
        since = now.mark
        await now.delete("sandbox")
        await now.approve("sandbox")
        assert (await now.outcome("sandbox", since))["state"] == "deleted"
        left = leave_a_machine(now, "sandbox")
        await asyncio.sleep(JUST_NOW_S / 240 + 1)
        since = now.mark
        await now.type("orphans", BYSTANDER)
        await now.told(BYSTANDER, "Only a lead can do that", since)
        await now.type("orphans", LEAD)
        shown = await now.answered(LEAD, left, since)
        assert "0.526" in str(shown.blocks)
        assert "running" in now.instances()
        await now.slack.click(LEAD, shown.channel, shown.ts, "end-orphans")
        await now._seen(lambda e: e.kind == "message" and "ended 1 of 1" in e.text, "nobody was told", since, 20)
        assert "running" not in now.instances()
