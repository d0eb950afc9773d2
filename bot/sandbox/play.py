"""Plays: what people type and click in the sandbox, and what they then must see. Written as TOML, one table a step.

    [[step]]
    title = "the requester asks"          # shown by the progress display
    as = "requester"                      # requester, lead, second-lead, bystander
    say = "/gpu-cluster create …"         # or "@gpu-cluster status"; with thread = true in the cluster's thread
    click = "approve"                     # … or the newest button of that name
    expect = "ephemeral"                  # an event of that kind after the step before …
    to = "bystander"                      # … seen by that person only
    contains = "lead"                     # … whose text or blocks hold these words
    outcome = "done"                      # … or the end of the request, in that state
    verdict = "verified"                  # … with that verdict
    pod = "blog"                          # … or: a pod that asks for one GPU and nothing else runs in that cluster
    within = 30                           # real seconds, default 30

A step that does not come true raises `NotSeen`.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

from bot.sandbox import podrun
from bot.sandbox.slack import Event
from bot.sandbox.slack.messages import Message
from bot.sandbox.stage import CHANNEL, Stage

PEOPLE = {
    "requester": "U0REQUESTER",
    "lead": "U0LEAD",
    "second-lead": "U0LEAD2",
    "bystander": "U0BYSTANDER",
}
OUTCOME = "gpu_cluster_outcome"
"""The event type of the metadata on a request's last message."""


class NotSeen(Exception):
    """A step of the play did not come true."""


class EndedBefore(NotSeen):
    """There was nothing to click any more: what was asked came to its end first, and says why itself."""


@dataclass(frozen=True)
class Step:
    """One step; see the module's text. `who` is TOML's `as`."""

    title: str = ""
    who: str = ""
    say: str = ""
    click: str = ""
    thread: bool = False
    expect: str = ""
    to: str = ""
    contains: str = ""
    outcome: str = ""
    verdict: str = ""
    pod: str = ""
    within: float = 30.0


@dataclass(frozen=True)
class Play:
    title: str
    steps: tuple[Step, ...]


def read(path: Path) -> Play:
    """A play from a file; raises ValueError that says what is wrong with it."""
    return parse(path.read_text(), str(path))


