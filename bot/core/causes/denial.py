"""A cluster's own rules said no: an admission webhook that denies is a diagnosis, not something to wait out."""

from __future__ import annotations

import re

from bot.core.steps.base import Fail

# kubernetes: staging/src/k8s.io/apiserver/pkg/admission/plugin/webhook/errors/statuserror.go
_DENIED = re.compile(r'admission webhook "(?P<name>[^"]+)" denied the request:?\s*(?P<why>[^\n]*)')


def denied_by(text: str) -> Fail | None:
    """What to say where `text`, an error's or Helm's, holds a webhook's denial."""
    found = _DENIED.search(text)
    if found is None:
        return None
    why = found["why"].strip() or "without a reason"
    return Fail(
        f"The cluster's admission webhook {found['name']} denied it: {why}",
        "Whoever keeps that policy can exempt the namespaces gpu-operator and gpu-cluster-verify; then ask again.",
        (found[0].strip(),),
    )
