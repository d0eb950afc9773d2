"""A strict stand-in for Slack: one workspace, its people, its Web API and Socket Mode, and a page to act on."""

from bot.sandbox.slack.delivery import Delivery
from bot.sandbox.slack.errors import Refused
from bot.sandbox.slack.events import Event, Kind, Subscription
from bot.sandbox.slack.server import SlackServer, make_app, routes
from bot.sandbox.slack.threaded import ThreadedSlack
from bot.sandbox.slack.workspace import Workspace

__all__ = [
    "Delivery",
    "Event",
    "Kind",
    "Refused",
    "SlackServer",
    "Subscription",
    "ThreadedSlack",
    "Workspace",
    "make_app",
    "routes",
]
