"""Who and what the sandbox workspace is made of at the start."""

from __future__ import annotations

from dataclasses import dataclass

TEAM = "T0SANDBOX"
TEAM_NAME = "Sandbox"
TEAM_DOMAIN = "sandbox"
FOREIGN_TEAM = "T0OTHER"
APP = "A0GPU"
BOT_USER = "U0BOT"
BOT_ID = "B0BOT"
SLACKBOT = "USLACKBOT"
COMMAND = "/gpu-cluster"
BOT_TOKEN = "xoxb-sandbox-0000"
APP_TOKEN = "xapp-sandbox-0000"


@dataclass(frozen=True)
class User:
    """One account. ``is_restricted`` is a guest, ``deleted`` a deactivated account."""

    id: str
    name: str
    team: str = TEAM
    is_bot: bool = False
    deleted: bool = False
    is_restricted: bool = False
    tz: str = "Europe/Berlin"
    tz_offset: int = 3600


@dataclass(frozen=True)
class UserGroup:
    """A user group; ``users`` are its members' ids."""

    id: str
    handle: str
    name: str
    users: tuple[str, ...]


@dataclass(frozen=True)
class Channel:
    """A public channel, or the direct messages of the bot with ``im_with``."""

    id: str
    name: str
    members: frozenset[str]
    im_with: str | None = None


def users() -> dict[str, User]:
    """The accounts of the workspace by id, one for each role."""
    people = [
        User("U0REQUESTER", "requester"),
        User("U0LEAD", "lead"),
        User("U0LEAD2", "second-lead", tz="America/New_York", tz_offset=-18000),
        User("U0BYSTANDER", "bystander"),
        User("U0GUEST", "guest", is_restricted=True),
        User("U0GONE", "gone", deleted=True),
        User("U0FOREIGN", "foreigner", team=FOREIGN_TEAM),
        User(BOT_USER, "gpu-cluster", is_bot=True, tz="UTC", tz_offset=0),
        User(SLACKBOT, "slackbot", is_bot=True, tz="UTC", tz_offset=0),
    ]
    return {user.id: user for user in people}


def groups() -> dict[str, UserGroup]:
    """The user groups by id: the leads, of whom the requester is one."""
    leads = UserGroup("S0LEADS", "gpu-leads", "GPU leads", ("U0REQUESTER", "U0LEAD", "U0LEAD2"))
    return {leads.id: leads}


def channels() -> dict[str, Channel]:
    """The channels by id; the bot is a member of all but the last."""
    people = frozenset(user.id for user in users().values() if not user.is_bot)
    return {
        "C0GPU": Channel("C0GPU", "gpu-clusters", people | {BOT_USER}),
        "C0APPROVE": Channel("C0APPROVE", "gpu-approvals", people | {BOT_USER}),
        "C0OTHER": Channel("C0OTHER", "random", people),
    }
