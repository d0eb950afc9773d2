"""AWS for the sandbox, listening on loopback: moto, and what moto lacks."""

from bot.sandbox.aws.capacity import Reservation
from bot.sandbox.aws.stand_in import ACCOUNT, REGION, SECURITY_GROUP, AwsStandIn

__all__ = ["ACCOUNT", "REGION", "SECURITY_GROUP", "AwsStandIn", "Reservation"]
