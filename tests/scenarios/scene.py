"""A stage with the bot at work, what people do on it, and what can be counted afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import boto3

from bot.sandbox.play import is_outcome
from bot.sandbox.show import raise_curtain
from bot.sandbox.slack import Delivery, Event
from bot.sandbox.slack.messages import Message
from bot.sandbox.stage import CHANNEL, Plot, Stage

REQUESTER, LEAD, LEAD2, BYSTANDER = "U0REQUESTER", "U0LEAD", "U0LEAD2", "U0BYSTANDER"
BOT = "U0BOT"
SPEED = 120.0
T = TypeVar("T")

# What one cluster of one GPU comes to when nothing is done twice, as the simulated Rancher's log has it.
MADE_ONCE = {
    "cluster-created": 1,
    "machine-created": 3,
    "instance-running": 3,
    "repo-created": 1,
    "operation-created": 1,
    "app-deployed": 1,
    "job-created": 1,
    "job-finished": 1,
}


@contextlib.asynccontextmanager
async def scene(
    folder: Path, *, speed: float = SPEED, faults: tuple[str, ...] = (), **plot: Any
) -> AsyncIterator[Scene]:
    """A stage on which the bot is at work. `plot` as in `Plot`."""
    async with Stage(folder, Plot(speed=speed, faults=faults, **plot)) as stage:
        await raise_curtain(stage)
        yield Scene(stage)


class Scene:
    """Gestures and looks. Times to wait are real seconds."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.slack = stage.workspace

    # --- what people do -----------------------------------------------------------------------------------

    async def type(self, line: str, user: str = REQUESTER, *, duplicate: bool = False) -> Delivery:
        """A line after /gpu-cluster; it must be acknowledged."""
        delivery = await self.slack.slash(user, CHANNEL, line, duplicate=duplicate)
        assert delivery.acked, delivery.error
        return delivery

    async def create(self, name: str, *, user: str = REQUESTER, gpus: int = 1, duplicate: bool = False) -> None:
        line = f'create {name} --preset starter --gpus {gpus} --hours 8 --reason "a scenario"'
        await self.type(line, user, duplicate=duplicate)

    async def delete(self, name: str, user: str = REQUESTER) -> None:
        await self.type(f"delete {name}", user)

    async def card(self, name: str, button: str = "approve") -> Message:
        """The newest message about that cluster that has the button, once there is one."""

        def find() -> Message | None:
            mine = [m for m in self.parents(name) if button in _buttons(m.blocks)]
            return max(mine, key=lambda m: m.ts, default=None)

        return await self._until(find, f"{name} has no button {button}")

    async def click(self, card: Message, button: str, user: str = LEAD, *, duplicate: bool = False) -> Delivery:
        return await self.slack.click(user, CHANNEL, card.ts, button, duplicate=duplicate)

    async def approve(self, name: str, user: str = LEAD) -> None:
        """Press Approve and be told that it was taken."""
        card, since = await self.card(name), self.mark
        assert (await self.click(card, "approve", user)).acked
        await self.told(user, "You approved", since)

    async def create_and_approve(self, name: str) -> None:
        await self.create(name)
        await self.approve(name)

    # --- what there is to see -----------------------------------------------------------------------------

    @property
    def mark(self) -> int:
        """A position in the events: what comes after it is new."""
        return len(self.slack.events)

    async def told(self, user: str, words: str, since: int = 0, within: float = 20) -> Event:
        """Something that only `user` sees, with those words."""

        def wanted(event: Event) -> bool:
            return event.kind == "ephemeral" and event.ephemeral_to == user and words.lower() in event.text.lower()

        return await self._seen(wanted, f"{user} was not told “{words}”", since, within)

    async def answered(self, user: str, words: str, since: int = 0, within: float = 20) -> Event:
        """An answer that only `user` sees, as a message or as a form, with those words in its text or blocks."""

        def wanted(event: Event) -> bool:
            return event.ephemeral_to == user and event.kind in ("ephemeral", "view") and words in plain(event)

        return await self._seen(wanted, f"{user} was not answered “{words}”", since, within)

    async def shown(self, name: str, words: str, since: int = 0, within: float = 20) -> Event:
        """A message or an edit about that cluster whose text or blocks have those words."""

        def wanted(event: Event) -> bool:
            return event.kind in ("message", "edit") and name in event.text and words in plain(event)

        return await self._seen(wanted, f"{name}: “{words}” was not shown", since, within)

    async def outcome(self, name: str, since: int = 0, within: float = 60) -> dict[str, Any]:
        """How a request about that cluster ended, as the message says it to programs."""

        def wanted(event: Event) -> bool:
            return is_outcome(event) and payload_of(event)["cluster"] == name

        return payload_of(await self._seen(wanted, f"{name} did not end", since, within))

    async def _seen(self, wanted: Callable[[Event], bool], complaint: str, since: int, within: float) -> Event:
        try:
            return await self.slack.wait_for(wanted, within, since)
        except TimeoutError:
            raise AssertionError(f"{complaint} in {within} s:\n{self._heard(since)}") from None

    def _heard(self, since: int = 0) -> str:
        """The end of what happened in Slack, and of the bot's log."""
        said = [f"{e.kind} {e.ephemeral_to or ''} {e.text}" for e in self.slack.events[since:]]
        return "\n".join([*said[-15:], self.stage.bot_log()])

    async def happened(self, kind: str, cluster: str, within: float = 45) -> None:
        """The simulated Rancher's log has that word about the cluster."""

        def find() -> bool | None:
            return any(e.kind == kind and e.cluster == cluster for e in self.stage.world.events) or None

        await self._until(find, f"{cluster} has no {kind}", within)

    def parents(self, name: str) -> list[Message]:
        """The messages of the channel, outside threads, that are about that cluster."""
        return [
            m
            for m in self.slack.messages.values()
            if m.channel == CHANNEL and m.thread_ts is None and m.user == BOT and f"cluster {name}:" in m.text
        ]

    def outcomes(self, name: str) -> int:
        """How many messages tell the end of a request about that cluster."""
        return sum(is_outcome(e) and payload_of(e)["cluster"] == name for e in self.slack.events)

    # --- what can be counted ------------------------------------------------------------------------------

    def made(self, cluster: str, kinds: Iterable[str] = tuple(MADE_ONCE)) -> dict[str, int]:
        """How often each thing came true for the cluster, over all its lives."""
        counts = Counter(e.kind for e in self.stage.world.events if e.cluster == cluster)
        return {kind: counts[kind] for kind in kinds}

    def instances(self) -> list[str]:
        """The states of all instances that were ever started in the account."""
        return sorted(state for _, state in self.machines())

    def machines(self) -> list[tuple[str, str]]:
        """Type and state of all of them."""
        env = self.stage.environment
        ec2 = boto3.client(
            "ec2",
            endpoint_url=env["AWS_ENDPOINT_URL"],
            region_name=env["AWS_DEFAULT_REGION"],
            aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        )
        try:
            found = ec2.describe_instances()["Reservations"]
        finally:
            ec2.close()
        return [(i["InstanceType"], i["State"]["Name"]) for one in found for i in one["Instances"]]

    async def _until(self, find: Callable[[], T | None], complaint: str, within: float = 20) -> T:
        try:
            async with asyncio.timeout(within):
                while (found := find()) is None:
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{complaint} after {within} s:\n{self._heard()}") from None
        return found


@contextlib.asynccontextmanager
async def program(stage: Stage, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another process of the program under the same settings; ended at the end."""
    with (stage.folder / "beside.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bot.cli", *arguments, env=stage.environment, stdout=log, stderr=log, cwd=stage.folder
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 15)


def plain(event: Event) -> str:
    """Everything that stands in an event, as one text."""
    return f"{event.text} {event.blocks}"


def payload_of(event: Event) -> dict[str, Any]:
    payload: dict[str, Any] = (event.metadata or {})["event_payload"]
    return payload


def _buttons(blocks: list[dict[str, Any]]) -> set[str]:
    return {e["action_id"] for b in blocks if b["type"] == "actions" for e in b["elements"]}
