"""A Secret of fleet-default in the simulated Rancher: seen by type and keys, never by what it holds."""

from __future__ import annotations

from living import Living

from bot.core.ports import StoredSecret
from bot.sandbox.world.kube.kinds import SECRET


def test_a_secret_as_rancher_shows_it(living: Living) -> None:
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