def parse(text: str, where: str) -> Play:
    """A play from TOML text; `where` names it in complaints."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{where}: {error}") from None
    known = {field.name for field in fields(Step)}
    steps = []
    for number, table in enumerate(raw.get("step", []), 1):
        values = {("who" if key == "as" else key): value for key, value in table.items()}
        if unknown := set(values) - known:
            raise ValueError(f"{where}: step {number} has keys that no step has: {', '.join(sorted(unknown))}")
        if values.get("who", "requester") not in PEOPLE:
            raise ValueError(f"{where}: step {number} is played by “{values['who']}”; there are {', '.join(PEOPLE)}")
        steps.append(Step(**values))
    if not steps:
        raise ValueError(f"{where}: there is no [[step]] in it")
    return Play(str(raw.get("title", where)), tuple(steps))


def create_and_approve(preset: str, gpus: int) -> Play:
    """The headless default: ask for a cluster, have it approved, see it to its end."""
    line = f'/gpu-cluster create sandbox --preset {preset} --gpus {gpus} --hours 8 --reason "a look at the sandbox"'
    return Play(
        f"create and approve, preset {preset}",
        (
            Step("the requester asks", who="requester", say=line),
            Step("a lead approves", who="lead", click="approve", within=20),
            Step("the cluster is made and measured", outcome="any", within=110),
        ),
    )


class Player:
    """Plays on a stage. `progress` is told each step's title as it begins, `remark` what is seen outside Slack."""

    def __init__(
        self,
        stage: Stage,
        progress: Callable[[int, int, str], None] = lambda *_: None,
        remark: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._stage = stage
        self._workspace = stage.workspace
        self._progress = progress
        self._remark = remark
        self._mark = 0
        self.last_outcome: Event | None = None

    async def play(self, play: Play) -> None:
        """All steps in order; raises `NotSeen` at the first that does not come true."""
        for number, step in enumerate(play.steps, 1):
            self._progress(number, len(play.steps), step.title)
            await self._act(step)

    async def _act(self, step: Step) -> None:
        if step.say:
            await self._say(step)
        elif step.click:
            await self._click(step)
        if step.pod:
            seen = await podrun.run(self._stage.rancher_url, self._stage.clock, step.pod, within=step.within)
            if not seen.startswith("GPU 0:"):
                raise NotSeen(f"{step.title}: the pod printed: {seen or 'nothing'}")
            self._remark(f"the pod in {step.pod} printed: {seen}")
        if step.outcome:
            await self._see_outcome(step)
        elif step.expect or step.contains:
            await self._see(step)

    async def _say(self, step: Step) -> None:
        self._mark = len(self._workspace.events)
        user = PEOPLE[step.who]
        if step.say.startswith("/"):
            delivery = await self._workspace.slash(user, CHANNEL, step.say)
        else:
            thread = (await self._newest(lambda m: m.thread_ts is None and m.user == "U0BOT", step)).ts
            delivery = await self._workspace.mention(user, CHANNEL, step.say, thread_ts=thread if step.thread else None)
        if not delivery.acked:
            raise NotSeen(f"{step.title}: the bot did not answer in time ({delivery.error})")

    async def _click(self, step: Step) -> None:
        message = await self._newest(lambda m: has_button(m, step.click), step)
        self._mark = len(self._workspace.events)
        delivery = await self._workspace.click(PEOPLE[step.who], CHANNEL, message.ts, step.click)
        if not delivery.acked:
            raise NotSeen(f"{step.title}: the click was not answered in time ({delivery.error})")

    async def _newest(self, wanted: Callable[[Message], bool], step: Step) -> Message:
        """The newest message in the channel that is wanted, waited for."""

        def find(_: Event | None = None) -> Message | None:
            mine = [m for m in self._workspace.messages.values() if m.channel == CHANNEL and wanted(m)]
            return max(mine, key=lambda m: m.ts, default=None)

        found = find()
        if found is None:
            await self._wait(lambda event: find(event) is not None or is_outcome(event), step)
            found = find()
        if found is None:
            raise EndedBefore(f"{step.title}: the request had ended before")
        return found

    async def _see_outcome(self, step: Step) -> None:
        event = await self._wait(is_outcome, step)
        self.last_outcome = event
        said = (event.metadata or {}).get("event_payload", {})
        if step.outcome not in ("any", said.get("state")) or step.verdict not in ("", said.get("verdict")):
            raise NotSeen(f"{step.title}: it ended {said.get('state')} {said.get('verdict')}: {event.text}")

    async def _see(self, step: Step) -> None:
        def wanted(event: Event) -> bool:
            words = event.text + json.dumps(event.blocks, ensure_ascii=False)
            return (
                event.kind == (step.expect or event.kind)
                and event.ephemeral_to == (PEOPLE[step.to] if step.to else event.ephemeral_to)
                and step.contains.lower() in words.lower()
                and event.user == "U0BOT"
            )

        await self._wait(wanted, step)

    async def _wait(self, wanted: Callable[[Event], bool], step: Step) -> Event:
        try:
            return await self._workspace.wait_for(wanted, step.within, self._mark)
        except TimeoutError:
            raise NotSeen(f"{step.title}: not seen within {step.within:.0f} s") from None


def has_button(message: Message, action_id: str) -> bool:
    """Whether the message has a button with that action id now."""
    elements = [e for block in message.blocks if block.get("type") == "actions" for e in block.get("elements", [])]
    return any(element.get("action_id") == action_id for element in elements)


def is_outcome(event: Event) -> bool:
    """Whether the event is the end of a request."""
    return event.kind == "message" and (event.metadata or {}).get("event_type") == OUTCOME
