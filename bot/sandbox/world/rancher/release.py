"""What differs between Rancher releases, as far as a client can see it here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Release:
    """One Rancher release. ``kubernetes`` lists the RKE2 and K3s versions it offers, oldest first."""

    version: str
    git_commit: str
    kubernetes: tuple[str, ...]
    default_rke2: str
    default_k3s: str


_RELEASES = {
    "2.15.0": Release(
        version="v2.15.0",
        git_commit="5f1c2d9ab",
        kubernetes=(
            "v1.33.10+rke2r1",
            "v1.34.6+rke2r1",
            "v1.35.3+rke2r1",
            "v1.33.10+k3s1",
            "v1.34.6+k3s1",
            "v1.35.3+k3s1",
        ),
        default_rke2="1.35.3+rke2r1",  # without the v: the real setting comes from a semver's String()
        default_k3s="1.35.3+k3s1",
    ),
}


def release(version: str) -> Release:
    """The release called ``version``, e.g. ``2.15.0``.

    Raises:
        ValueError: for one that cannot be played; the message lists those that can.
    """
    try:
        return _RELEASES[version.removeprefix("v")]
    except KeyError:
        raise ValueError(f"the sandbox plays Rancher {', '.join(_RELEASES)}, not {version}") from None
