"""The Web API: ``POST /api/<method>``, its tokens, limits and answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web

from bot.sandbox.slack import chat, directory, files
from bot.sandbox.slack.arguments import need, read_arguments, read_token
from bot.sandbox.slack.directory import User
from bot.sandbox.slack.errors import SlackError
from bot.sandbox.slack.views import View
from bot.sandbox.slack.workspace import Workspace

Arguments = dict[str, Any]
Method = Callable[[Workspace, Arguments], Arguments]


def auth_test(workspace: Workspace, arguments: Arguments) -> Arguments:
    """auth.test."""
    return {
        "url": f"{workspace.base_url}/",
        "team": directory.TEAM_NAME,
        "team_id": directory.TEAM,
        "user": workspace.users[directory.BOT_USER].name,
        "user_id": directory.BOT_USER,
        "bot_id": directory.BOT_ID,
        "is_enterprise_install": False,
    }


def connections_open(workspace: Workspace, arguments: Arguments) -> Arguments:
    """apps.connections.open: a one-time address for a Socket Mode connection."""
    base = workspace.base_url.replace("http", "ws", 1)
    return {"url": f"{base}/link?ticket={workspace.socket_mode.issue_ticket()}&app_id={directory.APP}"}


def users_info(workspace: Workspace, arguments: Arguments) -> Arguments:
    """users.info."""
    need(arguments, ["user"])
    return {"user": _user(workspace.user(str(arguments["user"])))}


def usergroups_list(workspace: Workspace, arguments: Arguments) -> Arguments:
    """usergroups.list."""
    groups = [
        {"id": g.id, "team_id": directory.TEAM, "handle": g.handle, "name": g.name, "user_count": len(g.users)}
        for g in workspace.groups.values()
    ]
    return {"usergroups": groups}


def usergroups_users(workspace: Workspace, arguments: Arguments) -> Arguments:
    """usergroups.users.list."""
    need(arguments, ["usergroup"])
    group = workspace.groups.get(str(arguments["usergroup"]))
    if group is None:
        raise SlackError("no_such_subteam")
    return {"users": list(group.users)}


def conversations_open(workspace: Workspace, arguments: Arguments) -> Arguments:
    """conversations.open with one user."""
    need(arguments, ["users"])
    users = arguments["users"]
    wanted = str(users[0] if isinstance(users, list) and len(users) == 1 else users)
    if workspace.user(wanted).deleted:
        raise SlackError("user_disabled")
    return {"channel": {"id": workspace.open_im(wanted).id}}


def conversations_info(workspace: Workspace, arguments: Arguments) -> Arguments:
    """conversations.info."""
    need(arguments, ["channel"])
    channel = workspace.channel(str(arguments["channel"]))
    im = channel.im_with is not None
    about: Arguments = {
        "id": channel.id,
        "is_channel": not im,
        "is_im": im,
        "is_private": im,
        "is_archived": False,
        "is_ext_shared": False,
        "is_shared": False,
    }
    member = directory.BOT_USER in channel.members
    return {"channel": {**about, **({"user": channel.im_with} if im else {"name": channel.name, "is_member": member})}}


def views_open(workspace: Workspace, arguments: Arguments) -> Arguments:
    """views.open."""
    need(arguments, ["trigger_id", "view"])
    trigger = workspace.redeem_trigger(str(arguments["trigger_id"]))
    view = workspace.views.open(trigger.user, arguments["view"], trigger.channel)
    return _shown(workspace, view, "opened")


def views_push(workspace: Workspace, arguments: Arguments) -> Arguments:
    """views.push."""
    need(arguments, ["trigger_id", "view"])
    trigger = workspace.redeem_trigger(str(arguments["trigger_id"]))
    return _shown(workspace, workspace.views.push(trigger.user, arguments["view"]), "opened")


def views_update(workspace: Workspace, arguments: Arguments) -> Arguments:
    """views.update, by ``view_id`` or ``external_id``, guarded by ``hash`` if given."""
    need(arguments, ["view"])
    view = workspace.views.find(arguments.get("view_id"), arguments.get("external_id"))
    workspace.views.update(view, arguments["view"], arguments.get("hash"))
    return _shown(workspace, view, "updated")


def views_publish(workspace: Workspace, arguments: Arguments) -> Arguments:
    """views.publish."""
    need(arguments, ["user_id", "view"])
    user = workspace.user(str(arguments["user_id"]))
    view = workspace.views.homes.get(user.id)
    if view is not None and arguments.get("hash") not in (None, view.hash):
        raise SlackError("hash_conflict")
    return _shown(workspace, workspace.views.publish(user.id, arguments["view"]), "published")


METHODS: dict[str, Method] = {
    "apps.connections.open": connections_open,
    "auth.test": auth_test,
    "chat.delete": chat.delete,
    "chat.getPermalink": chat.get_permalink,
    "chat.postEphemeral": chat.post_ephemeral,
    "chat.postMessage": chat.post_message,
    "chat.update": chat.update,
    "conversations.info": conversations_info,
    "conversations.open": conversations_open,
    "files.completeUploadExternal": files.complete_upload,
    "files.delete": files.delete,
    "files.getUploadURLExternal": files.get_upload_url,
    "usergroups.list": usergroups_list,
    "usergroups.users.list": usergroups_users,
    "users.info": users_info,
    "views.open": views_open,
    "views.publish": views_publish,
    "views.push": views_push,
    "views.update": views_update,
}


#: Scopes that can be taken away from the app (``State.missing_scopes``), by the methods that need them.
_SCOPES = {
    "files.completeUploadExternal": "files:write",
    "files.delete": "files:write",
    "files.getUploadURLExternal": "files:write",
}
#: These do not read JSON: what it holds is not there for them.
_FORM_ONLY = frozenset({"files.getUploadURLExternal"})


async def call(workspace: Workspace, request: web.Request) -> web.Response:
    """Answer one call: HTTP 200 with ``ok`` true or false, or 429 with Retry-After."""
    method = request.match_info["method"]
    workspace.calls[method] += 1
    if fault := workspace.fault_for(method):
        return _refuse(fault.status, fault.retry_after)
    try:
        arguments = await read_arguments(request)
        _authorize(workspace, method, read_token(request, arguments))
        if method not in METHODS:
            raise SlackError("unknown_method")
        if method in _FORM_ONLY and request.content_type == "application/json":
            arguments = {}
        channel = str(arguments.get("channel", ""))
        wait = workspace.limiter.retry_after(method, channel, workspace.real_clock())
        if wait is not None:
            return _refuse(429, wait)
        answer = METHODS[method](workspace, arguments)
    except SlackError as error:
        details = {"response_metadata": {"messages": error.messages}} if error.messages else {}
        return web.json_response({"ok": False, "error": error.code, **details})
    return web.json_response({"ok": True, **answer})


def _authorize(workspace: Workspace, method: str, token: str) -> None:
    if token not in (workspace.bot_token, workspace.app_token):
        raise SlackError("invalid_auth")
    if (token == workspace.app_token) != (method == "apps.connections.open"):
        raise SlackError("not_allowed_token_type")
    if (needed := _SCOPES.get(method)) in workspace.missing_scopes:
        raise SlackError("missing_scope", [f"needed: {needed}"])


def _refuse(status: int, retry_after: int) -> web.Response:
    if status == 429:
        headers = {"Retry-After": str(retry_after)}
        return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers=headers)
    return web.json_response({"ok": False, "error": "internal_error"}, status=status)


def _shown(workspace: Workspace, view: View, what: str) -> Arguments:
    workspace.record_view(view, what)
    return {"view": view.payload()}


def _user(user: User) -> Arguments:
    """The user object. A deactivated account has lost its details."""
    account: Arguments = {
        "id": user.id,
        "team_id": user.team,
        "name": user.name,
        "deleted": user.deleted,
        "is_bot": user.is_bot,
        "is_app_user": False,
        "updated": 1_700_000_000,
        "profile": {"real_name": user.name, "display_name": user.name, "team": user.team},
    }
    if user.deleted:
        return account
    return {
        **account,
        "real_name": user.name,
        "tz": user.tz,
        "tz_offset": user.tz_offset,
        "is_admin": False,
        "is_owner": False,
        "is_restricted": user.is_restricted,
        "is_ultra_restricted": False,
        "is_stranger": user.team != directory.TEAM,
    }
