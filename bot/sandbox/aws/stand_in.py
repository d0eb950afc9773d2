"""AWS for the sandbox: moto in this process, filled with what a real account has, behind a front for what moto lacks.

moto is imported only when a stand-in starts: it costs a second that most commands of the program need not pay.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from boto3.session import Session

from bot.sandbox.aws.front import Front

if TYPE_CHECKING:
    from werkzeug.serving import BaseWSGIServer

REGION = "us-east-1"
ACCOUNT = "123456789012"
SECURITY_GROUP = "gpu-cluster-nodes"

_CANONICAL = "099720109477"
_P3_ZONES = ("us-east-1a", "us-east-1b")


class _Ubuntu(NamedTuple):
    """An image of Canonical's, and the SSM parameter they publish it under."""

    release: str
    codename: str
    architecture: str
    ami: str

    @property
    def parameter(self) -> str:
        chip = _chip(self.architecture)
        return f"/aws/service/canonical/ubuntu/server/{self.release}/stable/current/{chip}/hvm/ebs-gp3/ami-id"

    def record(self, built: datetime) -> dict[str, Any]:
        """As moto's Ami takes it."""
        name = f"ubuntu/images/hvm-ssd-gp3/ubuntu-{self.codename}-{self.release}-{_chip(self.architecture)}-server"
        return {
            "ami_id": self.ami,
            "name": f"{name}-{built:%Y%m%d}",
            "description": f"Canonical, Ubuntu, {self.release}, {_chip(self.architecture)} {self.codename} image",
            "owner_id": _CANONICAL,
            "public": True,
            "virtualization_type": "hvm",
            "architecture": self.architecture,
            "state": "available",
            "image_type": "machine",
            "hypervisor": "xen",
            "root_device_name": "/dev/sda1",
            "root_device_type": "ebs",
            "sriov": "simple",
            "creation_date": built,
        }


def _chip(architecture: str) -> str:
    """Canonical's word for what EC2 calls x86_64."""
    return "amd64" if architecture == "x86_64" else architecture


_IMAGES = (
    _Ubuntu("22.04", "jammy", "x86_64", "ami-0a2204d64c7e80001"),
    _Ubuntu("22.04", "jammy", "arm64", "ami-0a2204a64c7e80002"),
    _Ubuntu("24.04", "noble", "x86_64", "ami-0a2404d64c7e80003"),
    _Ubuntu("24.04", "noble", "arm64", "ami-0a2404a64c7e80004"),
)


