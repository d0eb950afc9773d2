"""What `status` answers: the request as it stands, and how to get in once there is something to get into."""

from __future__ import annotations

from bot.core.records import Kind, RequestState
from bot.core.story import Story
from handlers.views.outcome import getting_in
from handlers.views.page import Page
from handlers.views.request import request


def status(story: Story) -> Page:
    """One cluster, seen through its newest request."""
    page = request(story, buttons=False)
    if story.kind == Kind.CREATE and story.state == RequestState.DONE:
        return Page(page.text, (*page.parts, *getting_in(story)))
    return page
