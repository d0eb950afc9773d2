"""What settings name and somebody else keeps: there and usable, not, or not to be seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bot.core.checks.facts import Answer, Facts
from bot.core.cloud import DiskKey, InstanceProfile
from bot.core.ports import Permanent, Refused, StoredSecret, Temporary
from bot.core.spec import Image
from bot.core.wiring import Network
from tests.core.test_checks import check, facts_about, names

ARN = "arn:aws:kms:us-east-1:123456789012:key/1"
KEY = DiskKey(ARN, "123456789012", "Enabled", "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
LOGIN = "rke.cattle.io/auth-config"
HIDDEN = Refused("AccessDenied: no", "An administrator must allow it.")


def named(answer: Any, field: str, **target: str) -> Facts:
    """Facts with one answer; an exception came instead of it."""
    given = Answer(error=answer) if isinstance(answer, Exception) else Answer(answer)
    facts = facts_about(**{field: given})
    return replace(facts, target=replace(facts.target, **target))


def with_profile(answer: Any) -> Facts:
    return named(answer, "instance_profile", instance_profile="nodes")


def with_key(answer: Any, arn: str = ARN) -> Facts:
    return named(answer, "disk_key", kms_key=arn)


def with_login(answer: Any) -> Facts:
    return replace(named(answer, "registry_secret"), network=Network(registry_secret="mirror-login"))


def test_what_is_not_named_is_not_checked() -> None:
    assert not {"instance profile", "disk key", "registry login", "pull secrets"} & names(facts_about())


@pytest.mark.parametrize(
    ("answer", "state", "said"),
    [
        (InstanceProfile("arn:aws:iam::1:instance-profile/nodes", ("ebs",)), "ok", "role ebs"),
        (InstanceProfile("arn:aws:iam::1:instance-profile/nodes", ()), "no", "holds no role"),
        (Permanent("NoSuchEntity: nodes", "Make it."), "no", "NoSuchEntity"),
        (HIDDEN, "unknown", "could not check"),
        (Temporary("no answer within 10 s"), "unknown", "no answer"),
    ],
)
def test_the_instance_profile(answer: Any, state: str, said: str) -> None:
    found = check("instance profile", with_profile(answer))
    assert (found.state, said in found.detail) == (state, True)
    assert found.remedy or state != "no"


@pytest.mark.parametrize(
    ("answer", "arn", "state", "said"),
    [
        (KEY, ARN, "ok", ARN),
        (replace(KEY, account="2"), ARN, "ok", "of account 2"),
        (replace(KEY, state="Disabled"), ARN, "no", "is Disabled"),
        (replace(KEY, state="PendingDeletion"), ARN, "no", "is PendingDeletion"),
        (replace(KEY, state="PendingImport"), ARN, "no", "is PendingImport"),
        (replace(KEY, spec="RSA_2048"), ARN, "no", "symmetric"),
        (replace(KEY, usage="GENERATE_VERIFY_MAC"), ARN, "no", "symmetric"),
        (None, ARN.replace("us-east-1", "eu-west-1"), "no", "of eu-west-1"),
        (None, "arn:aws:kms:x", "no", "machines are in us-east-1"),
        (Permanent("NotFoundException: no such key", "Correct it."), ARN, "no", "NotFound"),
        (HIDDEN, ARN, "unknown", "could not check"),
    ],
)
def test_the_key_of_the_disks(answer: Any, arn: str, state: str, said: str) -> None:
    found = check("disk key", with_key(answer, arn))
    assert (found.state, said in found.detail) == (state, True)
    assert found.remedy or state != "no"


def test_a_disabled_key_comes_with_the_command_that_enables_it() -> None:
    remedy = check("disk key", with_key(replace(KEY, state="Disabled"))).remedy
    assert remedy == f"aws kms enable-key --region us-east-1 --key-id {ARN}"


@pytest.mark.parametrize(
    ("answer", "state", "said"),
    [
        (StoredSecret(LOGIN, ("password", "username")), "ok", "password, username"),
        (StoredSecret("kubernetes.io/basic-auth", ("password", "username")), "ok", "mirror-login"),
        (StoredSecret("Opaque", ("username",)), "no", "of type Opaque"),
        (StoredSecret(LOGIN, ()), "no", "is empty"),
        (None, "no", "no Secret fleet-default/mirror-login"),
        (HIDDEN, "unknown", "could not check"),
    ],
)
def test_the_login_at_the_mirrors(answer: Any, state: str, said: str) -> None:
    found = check("registry login", with_login(answer))
    assert (found.state, said in found.detail) == (state, True)
    assert found.remedy or state != "no"


def test_secrets_of_a_cluster_that_is_still_to_be_made_are_named() -> None:
    facts = replace(facts_about(), network=Network(pull_secrets=("mirror",)), probe_image=Image("x", ("mirror", "own")))
    found = check("pull secrets", facts)
    assert found.state == "unknown"
    assert "mirror in gpu-operator and mirror, own in gpu-cluster-verify" in found.detail
