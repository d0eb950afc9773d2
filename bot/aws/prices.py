"""What machines and disks cost: the price list and the spot market, each answer good for a day.

The price list wants exact filters and answers JSON within JSON (AWS: Price List Query API, GetProducts).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from bot.aws.clients import Clients
from bot.aws.errors import translated
from bot.core.ports import Permanent

if TYPE_CHECKING:
    from mypy_boto3_pricing.type_defs import FilterTypeDef

T = TypeVar("T")

KEEP_S = 24 * 3600.0
"""Real seconds for which a price is believed."""

_MACHINE = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
    "licenseModel": "No License required",
}


class Kept(Generic[T]):
    """Answers by key, each asked for once in `KEEP_S`; what failed is asked again. `clock` in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._known: dict[str, tuple[float, T]] = {}

    def get(self, key: str, ask: Callable[[], T]) -> T:
        """The answer from memory while it is fresh."""
        with self._lock:
            known = self._known.get(key)
        if known is not None and self._clock() - known[0] < KEEP_S:
            return known[1]
        answer = ask()
        with self._lock:
            self._known[key] = (self._clock(), answer)
        return answer


def on_demand(clients: Clients, name: str) -> float:
    """Dollars an hour for a Linux machine of that type. Raises `Permanent` when the list has no single price."""
    return _price(clients, f"{name} in {clients.region}", {"instanceType": name, **_MACHINE})


def gp3(clients: Clients) -> float:
    """Dollars a GiB-month."""
    return _price(clients, f"gp3 in {clients.region}", {"productFamily": "Storage", "volumeApiName": "gp3"})


def spot(clients: Clients, name: str) -> dict[str, float]:
    """Dollars an hour by zone, as of now."""
    with translated("ec2"):
        pages = clients.ec2.get_paginator("describe_spot_price_history").paginate(
            InstanceTypes=[name],  # type: ignore[list-item]  # AWS has newer types than the stubs
            ProductDescriptions=["Linux/UNIX"],
            StartTime=datetime.now(UTC),
        )
        return {
            offer["AvailabilityZone"]: float(offer["SpotPrice"]) for page in pages for offer in page["SpotPriceHistory"]
        }


def _price(clients: Clients, what: str, attributes: dict[str, str]) -> float:
    wanted = {"regionCode": clients.region, **attributes}
    filters: list[FilterTypeDef] = [
        {"Type": "TERM_MATCH", "Field": key, "Value": value} for key, value in wanted.items()
    ]
    with translated("pricing"):
        found = clients.pricing.get_products(ServiceCode="AmazonEC2", Filters=filters, MaxResults=100)["PriceList"]
    prices = {price for product in found for price in _dollars(json.loads(product)) if price > 0}
    if len(prices) != 1:
        count = "no price" if not prices else f"{len(prices)} prices"
        raise Permanent(f"AWS's price list has {count} for {what}")
    return prices.pop()


def _dollars(product: dict[str, Any]) -> list[float]:
    offers = product["terms"].get("OnDemand", {}).values()
    return [float(rate["pricePerUnit"]["USD"]) for offer in offers for rate in offer["priceDimensions"].values()]
