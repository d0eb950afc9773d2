"""Is everything there that the bot needs? Each answer with how to mend it. Reads only; asks nobody."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError

from bot.core.ports import Cloud, Rancher, Store, WorldError
from bot.core.spec import Check, Image, Target, Team
from bot.core.steps.access import FALLBACK_ROLE, SHIPPED_ROLE
from bot.core.token_watch import AHEAD_S
from bot.settings import Environment, how_to_mend

_SLACK_REMEDY = {
    "invalid_auth": "Copy the token again: api.slack.com/apps, your app, “OAuth & Permissions” (xoxb-) or "
    "“Basic Information” (xapp-).",
    "not_allowed_token_type": "This is a token of the other kind: SLACK_BOT_TOKEN begins xoxb-, SLACK_APP_TOKEN xapp-.",
    "token_revoked": "Install the app into the workspace again, and copy the new token.",
    "account_inactive": "Install the app into the workspace again, and copy the new token.",
    "missing_scope": "Install the app again from manifests/slack-app.yaml.",
}
_EXAMPLE_LEAD, _EXAMPLE_CREDENTIAL = "U00000000", "cattle-global-data:cc-xxxxx"
_CREDENTIAL_REMEDY = "Make it as the bot's user in Rancher (Cluster Management, Cloud Credentials), and name it in"
_WHERE_IT_IS = "Set it to the Bot User OAuth Token (xoxb-…): api.slack.com/apps, your app, “OAuth & Permissions”."


def slack_checks(environment: Environment, workspace: str) -> Iterator[Check]:
    """The bot token and its workspace; the app-level token (Socket Mode) or the signing secret (HTTP)."""
    if not environment.slack_bot_token:
        yield Check("Slack bot token", "no", "SLACK_BOT_TOKEN is not set", _WHERE_IT_IS)
    else:
        yield _asked("Slack bot token", lambda: _slack(lambda: _bot_token(environment, workspace)))
    if environment.slack_signing_secret:
        yield Check("Slack connection", "ok", f"HTTP mode on port {environment.port}")
    elif not environment.slack_app_token:
        yield Check(
            "Slack connection",
            "no",
            "SLACK_APP_TOKEN is not set",
            "Make an app-level token with connections:write (Socket Mode), or set SLACK_SIGNING_SECRET for HTTP.",
        )
    else:
        yield _asked("Slack connection", lambda: _slack(lambda: _app_token(environment)))


def rancher_checks(
    environment: Environment, make: Callable[[], Rancher], targets: list[Target], own: str = ""
) -> Iterator[Check]:
    """Rancher answers, takes the token, shows each target's cloud credential, and lets the bot do what it needs.
    `own`: Rancher's id of a cluster of the bot's, '' where there is none."""
    named = [target for target in targets if target.cloud_credential != _EXAMPLE_CREDENTIAL]  # else it was told already
    if not environment.rancher_url or not environment.rancher_token:
        missing = "RANCHER_URL" if not environment.rancher_url else "RANCHER_TOKEN"
        remedy = "Set RANCHER_URL to https://your-rancher and RANCHER_TOKEN to an unscoped API key of the bot's user."
        about = Check("Rancher", "no", f"{missing} is not set", remedy)
    else:
        about = _asked("Rancher", lambda: _about(make(), how_to_mend("RANCHER_TOKEN")))
    yield about
    if about.state != "ok":
        for target in named:
            unseen = f"{target.cloud_credential} can be looked for once Rancher answers"
            yield Check(f"Cloud credential of {target.name}", "unknown", unseen)
        return
    for target in named:
        yield _asked(f"Cloud credential of {target.name}", lambda target=target: _credential(make(), target))  # type: ignore[misc]
    yield _asked("Role for people", lambda: _role(make()))
    yield from rights_checks(make(), own)


def example_checks(teams: list[Team], targets: list[Target]) -> Iterator[Check]:
    """What still stands there as the example has it, and is nobody's and nothing's."""
    for team in teams:
        if _EXAMPLE_LEAD in team.leads:
            remedy = f"Name your own in team.{team.name}.leads: in Slack, a person's profile, ⋮, “Copy member ID”."
            yield Check(f"Leads of {team.name}", "no", f"{_EXAMPLE_LEAD} is the example's, and nobody", remedy)
    for target in targets:
        if target.cloud_credential == _EXAMPLE_CREDENTIAL:
            remedy = f"{_CREDENTIAL_REMEDY} target.{target.name}.cloud_credential."
            why = f"{_EXAMPLE_CREDENTIAL} is the example's, and none"
            yield Check(f"Cloud credential of {target.name}", "no", why, remedy)


def aws_checks(make: Callable[[Target], Cloud], targets: list[Target]) -> Iterator[Check]:
    """AWS answers, and the keys belong to the account that the target names."""
    for target in targets:
        yield _asked(f"AWS for {target.name}", lambda target=target: _identity(make(target), target))  # type: ignore[misc]


def image_checks(image: Image) -> Iterator[Check]:
    """Not a no: what runs beside the probe may be named by a tag, which can come to mean another image."""
    for what, reference in (("vectorAdd", image.vector_add), ("DCGM", image.dcgm if image.dcgm_level else "")):
        if reference and "@sha256:" not in reference:
            yield Check(f"Image of {what}", "ok", f"{reference} is a tag, and may change: add @sha256:… to pin it")


def store_check(make: Callable[[], Store]) -> Check:
    """The store opens and can be written. `make` may raise ValueError for a URL that is none of a store."""

    def look() -> str:
        try:
            store = make()
        except ValueError as error:
            raise _No(
                str(error), "Mend DATABASE_URL, or leave it out: then it is a file in your state folder."
            ) from None
        with store.transaction() as tx:
            tx.next_due_at()
        return store.describe()

    return _asked("Store", look)


class _No(Exception):
    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.remedy = remedy


def _asked(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, "ok", look())
    except _No as no:
        return Check(name, "no", str(no), no.remedy)
    except WorldError as error:
        return Check(name, "no", error.reason, error.remedy)


def _slack(look: Callable[[], str]) -> str:
    """What Slack's client raises, in words."""
    try:
        return look()
    except SlackApiError as error:
        code = str(error.response.get("error"))
        raise _No(f"Slack answered {code}", _SLACK_REMEDY.get(code, "See api.slack.com/methods.")) from error
    except (SlackClientError, OSError) as error:
        raise _No(f"Slack cannot be reached ({error})", "Check the network, the proxy and SLACK_API_URL.") from error


