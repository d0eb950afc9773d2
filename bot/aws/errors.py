"""What AWS and botocore say when something is wrong, as one of the core's errors with a remedy.

Codes and their classes: AWS's "Error codes for the Amazon EC2 API", "Common errors" of STS and Systems Manager,
and botocore/retries/standard.py for the throttling ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    InvalidRegionError,
    LoginError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSLError,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as NotConnected
from botocore.parsers import ResponseParserError

from bot.core.ports import Permanent, Refused, Temporary, WorldError

_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
_CLOCK = frozenset({"RequestExpired", "RequestTimeTooSkewed"})
_WRONG_KEYS = frozenset(
    {
        "AuthFailure",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
_ACCOUNT = frozenset({"Blocked", "OptInRequired", "PendingVerification"})
_BUSY = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_SERVER = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "RequestTimeout",
        "ServiceUnavailable",
        "Unavailable",
        "InternalServerError",
    }
)
_CORRECT = {
    "InvalidAMIID": "Correct ami in the preset or target; an AMI belongs to one region.",
    "NoSuchEntity": "Correct instance_profile in the target, or make that profile with a role in it.",
    "NotFoundException": "Correct kms_key in the target: the ARN of a key, or of an alias, of this region.",
    "InvalidVpcID": "Correct vpc in the target.",
}
_ACTION = re.compile(r"not authorized to perform:? ([a-z0-9-]+:[A-Za-z]+)")

NAME_REGION = 'Name the region in the target of gpu-cluster.toml, such as region = "us-east-1".'
_GET_KEYS = (
    "Give the bot AWS credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the role of the "
    "machine it runs on."
)


@contextmanager
def translated(service: str) -> Iterator[None]:
    """Turn whatever botocore raises inside into a `WorldError`. `service` is IAM's prefix: ec2, ssm, sts."""
    try:
        yield
    except ClientError as error:
        raise from_code(error, service) from error
    except (BotoCoreError, ResponseParserError) as error:
        raise _from_botocore(error) from error


def from_code(error: ClientError, service: str) -> WorldError:
    """The error that AWS answered with, by its code; AWS's words stay in the reason as they are."""
    detail = error.response.get("Error", {})
    code, said = detail.get("Code", "Unknown"), detail.get("Message", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    action = f"{service}:{error.operation_name}"
    reason = f"AWS answered {action} with {code}: {said}" if said else f"AWS answered {action} with {code}"
    if code in _BUSY:
        return Temporary(reason, "AWS limits how often this account may ask; it is asked again more slowly.")
    if code in _DENIED:
        return Refused(reason, _allow(said, action))
    if code in _EXPIRED:
        return Refused(reason, "The bot's AWS session has expired: renew its credentials (aws sso login, or new keys).")
    if code in _CLOCK or "Signature expired" in said or "not yet current" in said:
        return Refused(reason, "The bot's clock and AWS's differ: set the clock right (NTP), or renew expired keys.")
    if code in _WRONG_KEYS:
        return Refused(
            reason, "AWS does not accept the bot's keys: check AWS_ACCESS_KEY_ID and its secret. " + _GET_KEYS
        )
    if code in _ACCOUNT:
        return Refused(reason, "An administrator of the AWS account must finish its set-up or enable the region.")
    if code in _SERVER or status >= 500:
        return Temporary(reason, "AWS has trouble of its own; see https://health.aws.amazon.com/ if it lasts.")
    return Permanent(reason, _CORRECT.get(code.partition(".")[0], ""))


def _allow(said: str, action: str) -> str:
    named = _ACTION.search(said)
    return f"An administrator of the AWS account must allow {named[1] if named else action} to the bot's identity."


def _from_botocore(error: Exception) -> WorldError:
    """What went wrong before AWS had answered, or with the answer itself."""
    said = f"AWS: {error}"
    match error:
        case NoCredentialsError() | PartialCredentialsError() | ProfileNotFound():
            return Refused(said, _GET_KEYS)
        case CredentialRetrievalError() | TokenRetrievalError() | SSOError() | LoginError():
            return Refused(said, "The bot's credentials could not be fetched: sign in again (aws sso login).")
        case NoRegionError() | InvalidRegionError():
            return Permanent(said, 'Name the region in the target of gpu-cluster.toml, such as region = "us-east-1".')
        case SSLError():
            return Temporary(said, "The TLS connection failed; behind a proxy of your own, set AWS_CA_BUNDLE.")
        case ResponseParserError():
            return Temporary(said, "What answered does not speak AWS's language: check AWS_ENDPOINT_URL and proxies.")
        case NotConnected() | HTTPClientError():
            return Temporary(said, "AWS cannot be reached: check the network, the region's name and AWS_ENDPOINT_URL.")
        case _:
            return Permanent(said)
