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
    alt = str(arguments.get("alt_txt", ""))
    file = File(f"F0{secrets.token_hex(5).upper()}", str(arguments["filename"]), int(length), alt=alt)
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
    """files.completeUploadExternal: step three. The files appear together, as one message of a channel (or nowhere, if
    none is named); each can be completed once."""
    need(arguments, ["files"])
    entries = arguments["files"]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise SlackError("invalid_arguments", ["[ERROR] must be a list of objects [json-pointer:/files]"])
    wanted = {str(entry.get("id")): str(entry.get("title", "")) for entry in entries}
    files = [state.files[identity] for identity in wanted if identity in state.files]
    if len(files) != len(entries) or any(file.content is None or file.shared for file in files):
        raise SlackError("file_not_found")
    channel = state.channel(str(arguments["channel_id"])) if arguments.get("channel_id") else None
    if channel is not None and directory.BOT_USER not in channel.members:
        raise SlackError("not_in_channel")
    thread = str(arguments["thread_ts"]) if arguments.get("thread_ts") else None
    if thread is not None and (channel is None or (channel.id, thread) not in state.messages):
        raise SlackError("thread_not_found")
    for file in files:
        file.title, file.shared, file.channel = wanted[file.id], True, channel.id if channel else None
    if channel is not None:
        _share(state, files, channel.id, thread, str(arguments.get("initial_comment", "")))
    return {"files": [file.payload() for file in files]}


def delete(state: State, arguments: Arguments) -> Arguments:
    """files.delete: the file is gone, and its messages too unless they say something."""
    need(arguments, ["file"])
    if state.files.pop(str(arguments["file"]), None) is None:
        raise SlackError("file_not_found")
    gone = str(arguments["file"])
    for message in [m for m in state.messages.values() if gone in m.file_ids]:
        message.file_ids = tuple(identity for identity in message.file_ids if identity != gone)
        if message.text or message.file_ids:
            state.edit(message, None, None)
        else:
            state.delete(message)
    return {}


def _share(state: State, files: list[File], channel: str, thread: str | None, text: str) -> None:
    identities = tuple(file.id for file in files)
    message = Message(channel, state.next_ts(), directory.BOT_USER, text, thread_ts=thread, file_ids=identities)
    state.messages[channel, message.ts] = message
    for file in files:
        state.record(
            "file",
            channel=channel,
            thread_ts=thread,
            ts=message.ts,
            user=directory.BOT_USER,
            text=text,
            metadata={"file_id": file.id, "title": file.title or file.name, "size": file.length},
        )
