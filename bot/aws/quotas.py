"""What the account may run, and what it runs."""

from __future__ import annotations

from collections import Counter

from bot.aws import kinds
from bot.aws.clients import Clients, where
from bot.aws.errors import translated
from bot.core.cloud import Quota
from bot.core.ports import Permanent

_SERVICE = "ec2"
_STILL_OPEN = ("PENDING", "CASE_OPENED")


def quota(clients: Clients, code: str) -> Quota:
    """The account's own value, else AWS's default; and what an open request to raise it asks for."""
    with translated("servicequotas"):
        history = clients.quotas.list_requested_service_quota_change_history_by_quota(
            ServiceCode=_SERVICE, QuotaCode=code
        )
    asked = [item["DesiredValue"] for item in history["RequestedQuotas"] if item.get("Status") in _STILL_OPEN]
    return Quota(code, _value(clients, code), max(asked, default=None))


def _value(clients: Clients, code: str) -> float:
    try:
        with translated("servicequotas"):
            return clients.quotas.get_service_quota(ServiceCode=_SERVICE, QuotaCode=code)["Quota"]["Value"]
    except Permanent as error:
        if "NoSuchResourceException" not in error.reason:
            raise
        with translated("servicequotas"):
            return clients.quotas.get_aws_default_service_quota(ServiceCode=_SERVICE, QuotaCode=code)["Quota"]["Value"]


def vcpus_in_use(clients: Clients) -> dict[str, int]:
    """vCPUs of on-demand machines, pending or running, by type.

    Counted from the machines themselves: CloudWatch's usage metric lags by minutes, in which others order too.
    """
    running: Counter[str] = Counter()
    with translated("ec2"):
        pages = clients.ec2.get_paginator("describe_instances").paginate(
            Filters=[where("instance-state-name", "pending", "running")]
        )
        for page in pages:
            for reservation in page["Reservations"]:
                running.update(
                    i["InstanceType"] for i in reservation["Instances"] if i.get("InstanceLifecycle") != "spot"
                )
    vcpus = {kind.name: kind.vcpus for kind in kinds.listed(clients, tuple(running))} if running else {}
    return {name: count * vcpus.get(name, 0) for name, count in running.items()}