def _bot_token(environment: Environment, workspace: str) -> str:
    client = WebClient(token=environment.slack_bot_token, base_url=environment.slack_api_url, timeout=10)
    answer = client.auth_test()
    if workspace and answer["team_id"] != workspace:
        raise _No(
            f"the token belongs to workspace {answer['team_id']}, but gpu-cluster.toml says {workspace}",
            "Use the token of that workspace, or mend slack.workspace.",
        )
    return f"{answer['user']} in {answer['team']} ({answer['team_id']})"


def _app_token(environment: Environment) -> str:
    client = WebClient(base_url=environment.slack_api_url, timeout=10)
    client.apps_connections_open(app_token=environment.slack_app_token)
    return "Socket Mode: Slack gives a connection"


def _about(rancher: Rancher, mend: str) -> str:
    about = rancher.about()
    if about.token_expires_at is None:
        return f"{about.version} as {about.user_id}; the token does not expire"
    seconds = about.token_expires_at - time.time()
    days = seconds / 86400
    if seconds <= AHEAD_S:
        when = "has expired" if seconds <= 0 else f"expires in {days:.0f} days"
        remedy = f"Make a new one as its user in Rancher (Account & API Keys; no cluster scope), and {mend}."
        raise _No(f"{about.version} as {about.user_id}; the token {when}", remedy)
    return f"{about.version} as {about.user_id}; the token expires in {days:.0f} days"


def rights_checks(rancher: Rancher, own: str) -> Iterator[Check]:
    """One line for each that is not there, or not known; one for all others."""
    try:
        views = rancher.rights(own)
    except WorldError as error:
        yield Check("Rights in Rancher", "unknown", error.reason, error.remedy)
        return
    there = [view for view in views if view.state == "ok"]
    if there:
        which = "; ".join(f"{view.what}: {', '.join(view.verbs)}" for view in there)
        later = "" if own else "; those in clusters come with the first"
        yield Check("Rights in Rancher", "ok", which + later)
    for view in views:
        verbs = ", ".join(view.missing or view.verbs)
        if view.state == "no":
            why = f"the bot may not {verbs} {f'{view.what} {view.why}'.strip()}; it needs that {view.purpose}"
            remedy = f"An admin of Rancher grants {verbs} on {view.what}: manifests/rancher/bot-role.yaml."
            yield Check("Right in Rancher", "no", why, remedy)
        elif view.state == "unknown":
            yield Check("Right in Rancher", "unknown", f"{verbs} {view.what}, {view.purpose}: {view.why}")


def _role(rancher: Rancher) -> str:
    """Not a no: the bot works without it."""
    if rancher.has_role(SHIPPED_ROLE):
        return SHIPPED_ROLE
    return (
        f"{SHIPPED_ROLE} is not in Rancher, so people get {FALLBACK_ROLE}; "
        "its admin can apply manifests/rancher/role-template.yaml (docs/operations.md)"
    )


def _credential(rancher: Rancher, target: Target) -> str:
    if rancher.has_credential(target.cloud_credential):
        return target.cloud_credential
    raise _No(
        f"{target.cloud_credential} is not there, or the bot's Rancher user cannot see it",
        f"{_CREDENTIAL_REMEDY} target.{target.name}.cloud_credential.",
    )


def _identity(cloud: Cloud, target: Target) -> str:
    identity = cloud.identity()
    if target.account and identity.account != target.account:
        raise _No(
            f"the keys belong to account {identity.account}, but the target says {target.account}",
            "Use the other account's keys, or mend target.account.",
        )
    return f"{identity.arn} in {target.region}"
