"""The kinds of requests, and the rules of each."""

from bot.core.kinds.base import Asked, Opening, Rules
from bot.core.kinds.create import Create
from bot.core.kinds.delete import Delete
from bot.core.kinds.enable import Enable
from bot.core.kinds.extend import ExtendRules
from bot.core.kinds.replace import ReplaceRules
from bot.core.kinds.scale import ScaleRules
from bot.core.kinds.share import ShareRules, UnshareRules
from bot.core.kinds.verify import VerifyRules
from bot.core.records import Kind

_ALL: tuple[Rules, ...] = (
    Create(),
    Delete(),
    ExtendRules(),
    ScaleRules(),
    VerifyRules(),
    ReplaceRules(),
    ShareRules(),
    UnshareRules(),
    Enable(),
)
_RULES: dict[Kind, Rules] = {rules.kind: rules for rules in _ALL}


def rules_of(kind: Kind) -> Rules:
    """The rules of one kind of request."""
    return _RULES[kind]


__all__ = ["Asked", "Opening", "Rules", "rules_of"]
