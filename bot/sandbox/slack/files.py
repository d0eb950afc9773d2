"""``files.*``: the upload in three steps, and deletion."""

from __future__ import annotations

import secrets
from typing import Any

from bot.sandbox.slack import directory
from bot.sandbox.slack.arguments import need
from bot.sandbox.slack.errors import SlackError
from bot.sandbox.slack.messages import File, Message
from bot.sandbox.slack.state import State

Arguments = dict[str, Any]


def get_upload_url(state: State, arguments: Arguments) -> Arguments:
    """files.getUploadURLExternal: step one, a place to send ``length`` bytes to."""
    need(arguments, ["filename", "length"])
    length = str(arguments["length"])
    if not length.isdigit() or int(length) == 0:
        raise SlackError("invalid_arguments", ["[ERROR] must be a positive integer [json-pointer:/length]"])
    file = File(f"F0{secrets.token_hex(5).upper()}", str(arguments["filename"]), int(length))
    state.files[file.id] = file
    return {"upload_url": f"{state.base_url}/upload/{file.id}", "file_id": file.id}


def receive(state: State, file_id: str, content: bytes) -> None:
    """Step two, the bytes; SlackError ``file_not_found`` or ``invalid_length``."""
    file = state.files.get(file_id)
    if file is None or file.content is not None:
        raise SlackError("file_not_found")
    if len(content) != file.length:
        raise SlackError("invalid_length")
    file.content = content


def complete_upload(state: State, arguments: Arguments) -> Arguments:
    """files.completeUploadExternal: step three, the files appear in a channel (or nowhere, if none is named)."""
    need(arguments, ["files"])
    wanted = {str(entry.get("id")): str(entry.get("title", "")) for entry in arguments["files"]}
    if not all(identity in state.files and state.files[identity].content is not None for identity in wanted):
        raise SlackError("file_not_found")
    channel = state.channel(str(arguments["channel_id"])) if arguments.get("channel_id") else None
    if channel is not None and directory.BOT_USER not in channel.members:
        raise SlackError("not_in_channel")
    files = [state.files[identity] for identity in wanted]
    for file in files:
        file.title, file.shared = wanted[file.id], True
        if channel is not None:
            _share(state, file, channel.id, arguments)
    return {"files": [file.payload() for file in files]}


def delete(state: State, arguments: Arguments) -> Arguments:
    """files.delete: the file is gone, and its messages too unless they say something."""
    need(arguments, ["file"])
    if state.files.pop(str(arguments["file"]), None) is None:
        raise SlackError("file_not_found")
    for message in [m for m in state.messages.values() if m.file_id == arguments["file"]]:
        message.file_id = None
        state.edit(message, None, None) if message.text else state.delete(message)
    return {}


def _share(state: State, file: File, channel: str, arguments: Arguments) -> None:
    file.channel = channel
    text = str(arguments.get("initial_comment", ""))
    thread = str(arguments["thread_ts"]) if arguments.get("thread_ts") else None
    message = Message(channel, state.next_ts(), directory.BOT_USER, text, thread_ts=thread, file_id=file.id)
    state.messages[channel, message.ts] = message
    state.record(
        "file",
        channel=channel,
        thread_ts=thread,
        ts=message.ts,
        user=directory.BOT_USER,
        text=text,
        metadata={"file_id": file.id, "title": file.title or file.name, "size": file.length},
    )
