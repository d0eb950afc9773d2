"""AWS's wire protocols, as far as the stand-in needs them: who is asked what, and how an answer or an error looks.

Query and EC2 protocol: a form with `Action`; JSON 1.0 and 1.1: the header X-Amz-Target (smithy-lang/smithy:
docs/source-2.0/aws/protocols).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

_SCOPE = re.compile(r"Credential=(?P<key>[^/]+)/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
_EC2_NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"

Xml = Mapping[str, Any]
"""Element name → text, number, a mapping below it, or a list of mappings (which become <item>s)."""


@dataclass(frozen=True)
class Call:
    """One signed request: `service` and `region` as they were signed for, `params` flat (form) or as JSON."""

    service: str
    region: str
    operation: str
    params: Mapping[str, Any]

    @property
    def name(self) -> str:
        """As IAM writes it, such as ec2:DescribeSubnets."""
        return f"{self.service}:{self.operation}"

    def many(self, prefix: str) -> list[str]:
        """The members of a form's list, such as InstanceType.1, InstanceType.2."""
        return [str(value) for key, value in self.params.items() if re.fullmatch(rf"{re.escape(prefix)}\.\d+", key)]

    def filters(self) -> dict[str, list[str]]:
        """EC2's Filter.N.Name and Filter.N.Value.M."""
        names = {
            key.split(".")[1]: str(name) for key, name in self.params.items() if re.fullmatch(r"Filter\.\d+\.Name", key)
        }
        return {name: self.many(f"Filter.{number}.Value") for number, name in names.items()}


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    content_type: str
    body: bytes


def call_of(environ: dict[str, Any]) -> Call | None:
    """What a WSGI request asks; None when it is no AWS call. The body stays readable."""
    scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    if scope is None:
        return None
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = BytesIO(body)
    if target := environ.get("HTTP_X_AMZ_TARGET", ""):
        return Call(scope["service"], scope["region"], target.rpartition(".")[2], json.loads(body or b"{}"))
    form = dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
    return Call(scope["service"], scope["region"], form.get("Action", ""), form)


def json_reply(value: Any, status: int = 200) -> Reply:
    return Reply(status, "application/x-amz-json-1.1", json.dumps(value).encode())


def ec2_reply(operation: str, content: Xml) -> Reply:
    """An answer of EC2's XML."""
    inside = "<requestId>sandbox</requestId>" + _xml(content)
    text = f'<{operation}Response xmlns="{_EC2_NAMESPACE}">{inside}</{operation}Response>'
    return Reply(200, "text/xml;charset=UTF-8", text.encode())


def error_reply(call: Call, code: str, message: str, status: int) -> Reply:
    """A refusal in the protocol that the call came in."""
    if "Action" not in call.params:
        return json_reply({"__type": code, "message": message}, status)
    error = f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
    if call.service == "ec2":
        text = f"<Response><Errors><Error>{error}</Error></Errors><RequestID>sandbox</RequestID></Response>"
    else:
        text = f"<ErrorResponse><Error><Type>Sender</Type>{error}</Error></ErrorResponse>"
    return Reply(status, "text/xml;charset=UTF-8", text.encode())


def _xml(content: Xml) -> str:
    return "".join(f"<{name}>{_inside(value)}</{name}>" for name, value in content.items())


def _inside(value: Any) -> str:
    if isinstance(value, Mapping):
        return _xml(value)
    if isinstance(value, list):
        return "".join(f"<item>{_xml(item)}</item>" for item in value)
    return escape(str(value))
