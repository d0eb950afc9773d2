"""Service Quotas for EC2: what an account that has been used for a while may have (aws-quota codes, unit vCPUs)."""

from __future__ import annotations

from typing import Any

from bot.sandbox.aws.wire import Call, Reply, error_reply, json_reply

# Names and codes: AWS, "Amazon EC2 endpoints and quotas" (AWS General Reference).
_QUOTAS = {
    "L-1216C47A": ("Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", 4096.0),
    "L-DB2E81BA": ("Running On-Demand G and VT instances", 2048.0),
    "L-417A185B": ("Running On-Demand P instances", 768.0),
    "L-6E869C2A": ("Running On-Demand DL instances", 96.0),
    "L-34B43A08": ("All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", 1024.0),
    "L-3819A6DF": ("All G and VT Spot Instance Requests", 256.0),
    "L-7212CCBC": ("All P4, P3 and P2 Spot Instance Requests", 0.0),
}


class Quotas:
    """The account's quotas. `values` by code in vCPUs; a code that is missing there has only AWS's `defaults`.

    `increases`: codes with an open request → (the value asked for, its status: PENDING or CASE_OPENED).
    """

    def __init__(self) -> None:
        self.values = {code: value for code, (_, value) in _QUOTAS.items()}
        self.defaults = dict.fromkeys(_QUOTAS, 0.0)
        self.increases: dict[str, tuple[float, str]] = {}

    def answer(self, call: Call) -> Reply | None:
        """None for an operation that is not played."""
        code = call.params.get("QuotaCode", "")
        match call.operation:
            case "GetServiceQuota":
                return self._quota(call, code, self.values)
            case "GetAWSDefaultServiceQuota":
                return self._quota(call, code, self.defaults)
            case "ListRequestedServiceQuotaChangeHistoryByQuota":
                return json_reply({"RequestedQuotas": self._open(code)})
            case _:
                return None

    def _quota(self, call: Call, code: str, values: dict[str, float]) -> Reply:
        if call.params.get("ServiceCode") != "ec2" or code not in values:
            return error_reply(
                call, "NoSuchResourceException", "The request failed because the specified quota does not exist", 400
            )
        quota = {"ServiceCode": "ec2", "QuotaCode": code, "QuotaName": _QUOTAS[code][0], "Value": values[code]}
        return json_reply({"Quota": {**quota, "Unit": "None", "Adjustable": True}})

    def _open(self, code: str) -> list[dict[str, Any]]:
        if code not in self.increases:
            return []
        wanted, status = self.increases[code]
        return [
            {
                "Id": "0123456789abcdef",
                "ServiceCode": "ec2",
                "QuotaCode": code,
                "DesiredValue": wanted,
                "Status": status,
            }
        ]
