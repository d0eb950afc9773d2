"""What AWS answers when something is wrong, and what the core is told."""

from __future__ import annotations

import socket

import pytest

from bot.aws.cloud import Ec2Cloud
from bot.core.ports import Permanent, Refused, Temporary

REGION = "us-east-1"
NO_INSTANCES = "<DescribeInstancesResponse><reservationSet/></DescribeInstancesResponse>"


def ec2_error(code: str, message: str = "m") -> str:
    return f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors></Response>"


def sts_error(code: str, message: str = "m") -> str:
    return f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"


@pytest.mark.parametrize(
    ("code", "message", "remedy"),
    [
        ("ExpiredToken", "The security token included in the request is expired", "renew its credentials"),
        ("InvalidClientTokenId", "The security token included in the request is invalid.", "does not accept"),
        ("SignatureDoesNotMatch", "The request signature we calculated does not match", "does not accept"),
        ("SignatureDoesNotMatch", "Signature expired: 20261125T000000Z is now earlier than", "clock"),
        ("SignatureDoesNotMatch", "Signature not yet current: 20261125T000000Z", "clock"),
        ("RequestExpired", "Request has expired.", "clock"),
        ("OptInRequired", "You are not subscribed to this service.", "finish its set-up"),
    ],
)
def test_credentials_that_will_not_do(aws_says, code, message, remedy):
    aws = aws_says((403, sts_error(code, message)))
    with pytest.raises(Refused) as refused:
        Ec2Cloud(REGION).identity()
    assert code in refused.value.reason
    assert message in refused.value.reason
    assert remedy in refused.value.remedy
    assert len(aws.asked) == 1, "asking again would not help"


def test_a_missing_permission_is_named_from_the_call(aws_says):
    aws_says((403, ec2_error("UnauthorizedOperation", "You are not authorized to perform this operation.")))
    with pytest.raises(Refused) as refused:
        Ec2Cloud(REGION).security_group("vpc-1", "nodes")
    assert "UnauthorizedOperation" in refused.value.reason
    assert "must allow ec2:DescribeSecurityGroups" in refused.value.remedy


def test_a_missing_permission_is_named_in_awss_words(aws_says):
    said = "User: arn:aws:iam::1:user/bot is not authorized to perform: ssm:GetParameter on resource: arn"
    aws_says((400, f'{{"__type":"AccessDeniedException","message":"{said}"}}'))
    with pytest.raises(Refused) as refused:
        Ec2Cloud(REGION).image("/aws/service/x")
    assert "must allow ssm:GetParameter" in refused.value.remedy
    assert "AccessDeniedException" in refused.value.reason


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("<rootDeviceType>instance-store</rootDeviceType>", "starts from instance-store"),
        ("<rootDeviceType>ebs</rootDeviceType><enaSupport>false</enaSupport>", "no ENA support"),
        ("<imageState>deregistered</imageState>", "is deregistered"),
    ],
)
def test_an_image_that_no_machine_starts_from(aws_says, fault, said):
    state = "" if "imageState" in fault else "<imageState>available</imageState>"
    item = f"<imageId>ami-12345678</imageId>{state}<architecture>x86_64</architecture>{fault}"
    aws_says((200, f"<DescribeImagesResponse><imagesSet><item>{item}</item></imagesSet></DescribeImagesResponse>"))
    with pytest.raises(Permanent, match=said) as error:
        Ec2Cloud(REGION).image("ami-12345678")
    assert error.value.remedy


def test_throttling_is_temporary_after_three_attempts(aws_says):
    aws = aws_says((503, ec2_error("RequestLimitExceeded", "Request limit exceeded.")))
    with pytest.raises(Temporary, match="RequestLimitExceeded"):
        Ec2Cloud(REGION).zones_offering("p3.2xlarge")
    assert len(aws.asked) == 3


def test_trouble_of_awss_own_is_temporary(aws_says):
    aws_says((500, ec2_error("InternalError", "An internal error has occurred")))
    with pytest.raises(Temporary, match="InternalError"):
        Ec2Cloud(REGION).instances("gpu-cluster/cluster", "x")


def test_one_hiccup_is_not_noticed(aws_says):
    aws_says((500, ec2_error("InternalError")), (200, NO_INSTANCES))
    assert Ec2Cloud(REGION).instances("gpu-cluster/cluster", "x") == ()


