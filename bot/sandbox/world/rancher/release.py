"""What differs between Rancher releases, as far as a client can see it here.

Read from rancher/rancher at the tags v2.11.16, v2.13.8 and v2.15.0: pkg/features/feature.go (ui-sql-cache),
pkg/ext/stores/tokens, pkg/settings/setting.go, go.mod (Cluster API), pkg/controllers/provisioningv2,
pkg/catalogv2/helmop. Kubernetes' patch versions are placeholders: no client may know them by heart.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Release:
    """One Rancher release. ``kubernetes`` lists the RKE2 and K3s versions it offers, oldest first.

    ``sql_cache``: lists come from the SQL cache, which filters by indexed fields only (on by default from 2.12).
    ``ext_tokens``: there are tokens of the form ``ext/name:secret`` (2.12). ``keeps_failed``: the setting
    delete-machine-on-failure-after exists (2.13). ``capi``: the version of Cluster API's objects (v1beta2 from 2.14).
    ``mirrors``: the provisioning cluster copies the management cluster's conditions, and ``status.ready`` waits for its
    Ready instead of Connected (up to 2.14). ``helm``: the major version that runs operations (4 from 2.15).
    """

    version: str
    git_commit: str
    kubernetes: tuple[str, ...]
    default_rke2: str
    default_k3s: str
    sql_cache: bool = True
    ext_tokens: bool = True
    keeps_failed: bool = True
    capi: str = "v1beta2"
    mirrors: bool = False
    helm: int = 4

    @property
    def unknown_fields(self) -> frozenset[str]:
        """Fields of machine configs and pools that this release prunes, for it does not know them yet."""
        return frozenset() if self.keeps_failed else _FROM_2_13


_FROM_2_13 = frozenset(
    [
        "httpProtocolIpv6",
        "ipv6AddressCount",
        "ipv6AddressOnly",
        "enablePrimaryIpv6",
        "autoscalingMinSize",
        "autoscalingMaxSize",
    ]
)


def _offered(*versions: str) -> tuple[str, ...]:
    return tuple(f"v{version}+{distro}1" for distro in ("rke2r", "k3s") for version in versions)


# The defaults come without their v: the real setting comes from a semver's String().
_RELEASES = {
    "2.11": Release(
        version="v2.11.16",
        git_commit="0b3c1f6d2",
        kubernetes=_offered("1.30.14", "1.31.14", "1.32.13"),
        default_rke2="1.32.13+rke2r1",
        default_k3s="1.32.13+k3s1",
        sql_cache=False,
        ext_tokens=False,
        keeps_failed=False,
        capi="v1beta1",
        mirrors=True,
        helm=3,
    ),
    "2.13": Release(
        version="v2.13.8",
        git_commit="8ae42d70c",
        kubernetes=_offered("1.32.13", "1.33.10", "1.34.6"),
        default_rke2="1.34.6+rke2r1",
        default_k3s="1.34.6+k3s1",
        capi="v1beta1",
        mirrors=True,
        helm=3,
    ),
    "2.15": Release(
        version="v2.15.0",
        git_commit="5f1c2d9ab",
        kubernetes=_offered("1.33.10", "1.34.6", "1.35.3"),
        default_rke2="1.35.3+rke2r1",
        default_k3s="1.35.3+k3s1",
    ),
}

PLAYED = tuple(_RELEASES)


def release(version: str) -> Release:
    """The release called ``version``: a minor such as ``2.13``, or its full version.

    Raises:
        ValueError: for one that cannot be played; the message lists those that can.
    """
    wanted = version.removeprefix("v")
    for minor, found in _RELEASES.items():
        if wanted in (minor, found.version.removeprefix("v")):
            return found
    raise ValueError(f"the sandbox plays Rancher {', '.join(PLAYED)}, not {version}")
