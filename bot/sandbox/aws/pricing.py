"""The price list: GetProducts for machines and disks, and the spot market's history. US dollars."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from bot.sandbox.aws.wire import Call, Reply, ec2_reply, json_reply

# On-demand, Linux, us-east-1, per hour; round figures of 2025/26, close enough to play with.
ON_DEMAND = {
    "t3.large": 0.0832,
    "t3.xlarge": 0.1664,
    "m6i.large": 0.096,
    "m6i.xlarge": 0.192,
    "m7g.xlarge": 0.1632,
    "g4dn.xlarge": 0.526,
    "g4dn.2xlarge": 0.752,
    "g4dn.12xlarge": 3.912,
    "g5.xlarge": 1.006,
    "g5.2xlarge": 1.212,
    "g5.12xlarge": 5.672,
    "g5g.xlarge": 0.42,
    "g6.xlarge": 0.8048,
    "g6.2xlarge": 0.9776,
    "g6.12xlarge": 4.6016,
    "g6e.xlarge": 1.861,
    "p3.2xlarge": 3.06,
    "p3.8xlarge": 12.24,
    "p3.16xlarge": 24.48,
    "p3dn.24xlarge": 31.212,
    "p4d.24xlarge": 21.96,
    "p5.4xlarge": 6.88,
    "p5.48xlarge": 55.04,
    "p5en.48xlarge": 63.30,
}
GP3_GIB_MONTH = 0.08
_SPOT_SHARE = {"a": 0.36, "b": 0.34, "c": 0.41, "d": 0.39}
"""What part of the on-demand price the spot market asks for, by the zone's letter; no offers in other zones."""


class Prices:
    """`on_demand` by instance type, in dollars an hour, in every region the same; a type not there has no price."""

    def __init__(self) -> None:
        self.on_demand = dict(ON_DEMAND)
        self.gp3_gib_month = GP3_GIB_MONTH

    def answer(self, call: Call) -> Reply | None:
        """None for an operation that is not played."""
        if call.name == "pricing:GetProducts":
            return json_reply({"FormatVersion": "aws_v1", "PriceList": [json.dumps(p) for p in self._products(call)]})
        if call.name == "ec2:DescribeSpotPriceHistory":
            return ec2_reply(call.operation, {"spotPriceHistorySet": self._history(call)})
        return None

    def _products(self, call: Call) -> list[dict[str, Any]]:
        wanted = {item["Field"]: item["Value"] for item in call.params.get("Filters", [])}
        if wanted.get("volumeApiName") == "gp3":
            return [_product({"volumeApiName": "gp3", "productFamily": "Storage"}, "GB-Mo", self.gp3_gib_month)]
        kind = wanted.get("instanceType", "")
        price = self.on_demand.get(kind)
        return [] if price is None else [_product({"instanceType": kind}, "Hrs", price)]

    def _history(self, call: Call) -> list[dict[str, Any]]:
        return [
            {
                "instanceType": kind,
                "productDescription": "Linux/UNIX",
                "spotPrice": f"{self.on_demand[kind] * share:.6f}",
                "timestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.000Z}",
                "availabilityZone": f"{call.region}{letter}",
            }
            for kind in call.many("InstanceType")
            if kind in self.on_demand
            for letter, share in _SPOT_SHARE.items()
        ]


def _product(attributes: dict[str, str], unit: str, price: float) -> dict[str, Any]:
    """As the price list has it: terms by an offer's code, dimensions by a rate's."""
    rate = {"unit": unit, "pricePerUnit": {"USD": f"{price:.10f}"}, "beginRange": "0", "endRange": "Inf"}
    offer = {"priceDimensions": {"SKU.JRTCKXETXF.6YS6EN2CT7": rate}, "termAttributes": {}}
    return {"product": {"sku": "SKU", "attributes": attributes}, "terms": {"OnDemand": {"SKU.JRTCKXETXF": offer}}}