def test_what_is_malformed_is_permanent(aws_says):
    aws_says((400, ec2_error("InvalidParameterValue", "no such filter")))
    with pytest.raises(Permanent, match="InvalidParameterValue: no such filter") as refused:
        Ec2Cloud(REGION).subnets("vpc-1", ())
    assert not isinstance(refused.value, Refused)


def test_an_answer_that_is_not_awss(aws_says):
    aws_says((200, "<html><p>Please log in</html>"))
    with pytest.raises(Temporary) as broken:
        Ec2Cloud(REGION).identity()
    assert "AWS_ENDPOINT_URL" in broken.value.remedy


def test_nobody_listens(environment, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(Temporary, match="Could not connect") as unreachable:
            Ec2Cloud(REGION).identity()
    assert "cannot be reached" in unreachable.value.remedy


def test_no_credentials_at_all(environment, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(Refused, match="Unable to locate credentials") as refused:
        Ec2Cloud(REGION).identity()
    assert "AWS_ACCESS_KEY_ID" in refused.value.remedy


def test_a_profile_that_is_not_there(environment, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "gone")
    with pytest.raises(Refused, match="gone"):
        Ec2Cloud(REGION)


@pytest.mark.parametrize("region", ["", "us east 1"])
def test_no_region_to_speak_of(environment, region):
    with pytest.raises(Permanent) as refused:
        Ec2Cloud(region)
    assert "gpu-cluster.toml" in refused.value.remedy


def test_pages_are_followed_to_the_end_and_we_say_who_we_are(aws_says):
    page = """<DescribeInstancesResponse><reservationSet><item><instancesSet><item><instanceId>{id}</instanceId>
    <instanceType>p3.2xlarge</instanceType><instanceState><name>running</name></instanceState>
    <placement><availabilityZone>us-east-1a</availabilityZone></placement></item></instancesSet></item></reservationSet>
    {next}</DescribeInstancesResponse>"""
    aws = aws_says(
        (200, page.format(id="i-1", next="<nextToken>more</nextToken>")), (200, page.format(id="i-2", next=""))
    )
    found = Ec2Cloud(REGION).instances("gpu-cluster/cluster", "x")
    assert [machine.id for machine in found] == ["i-1", "i-2"]
    assert found[0].name == ""
    assert aws.asked[1]["NextToken"] == "more"
    assert "gpu-cluster/" in aws.asked[0]["User-Agent"]


@pytest.mark.parametrize(
    ("when", "deprecated"), [("2025-01-01T00:00:00.000Z", True), ("2999-01-01T00:00:00.000Z", False)]
)
def test_a_deprecated_image_is_still_found(aws_says, when, deprecated):
    aws_says((200, image_answer("available", when)))
    image = Ec2Cloud(REGION).image("ami-0123456789abcdef0")
    assert (image.deprecated, image.root_gib, image.architecture) == (deprecated, 8, "arm64")


def test_an_image_that_cannot_be_started(aws_says):
    aws_says((200, image_answer("disabled", "2999-01-01T00:00:00.000Z")))
    with pytest.raises(Permanent, match=r"InvalidAMIID\.Unavailable: ami-0123456789abcdef0 is disabled"):
        Ec2Cloud(REGION).image("ami-0123456789abcdef0")


def test_an_account_without_a_default_vpc(aws_says):
    aws_says((200, "<DescribeVpcsResponse><vpcSet/></DescribeVpcsResponse>"))
    with pytest.raises(Permanent, match="no default VPC"):
        Ec2Cloud(REGION).subnets("", ())


def image_answer(state: str, deprecated_at: str) -> str:
    return f"""<DescribeImagesResponse><imagesSet><item><imageId>ami-0123456789abcdef0</imageId>
    <imageState>{state}</imageState><imageOwnerId>099720109477</imageOwnerId><architecture>arm64</architecture>
    <name>ubuntu</name><rootDeviceName>/dev/sda1</rootDeviceName><deprecationTime>{deprecated_at}</deprecationTime>
    <blockDeviceMapping><item><deviceName>/dev/sdb</deviceName></item><item><deviceName>/dev/sda1</deviceName>
    <ebs><volumeSize>8</volumeSize></ebs></item></blockDeviceMapping></item></imagesSet></DescribeImagesResponse>"""
