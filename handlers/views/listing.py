"""What `list` answers."""

from __future__ import annotations

from datetime import UTC, datetime

from bot.core.story import Story
from handlers.views.page import Header, Note, Page, Para, Table
from handlers.views.paging import paged
from handlers.views.spans import code, line
from handlers.views.words import count, state_words

COLUMNS = ("Cluster", "State", "GPUs", "Preset", "Team", "Available until (UTC)")


def listing(stories: list[Story], page: int = 1) -> Page:
    """Every living cluster with what is being done about it, as many a page as a table of Slack's holds."""
    if not stories:
        empty = line("There are no clusters now. Ask for one with ", code("/gpu-cluster create"), ".")
        return Page(empty, (Para((empty,)),))
    shown, following = paged(stories, page, "/gpu-cluster list")
    said = line(f"There {'is' if len(stories) == 1 else 'are'} {count(len(stories), 'cluster')}.")
    more = line(*following, "More about one of them: ", code("/gpu-cluster status NAME"))
    return Page(said, (Header(count(len(stories), "cluster")), Table(COLUMNS, tuple(map(_row, shown))), Note(more)))


def _row(story: Story) -> tuple[str, ...]:
    over = datetime.fromtimestamp(story.expires_at, UTC).strftime("%Y-%m-%d %H:%M") if story.expires_at else "–"
    report = story.report
    gpus = str(story.spec.gpus) if story.spec else "–"
    if report is not None:
        gpus = f"{report.good} of {report.expected} verified"
    if story.gpus_now is not None and report is not None and story.gpus_now != report.expected:
        gpus = f"{story.gpus_now}, scaled"
    return (story.cluster, state_words(story), gpus, story.spec.preset if story.spec else "–", story.team, over)
