"""Namespaces of ours: their Rancher project and their pod security level."""

from __future__ import annotations

from collections.abc import Mapping

from bot.core.ports import Busy, Foreign
from bot.core.spec import LABEL_MANAGED
from bot.kube.client import KubeClient

_PROJECT = "field.cattle.io/projectId"
_SECURITY = tuple(f"pod-security.kubernetes.io/{mode}" for mode in ("enforce", "audit", "warn"))


def ensure_namespace(
    client: KubeClient, name: str, *, project: str, privileged: bool, labels: Mapping[str, str]
) -> None:
    """Create the namespace, or mend ours; another's is left alone and is an error only if it would have to change.

    `project` is a Rancher project (c-m-…:p-…), '' for none. Labels that a namespace of ours has already keep their
    value: they name the request that made it. Raises `Foreign`, `Temporary` while it is being deleted.
    """
    level = "privileged" if privileged else "restricted"
    security = dict.fromkeys(_SECURITY, level)
    annotations = {_PROJECT: project} if project else {}
    there = client.find(client.core.read_namespace, name)
    if there is None:
        body = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {**labels, **security}, "annotations": annotations},
        }
        client.json(client.core.create_namespace, body)
        return
    if there["metadata"].get("deletionTimestamp"):
        raise Busy(f"The namespace {name} is still being deleted.", "The bot waits until it is gone.")
    own_labels = there["metadata"].get("labels") or {}
    if own_labels.get(LABEL_MANAGED) == "true":
        wanted = {**labels, **{k: v for k, v in own_labels.items() if k in labels}, **security}
    else:
        wanted = security
    changed = {k: v for k, v in wanted.items() if own_labels.get(k) != v}
    own_annotations = there["metadata"].get("annotations") or {}
    moved = {k: v for k, v in annotations.items() if own_annotations.get(k) != v}
    if not changed and not moved:
        return
    if own_labels.get(LABEL_MANAGED) != "true":
        raise Foreign(
            f"The namespace {name} exists and was not made by the bot.",
            f"Label it {', '.join(f'{k}={v}' for k, v in security.items())} and move it into the System project in "
            "Rancher, or delete it if nobody needs it.",
        )
    client.json(client.core.patch_namespace, name, {"metadata": {"labels": changed, "annotations": moved}})
