"""Kubeconfigs for people whom Rancher does not know: a token of a service account inside that one cluster.

Never a token of the bot. Each has an account of its own, so that one can be revoked without the others; the token
itself is stored nowhere. This module knows when what has to happen; who hands the file over is no matter of the core.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from bot.core import lifecycle
from bot.core.ports import Permanent, Tx
from bot.core.records import AuditRow, ClusterRow, ClusterState, CredentialRow, CredentialState
from bot.core.spec import AccessPolicy
from bot.core.steps.base import Outside

FILE_S = 15 * 60.0
"""World seconds for which the file stays in the person's direct messages."""
TRY_S = 10 * 60.0
"""World seconds after which what could not be given is given up."""
AGAIN_S = 20.0
LEAST_S = 600
"""Kubernetes issues no token for a shorter time (TokenRequestSpec.expirationSeconds)."""

BY_RANCHER, BY_CLUSTER, OFF = "rancher", "cluster", "off"


@dataclass(frozen=True)
class Kubeconfig:
    """The file's text, and until when its token works (world time)."""

    text: str
    expires_at: float


def want(tx: Tx, row: CredentialRow) -> None:
    """Somebody asks for one; what they had of this cluster before ends."""
    for older in tx.credentials(row.cluster_id):
        if older.person == row.person:
            end(tx, older, "a newer one was asked for", row.asked_at)
    tx.add(row)
    audit(tx, row, row.person, "asked for a kubeconfig", "", row.asked_at)


def issue(outside: Outside, cluster: ClusterRow, row: CredentialRow, policy: AccessPolicy, now: float) -> Kubeconfig:
    """Make the account and its token. May be repeated: the account is found there, an older token ends by itself.

    Raises `WorldError`s; `Permanent` says what would have to be changed, and by whom.
    """
    kube, mid = outside.cluster(cluster.management_id), cluster.management_id
    if policy.tokens == BY_CLUSTER:
        endpoint = kube.own_endpoint()
        server, authority = endpoint.url, endpoint.authority
    else:
        outside.rancher.let_tokens_through(mid, may_change=not cluster.enabled)
        server, authority = f"{outside.rancher_url.rstrip('/')}/k8s/clusters/{mid}", outside.rancher_authority
    seconds = policy.token_hours * 3600.0
    if cluster.expires_at is not None:
        seconds = min(seconds, cluster.expires_at - now)
    token = kube.issue_token(row.account, row.person, seconds=max(int(seconds), LEAST_S))
    if not token.secret:
        raise Permanent("The cluster gave an empty token.", "Look at the API server's log.")
    return Kubeconfig(_text(cluster.name, server, authority, token.secret), token.expires_at)


def revoke(outside: Outside, cluster: ClusterRow, row: CredentialRow) -> None:
    """Remove the account, and with it every token of it. A cluster of ours that is gone has taken it along."""
    if (cluster.enabled or cluster.state != ClusterState.GONE) and cluster.management_id:
        outside.cluster(cluster.management_id).remove_accounts(account=row.account)


def end(tx: Tx, row: CredentialRow, why: str, at: float) -> CredentialRow:
    """It is to be revoked, now."""
    if row.state in (CredentialState.ENDING, CredentialState.ENDED):
        return row
    return tx.change(row, state=CredentialState.ENDING, why=why, next_look_at=at)


def audit(tx: Tx, row: CredentialRow, actor: str, action: str, detail: str, at: float) -> None:
    """A line of the trail, under the request with which the cluster began."""
    home = lifecycle.home_of(tx, row.cluster_id)
    said = f"<@{row.person}> account {row.account}" + (f": {detail}" if detail else "")
    tx.add(AuditRow(at, actor, action, home.id, row.cluster_id, said))


def _text(name: str, server: str, authority: str, token: str) -> str:
    """A kubeconfig, as JSON: kubectl reads both, and nothing has to be quoted twice."""
    cluster: dict[str, str] = {"server": server}
    if authority:
        cluster["certificate-authority-data"] = authority
    whole = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    return json.dumps(whole, indent=2) + "\n"
