"""What the bodies of acks do: text after a slash command, ``response_action`` after a submitted modal."""

from __future__ import annotations

from typing import Any

from bot.sandbox.slack import directory
from bot.sandbox.slack.blocks import check_blocks
from bot.sandbox.slack.errors import SlackError
from bot.sandbox.slack.messages import Message
from bot.sandbox.slack.state import State
from bot.sandbox.slack.views import View

TROUBLE = "We had some trouble connecting. Try again?"


def after_command(state: State, user: str, channel: str, body: dict[str, Any] | None) -> None:
    """Show the ack of a slash command: to its user only, unless ``response_type`` is ``in_channel``."""
    if not body:
        return
    text, blocks = str(body.get("text", "")), body.get("blocks", [])
    if problems := check_blocks(blocks, "message"):
        state.warnings.append(f"slash ack: invalid_blocks: {problems}")
        state.tell(user, channel, f'{directory.COMMAND} failed with the error "invalid_command_response"')
        return
    private = body.get("response_type", "ephemeral") != "in_channel"
    state.post(
        Message(channel, state.next_ts(), directory.BOT_USER, text, blocks, ephemeral_to=user if private else None)
    )


def after_submission(state: State, view: View, body: dict[str, Any] | None) -> None:
    """Do what the app answered to a submitted modal: nothing closes it, else errors, update, push or clear."""
    try:
        _respond(state, view, body or {})
    except SlackError as error:
        state.warnings.append(f"view ack: {error}")
        view.errors = {"": TROUBLE}
        state.record_view(view, "trouble")


def _respond(state: State, view: View, body: dict[str, Any]) -> None:
    match body.get("response_action"):
        case None:
            state.views.close(view)
            state.record_view(view, "closed")
        case "clear":
            state.views.close(view, everything=True)
            state.record_view(view, "closed")
        case "errors":
            view.errors = _errors(view, body.get("errors"))
            state.record_view(view, "errors")
        case "update":
            state.views.update(view, body.get("view", {}))
            state.record_view(view, "updated")
        case "push":
            state.record_view(state.views.push(view.user, body.get("view", {})), "opened")
        case other:
            raise SlackError("invalid_arguments", [f"[ERROR] unknown response_action: {other}"])


def _errors(view: View, errors: object) -> dict[str, str]:
    inputs = {block["block_id"] for block in view.body["blocks"] if block["type"] == "input"}
    if not isinstance(errors, dict) or not errors or not errors.keys() <= inputs:
        raise SlackError("invalid_arguments", [f"[ERROR] errors must name input blocks: {errors}"])
    return {block: str(text) for block, text in errors.items()}
