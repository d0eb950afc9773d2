"""Clients of one region, made once: what every part of the adapter asks through."""

from __future__ import annotations

from functools import cached_property
from importlib.metadata import version
from threading import Lock
from typing import TYPE_CHECKING

from boto3.session import Session
from botocore.config import Config

from bot.aws.errors import NAME_REGION, translated
from bot.core.ports import Permanent

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import FilterTypeDef
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_kms import KMSClient

# The price list answers from these regions only (AWS: Price List Query API endpoints); each knows all regions' prices.
_PRICE_LIST_HOME = "us-east-1"
_HOME = "us-east-1"


class Clients:
    """One region of one AWS account; clients are thread safe, so one set serves all threads.

    Credentials and endpoints come from the environment as in every AWS tool. Raises `Permanent` when no region is
    named, `Refused` when a named profile is missing. `somewhere` is a region that there surely is, to ask about others.
    """

    def __init__(self, region: str) -> None:
        if not region:
            raise Permanent("The target names no AWS region.", NAME_REGION)
        with translated("sts"):
            session, config = Session(), _config(region)
            self.ec2 = session.client("ec2", config=config)
            self.ssm = session.client("ssm", config=config)
            self.sts = session.client("sts", config=config)
            self.quotas = session.client("service-quotas", config=config)
            self.pricing = session.client("pricing", config=_config(_PRICE_LIST_HOME))
            self._session, self._making = session, Lock()
            self.somewhere = self.ec2 if _known(session, region) else session.client("ec2", config=_config(_HOME))
        self.region = region

    # Few targets name a profile or a key, and IAM's model is a large one: these two are made when they are needed.
    # Making a client is not thread safe, using it is.

    @cached_property
    def iam(self) -> IAMClient:
        with self._making, translated("iam"):
            return self._session.client("iam", config=_config(self.region))

    @cached_property
    def kms(self) -> KMSClient:
        with self._making, translated("kms"):
            return self._session.client("kms", config=_config(self.region))


def _known(session: Session, region: str) -> bool:
    """Whether botocore has heard of the region: a newer one, or a slip of the finger, it has not."""
    partitions = session.get_available_partitions()
    return any(region in session.get_available_regions("ec2", partition) for partition in partitions)


def _config(region: str) -> Config:
    """Time-outs so short that a look stays short; three attempts in all, as botocore's standard mode does them."""
    return Config(
        region_name=region,
        connect_timeout=5,
        read_timeout=10,
        retries={"mode": "standard", "total_max_attempts": 3},
        max_pool_connections=50,
        user_agent_extra=f"gpu-cluster/{version('gpu-cluster')}",
    )


def where(name: str, *values: str) -> FilterTypeDef:
    """One of EC2's filters."""
    return {"Name": name, "Values": list(values)}
