"""What rancher-machine does on EC2, done for real against the endpoint that the sandbox runs.

Every call is blocking boto3 on a thread pool; the world waits for its future.
Source: rancher/machine: drivers/amazonec2/amazonec2.go.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from bot.sandbox.world.kube.objects import Obj
from bot.sandbox.world.metal.gpus import make_gpus
from bot.sandbox.world.metal.hardware import Hardware
from bot.sandbox.world.rancher.scarcity import Draw, Scarcity

T = TypeVar("T")

_SHORT = {"x86_64": "amd64", "arm64": "arm64"}


class LaunchError(Exception):
    """An instance could not be made; the text ends the way the driver's output does."""


class Ec2:
    """Launches and terminates instances, where ``scarcity`` lets them start; ``announce`` as in :class:`World`."""

    def __init__(
        self,
        endpoint: str,
        *,
        scarcity: Scarcity | None = None,
        announce: Callable[[str, str, str], None] = lambda *_: None,
        workers: int = 4,
    ) -> None:
        self._endpoint = endpoint
        self.announce = announce
        self._scarcity = scarcity or Scarcity()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="ec2")
        self._lock = threading.Lock()
        self._looking = threading.Lock()
        self._launching = threading.Lock()
        self._clients: dict[str, Any] = {}
        self._known: dict[tuple[str, ...], Any] = {}

    def close(self) -> None:
        """Wait for running calls, then take no more."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def launch(self, config: Obj, name: str, owner_tag: str) -> Future[Hardware]:
        """RunInstances for a machine config; the future raises LaunchError.

        ``name`` becomes the instance's name, ``owner_tag`` is ``kubernetes.io/cluster/<MID>``.
        """
        drawn = self._scarcity.draw()  # here, where calls come in the world's order
        return self._pool.submit(self._launch, config, name, owner_tag, drawn)

    def terminate(self, region: str, instance_id: str) -> Future[None]:
        """TerminateInstances."""
        return self._pool.submit(self._terminate, region, instance_id)

    def _launch(self, config: Obj, name: str, owner_tag: str, drawn: Draw) -> Hardware:
        try:
            return self._run(config, name, owner_tag, drawn)
        except ClientError as problem:
            error = problem.response["Error"]
            status = problem.response["ResponseMetadata"].get("HTTPStatusCode", 400)
            raise LaunchError(_driver_text(error["Code"], error["Message"], status)) from problem
        except BotoCoreError as problem:
            raise LaunchError(f"error launching instance: {problem}") from problem

    def _run(self, config: Obj, name: str, owner_tag: str, drawn: Draw) -> Hardware:
        region = config.get("region") or "us-east-1"
        ec2 = self._client(region)
        kind = self._type(region, config.get("instanceType") or "t2.micro")
        subnet = self._subnet(region, config)
        gpus = _nvidia(kind)
        if self._scarcity.refuses(kind["InstanceType"], subnet["AvailabilityZone"], drawn, gpu=gpus is not None):
            raise LaunchError(_driver_text(*_no_capacity(kind["InstanceType"], subnet["AvailabilityZone"]), 500))
        groups = [self._group(region, subnet["VpcId"], g) for g in config.get("securityGroup") or ["rancher-nodes"]]
        with self._launching:  # moto takes a subnet's addresses from one generator, which no two threads may enter
            answer = ec2.run_instances(**_request(config, name, owner_tag, subnet["SubnetId"], groups))
        instance = answer["Instances"][0]
        architecture = kind.get("ProcessorInfo", {}).get("SupportedArchitectures", ["x86_64"])[-1]
        return Hardware(
            instance_type=kind["InstanceType"],
            instance_id=instance["InstanceId"],
            region=region,
            zone=subnet["AvailabilityZone"],
            private_ip=instance.get("PrivateIpAddress", ""),
            architecture=_SHORT.get(architecture, "amd64"),
            vcpus=kind.get("VCpuInfo", {}).get("DefaultVCpus", 2),
            memory_mib=kind.get("MemoryInfo", {}).get("SizeInMiB", 4096),
            gpus=make_gpus(gpus["Name"], gpus["MemoryInfo"]["SizeInMiB"], gpus["Count"], instance["InstanceId"])
            if gpus
            else (),
        )

    def _terminate(self, region: str, instance_id: str) -> None:
        try:
            self._client(region).terminate_instances(InstanceIds=[instance_id])
        except ClientError as problem:
            if problem.response["Error"]["Code"] != "InvalidInstanceID.NotFound":
                raise

    def _type(self, region: str, name: str) -> Obj:
        def look() -> Obj:
            try:
                found = self._client(region).describe_instance_types(InstanceTypes=[name])["InstanceTypes"]
            except ClientError as problem:
                if problem.response["Error"]["Code"] != "InvalidInstanceType":
                    raise
                message = f"The requested configuration is currently not supported: {name} is not offered in {region}"
                raise LaunchError(_driver_text("Unsupported", message, 400)) from problem
            return dict(found[0])

        return self._once(("type", region, name), look)

    def _subnet(self, region: str, config: Obj) -> Obj:
        zone = region + (config.get("zone") or "a")
        wanted, vpc = config.get("subnetId"), config.get("vpcId")

        def look() -> Obj:
            if wanted:
                found = self._client(region).describe_subnets(SubnetIds=[wanted])["Subnets"]
            else:
                filters = [{"Name": "availability-zone", "Values": [zone]}]
                filters.append({"Name": "vpc-id", "Values": [vpc]} if vpc else _DEFAULT_FOR_AZ)
                found = self._client(region).describe_subnets(Filters=filters)["Subnets"]
            if not found or found[0]["AvailabilityZone"] != zone:
                raise LaunchError(f"unable to find a subnet in the zone: {zone}")
            if vpc and found[0]["VpcId"] != vpc:
                raise LaunchError(f"SubnetId: {wanted} does not belong to VpcId: {vpc}")
            return dict(found[0])

        return self._once(("subnet", region, zone, wanted or "", vpc or ""), look)

    def _group(self, region: str, vpc: str, name: str) -> str:
        """The id of a security group by name; the driver makes one that does not exist."""

        def look() -> str:
            filters = [{"Name": "group-name", "Values": [name]}, {"Name": "vpc-id", "Values": [vpc]}]
            found = self._client(region).describe_security_groups(Filters=filters)["SecurityGroups"]
            if found:
                return str(found[0]["GroupId"])
            made = self._client(region).create_security_group(GroupName=name, Description="Rancher Nodes", VpcId=vpc)
            return str(made["GroupId"])

        return self._once(("group", region, vpc, name), look)

    def _client(self, region: str) -> Any:
        with self._lock:
            if region not in self._clients:
                self._clients[region] = boto3.client(
                    "ec2",
                    region_name=region,
                    endpoint_url=self._endpoint,
                    aws_access_key_id="rancher",
                    aws_secret_access_key="rancher",  # noqa: S106 - the stand-in takes any
                    config=Config(connect_timeout=5, read_timeout=60, retries={"total_max_attempts": 2}),
                )
            return self._clients[region]

    def _once(self, key: tuple[str, ...], look: Callable[[], T]) -> T:
        """Remember what does not change while a sandbox runs; two machines never look at the same time."""
        with self._looking:
            if key not in self._known:
                self._known[key] = look()
            return self._known[key]  # type: ignore[no-any-return]


_DEFAULT_FOR_AZ: dict[str, Any] = {"Name": "default-for-az", "Values": ["true"]}


def _request(config: Obj, name: str, owner_tag: str, subnet: str, groups: list[str]) -> dict[str, Any]:
    """The RunInstances request that the driver builds."""
    tags = [{"Key": k, "Value": v} for k, v in instance_tags(config, name, owner_tag).items()]
    request: dict[str, Any] = {
        "ImageId": config.get("ami", ""),
        "InstanceType": config.get("instanceType") or "t2.micro",
        "MinCount": 1,
        "MaxCount": 1,
        "SubnetId": subnet,
        "SecurityGroupIds": groups,
        "TagSpecifications": [{"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume")],
        "BlockDeviceMappings": [
            {
                "DeviceName": config.get("deviceName") or "/dev/sda1",
                "Ebs": {
                    "VolumeSize": int(config.get("rootSize") or "16"),
                    "VolumeType": config.get("volumeType") or "gp2",
                    "Encrypted": bool(config.get("encryptEbsVolume")),
                    **({"KmsKeyId": config["kmsKey"]} if config.get("kmsKey") else {}),
                    "DeleteOnTermination": True,
                },
            }
        ],
    }
    if config.get("userdata"):
        request["UserData"] = config["userdata"]
    if config.get("httpTokens"):
        request["MetadataOptions"] = {
            "HttpTokens": config["httpTokens"],
            "HttpEndpoint": config.get("httpEndpoint") or "enabled",
        }
    if config.get("iamInstanceProfile"):
        request["IamInstanceProfile"] = {"Name": config["iamInstanceProfile"]}
    if config.get("requestSpotInstance"):
        options = {"MaxPrice": config.get("spotPrice") or "0.50"}
        request["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": options}
    return request


def instance_tags(config: Obj, name: str, owner_tag: str) -> dict[str, str]:
    """Tags of an instance: those of the ``k,v,k,v`` string (an odd last one is dropped), name and owner."""
    words = [word for word in (config.get("tags") or "").split(",") if word]
    own = dict(zip(words[::2], words[1::2], strict=False))
    return {**own, "Name": name, owner_tag: "owned"}


def _nvidia(kind: Obj) -> Obj | None:
    """The NVIDIA GPUs of an instance type (EC2 DescribeInstanceTypes), or None."""
    for gpu in kind.get("GpuInfo", {}).get("Gpus", []):
        if gpu.get("Manufacturer") == "NVIDIA" and gpu.get("Count"):
            return dict(gpu)
    return None


def _no_capacity(instance_type: str, zone: str) -> tuple[str, str]:
    others = ", ".join(zone[:-1] + letter for letter in "abc" if letter != zone[-1])
    message = (
        f"We currently do not have sufficient {instance_type} capacity in the Availability Zone you requested "
        f"({zone}). Our system will be working on provisioning additional capacity. You can currently get "
        f"{instance_type} capacity by not specifying an Availability Zone in your request or choosing {others}."
    )
    return "InsufficientInstanceCapacity", message


def _driver_text(code: str, message: str, status: int) -> str:
    return f"error launching instance: {code}: {message}\n\tstatus code: {status}, request id: sandbox"
