"""What `history` answers: the audit trail of a cluster, in words."""

from __future__ import annotations

import json

from bot.core.desk import History
from bot.core.records import AuditRow, Kind, RequestState
from handlers.views.page import Bullets, Header, Note, Page
from handlers.views.spans import Line, code, line, moment, who
from handlers.views.words import clip, count

_ENDS = {
    RequestState.AWAITING_APPROVAL: "passed its checks and waits for a lead",
    RequestState.APPROVED: "was approved",
    RequestState.RUNNING: "began",
    RequestState.DONE: "was done",
    RequestState.FAILED: "failed",
    RequestState.CANCELLED: "was cancelled",
    RequestState.DENIED: "was denied",
    RequestState.LAPSED: "lapsed",
}
_ACTORS = {"engine": "the bot", "policy": "the policy"}


def history(told: History) -> Page:
    """A page of it, oldest line first."""
    pages = f", page {told.page} of {told.pages}" if told.pages > 1 else ""
    said = line(f"History of {told.cluster}{pages}: {count(len(told.lines), 'line')}.")
    items = tuple(_line(row, told.kinds.get(row.request_id)) for row in told.lines)
    parts = (Header(f"History of {told.cluster}{pages}"), Bullets(items))
    if told.page < told.pages:
        more = code(f"/gpu-cluster history {told.cluster} {told.page + 1}")
        return Page(said, (*parts, Note(line("More: ", more))))
    return Page(said, parts)


def _line(row: AuditRow, kind: Kind | None) -> Line:
    actor = who(row.actor) if row.actor not in _ACTORS else _ACTORS[row.actor]
    return line(moment(row.at), " ", actor, f": {_words(row, kind)}")


def _words(row: AuditRow, kind: Kind | None) -> str:
    before, arrow, after = row.action.partition(" → ")
    if arrow and before.startswith("cluster "):
        return f"the cluster is {after}{_detail(row.detail)}"
    if arrow:
        if row.detail == "retry":
            return f"{kind or 'request'} goes on after it had failed"
        end = _ENDS.get(RequestState(after), after) if after in RequestState.__members__.values() else after
        reason = _detail(row.detail) if after in (RequestState.DENIED, RequestState.FAILED) else ""
        return f"{kind or 'request'} {end}{reason}"
    if row.action == "approved":
        return f"approved {kind or 'the request'} {row.detail[:8]}{row.detail[64:]}"
    return f"{row.action}{_detail(row.detail)}"


def _detail(text: str) -> str:
    """What was said beside it; a wish in JSON by its reason, or its values."""
    _, brace, tail = text.partition("{")
    try:
        wish = json.loads(brace + tail) if brace else None
    except ValueError:
        wish = None
    if isinstance(wish, dict):
        text = str(wish.get("reason") or ", ".join(f"{key} {value}" for key, value in wish.items()))
    return f": {clip(text, 200)}" if text else ""
