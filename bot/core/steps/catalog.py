"""The GPU Operator's Helm repo as a cluster repo of the new cluster, with the wanted version in its index."""

from __future__ import annotations

from bot.core.operator_values import CHART, REPO_NAME, repo_url
from bot.core.steps.base import Done, Fail, Look, Outcome, Wait


class Catalog:
    kind = "catalog@1"

    def ensure(self, look: Look) -> Outcome:
        if look.order.existing is not None and look.order.existing.adopted:
            return Done()  # what is there stays as it is, its repository too
        rancher, mid = look.outside.rancher, look.management_id
        network, url = look.order.network, repo_url(look.order)
        look.must_be_wanted()
        repo = rancher.ensure_repo(mid, REPO_NAME, url, look.request.id, network)
        if not repo.ready:
            return Wait(repo.message or "the index of NVIDIA's chart repository is being downloaded")
        versions = rancher.chart_versions(mid, REPO_NAME, CHART)
        if look.order.operator in versions:
            return Done()
        return Fail(
            f"The chart {CHART} {look.order.operator} is not in {url} for this Kubernetes.",
            f"Put one of these into the preset: {', '.join(versions[:6]) or 'none is offered'}.",
        )

    def give_up(self, look: Look) -> Fail:
        return Fail(
            f"The chart repository {repo_url(look.order)} could not be downloaded: {look.row.why}.",
            "The cluster's nodes must reach it: check the route out, DNS and proxy.",
        )
