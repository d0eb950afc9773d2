"""A Secret of fleet-default in the simulated Rancher: seen by type and keys, never by what it holds."""

from __future__ import annotations

import pytest
from living import Living

from bot.core.ports import Refused, StoredSecret
from bot.sandbox.world.kube.kinds import SECRET


def test_the_shipped_role_shows_none(living: Living) -> None:
    """That namespace holds machines' keys and clusters' kubeconfigs, too."""
    with pytest.raises(Refused):
        living.rancher.secret("mirror-login")


def test_a_secret_as_rancher_shows_it(living: Living) -> None:
    rule = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["mirror-login"], "verbs": ["get"]}
    living.world.gateway.rights.role["namespacedRules"].setdefault("fleet-default", []).append(rule)
    assert living.rancher.secret("mirror-login") is None
    living.world.management.store.create(
        SECRET,
        {
            "metadata": {"name": "mirror-login", "namespace": "fleet-default"},
            "type": "rke.cattle.io/auth-config",
            "data": {"username": "dQ==", "password": "cA=="},
        },
    )
    found = living.rancher.secret("mirror-login")
    assert found == StoredSecret("rke.cattle.io/auth-config", ("password", "username"))
