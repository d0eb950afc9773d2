"""``chat.*``: posting, editing, deleting."""

from __future__ import annotations

from typing import Any

from bot.sandbox.slack import directory
from bot.sandbox.slack.arguments import need, read_content, read_metadata, truthy
from bot.sandbox.slack.errors import SlackError
from bot.sandbox.slack.messages import Message
from bot.sandbox.slack.state import State

Arguments = dict[str, Any]


def post_message(state: State, arguments: Arguments) -> Arguments:
    """chat.postMessage."""
    need(arguments, ["channel"])
    channel = _postable(state, str(arguments["channel"]))
    text, blocks = read_content(arguments)
    _warn_without_text(state, "chat.postMessage", arguments)
    message = state.post(
        Message(
            channel.id,
            state.next_ts(),
            directory.BOT_USER,
            text,
            blocks,
            thread_ts=_thread(state, channel.id, arguments),
            broadcast=truthy(arguments.get("reply_broadcast")),
            metadata=read_metadata(arguments),
        )
    )
    return {"channel": channel.id, "ts": message.ts, "message": message.payload()}


def update(state: State, arguments: Arguments) -> Arguments:
    """chat.update. Blocks that are not given stay; an empty array removes them."""
    need(arguments, ["channel", "ts"])
    channel = _postable(state, str(arguments["channel"]))
    message = _own(state, channel.id, arguments, "cant_update_message")
    text, blocks = read_content(arguments)
    _warn_without_text(state, "chat.update", arguments)
    if "metadata" in arguments:
        message.metadata = read_metadata(arguments)
    state.edit(message, text if "text" in arguments else None, blocks if "blocks" in arguments else None)
    return {"channel": channel.id, "ts": message.ts, "text": message.text, "message": message.payload()}


def delete(state: State, arguments: Arguments) -> Arguments:
    """chat.delete."""
    need(arguments, ["channel", "ts"])
    message = _own(state, state.channel(str(arguments["channel"])).id, arguments, "cant_delete_message")
    state.delete(message)
    return {"channel": message.channel, "ts": message.ts}


def post_ephemeral(state: State, arguments: Arguments) -> Arguments:
    """chat.postEphemeral."""
    need(arguments, ["channel", "user"])
    channel = _postable(state, str(arguments["channel"]))
    if str(arguments["user"]) not in channel.members:
        raise SlackError("user_not_in_channel")
    text, blocks = read_content(arguments)
    _warn_without_text(state, "chat.postEphemeral", arguments)
    message = state.post(
        Message(
            channel.id,
            state.next_ts(),
            directory.BOT_USER,
            text,
            blocks,
            thread_ts=_thread(state, channel.id, arguments),
            ephemeral_to=str(arguments["user"]),
        )
    )
    return {"message_ts": message.ts}


def get_permalink(state: State, arguments: Arguments) -> Arguments:
    """chat.getPermalink."""
    need(arguments, ["channel", "message_ts"])
    channel = state.channel(str(arguments["channel"]))
    message = state.message(channel.id, str(arguments["message_ts"]))
    link = f"{state.base_url}/archives/{channel.id}/p{message.ts.replace('.', '')}"
    thread = f"?thread_ts={message.thread_ts}&cid={channel.id}" if message.thread_ts else ""
    return {"channel": channel.id, "permalink": link + thread}


def _postable(state: State, identity: str) -> directory.Channel:
    """The channel the bot writes to; a user id means the direct messages with that user."""
    channel = state.open_im(identity) if identity in state.users else state.channel(identity)
    if directory.BOT_USER not in channel.members:
        raise SlackError("not_in_channel")
    return channel


def _thread(state: State, channel: str, arguments: Arguments) -> str | None:
    """The parent of a reply. A reply is no parent, and neither is a message that is gone."""
    if not arguments.get("thread_ts"):
        return None
    thread = str(arguments["thread_ts"])
    parent = state.messages.get((channel, thread))
    if parent is None:
        raise SlackError("thread_not_found")
    if parent.thread_ts not in (None, thread):
        raise SlackError("cannot_reply_to_message")
    return thread


def _own(state: State, channel: str, arguments: Arguments, otherwise: str) -> Message:
    message = state.message(channel, str(arguments["ts"]))
    if message.user != directory.BOT_USER:
        raise SlackError(otherwise)
    return message


def _warn_without_text(state: State, method: str, arguments: Arguments) -> None:
    """Slack accepts blocks without text; notifications and screen readers then have nothing to say."""
    if arguments.get("blocks") and not arguments.get("text"):
        state.warnings.append(f"{method}: blocks without text")