def _p3_record(size: str, gpus: int, vcpus: int, memory_gib: int) -> dict[str, Any]:
    """A P3 type as DescribeInstanceTypes described it until AWS stopped listing the family."""
    v100 = {
        "Count": gpus,
        "GpuPartitionSize": 1.0,
        "LogicalGpuCount": gpus,
        "Manufacturer": "NVIDIA",
        "MemoryInfo": {"SizeInMiB": 16384},
        "Name": "V100",
    }
    return {
        "InstanceType": f"p3.{size}",
        "BareMetal": False,
        "CurrentGeneration": True,
        "Hypervisor": "xen",
        "GpuInfo": {"Gpus": [v100], "TotalGpuMemoryInMiB": 16384 * gpus},
        "InstanceStorageSupported": False,
        "MemoryInfo": {"SizeInMiB": memory_gib * 1024},
        "ProcessorInfo": {"Manufacturer": "Intel", "SupportedArchitectures": ["x86_64"]},
        "SupportedBootModes": ["legacy-bios"],
        "SupportedRootDeviceTypes": ["ebs"],
        "SupportedUsageClasses": ["on-demand", "spot"],
        "SupportedVirtualizationTypes": ["hvm"],
        "VCpuInfo": {"DefaultVCpus": vcpus, "DefaultCores": vcpus // 2, "DefaultThreadsPerCore": 2},
    }


_P3 = (_p3_record("2xlarge", 1, 8, 61), _p3_record("8xlarge", 4, 32, 244), _p3_record("16xlarge", 8, 64, 488))


class AwsStandIn:
    """AWS on 127.0.0.1, one region, with the account's default VPC ready for a cluster.

    `p3`: whether the P3 family is still listed. moto's state is process-wide, so one runs at a time in a process;
    in several processes several run side by side. `start` sets `vpc`, `subnets` (one a zone, in their order) and
    `front`, through which quotas, prices, reservations and refusals are set.
    """

    _running: ClassVar[AwsStandIn | None] = None

    region = REGION
    account = ACCOUNT
    security_group = SECURITY_GROUP

    def __init__(self, *, p3: bool = True, port: int = 0) -> None:
        self.vpc = ""
        self.subnets: tuple[str, ...] = ()
        self._p3 = p3
        self._port = port
        self.front: Front
        self._server: BaseWSGIServer | None = None

    def start(self) -> str:
        """Fill an empty account, listen, and return the endpoint's URL. Any credentials are accepted.

        Raises RuntimeError when one runs in this process already.
        """
        if AwsStandIn._running is not None:
            raise RuntimeError("moto keeps one account a process: stop the AWS stand-in that runs in this one first")
        from moto import settings
        from moto.backends import get_backend
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
        from werkzeug.serving import make_server

        # moto reads these from the environment when it is imported, which may have been long ago.
        settings.EC2_ENABLE_INSTANCE_TYPE_VALIDATION = True
        settings.ENABLE_AMI_VALIDATION = True
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
        get_backend("ec2").reset()
        get_backend("ssm").reset()
        _list_p3(listed=self._p3)
        _publish_images(get_backend("ec2")[ACCOUNT][REGION], get_backend("ssm")[ACCOUNT][REGION])
        self.vpc, self.subnets = _network(get_backend("ec2")[ACCOUNT][REGION])
        self.front = Front(DomainDispatcherApplication(create_backend_app), _regions())
        self._server = make_server(
            "127.0.0.1", self._port, self.front, threaded=True, request_handler=MotoRequestHandler
        )
        Thread(target=self._server.serve_forever, name="aws", daemon=True).start()
        AwsStandIn._running = self
        return f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        """Stop listening; harmless when it was never started."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = AwsStandIn._running = None


def _regions() -> frozenset[str]:
    """The regions of AWS's commercial partition."""
    return frozenset(Session().get_available_regions("ec2"))


def _list_p3(*, listed: bool) -> None:
    """Make moto list the P3 family in two zones, or not at all (as its own data has it since May 2026)."""
    import moto.ec2.models.instance_types as catalogue

    names = {record["InstanceType"] for record in _P3}
    for name in names:
        catalogue.INSTANCE_TYPES.pop(name, None)
    backend = catalogue.InstanceTypeBackend
    backend.instance_types = [kind for kind in backend.instance_types if kind["InstanceType"] not in names]
    for location, places in (("region", (REGION,)), ("availability-zone", _P3_ZONES)):
        offerings = catalogue.INSTANCE_TYPE_OFFERINGS[location]
        kept = [offer for offer in offerings[REGION] if offer["InstanceType"] not in names]
        new = [
            {"InstanceType": name, "LocationType": location, "Location": place}
            for name in sorted(names)
            for place in places
        ]
        offerings[REGION] = kept + (new if listed else [])
    if listed:
        catalogue.INSTANCE_TYPES.update({record["InstanceType"]: record for record in _P3})
        backend.instance_types = backend.instance_types + [catalogue.InstanceType(name) for name in sorted(names)]


def _publish_images(ec2: Any, ssm: Any) -> None:
    """Canonical's images in place of moto's thousand, and the parameters that point at them.

    Through moto's objects: the API gives an image no architecture, and keeps parameters under /aws for AWS.
    """
    from moto.ec2.models.amis import Ami
    from moto.ssm.models import Parameter

    built = datetime.now(UTC) - timedelta(days=9)
    ec2.amis.clear()
    for image in _IMAGES:
        ec2.amis[image.ami] = Ami(ec2, region_name=f"{REGION}a", **image.record(built))
        ssm._parameters[image.parameter].append(
            Parameter(  # type: ignore[abstract]  # only CloudFormation calls what it leaves out
                account_id=ACCOUNT,
                name=image.parameter,
                value=image.ami,
                parameter_type="String",
                description=None,
                allowed_pattern=None,
                keyid=None,
                last_modified_date=built,
                version=1,
                data_type="aws:ec2:image",
            )
        )


def _network(ec2: Any) -> tuple[str, tuple[str, ...]]:
    """The default VPC with a way out, and the nodes' security group; returns the VPC's id and its subnets'."""
    vpc = ec2.default_vpc
    gateway = ec2.create_internet_gateway()
    ec2.attach_internet_gateway(gateway.id, vpc.id)
    main = next(table for table in ec2.route_tables.values() if table.vpc_id == vpc.id)
    ec2.create_route(main.id, "0.0.0.0/0", gateway_id=gateway.id)
    _nodes_group(ec2, vpc)
    subnets = sorted(ec2.describe_subnets(filters={"vpc-id": [vpc.id]}), key=lambda net: net.availability_zone)
    return vpc.id, tuple(net.id for net in subnets)


def _nodes_group(ec2: Any, vpc: Any) -> None:
    """Everything among the nodes, SSH and the API server from inside the VPC, nothing from the world."""
    group = ec2.create_security_group(SECURITY_GROUP, "Nodes of GPU clusters", vpc_id=vpc.id)
    ec2.authorize_security_group_ingress(
        group_name_or_id=group.id,
        ip_protocol="-1",
        from_port=None,
        to_port=None,
        ip_ranges=[],
        source_groups=[{"GroupId": group.id}],
        vpc_id=vpc.id,
    )
    for port in (22, 6443):
        ec2.authorize_security_group_ingress(
            group_name_or_id=group.id,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            ip_ranges=[{"CidrIp": vpc.cidr_block}],
            vpc_id=vpc.id,
        )
