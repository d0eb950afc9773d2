"""The Web API as slack_sdk's own client sees it: what works, and each refusal."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.webhook import WebhookClient

from bot.sandbox.slack import ThreadedSlack, Workspace
from bot.sandbox.slack.messages import Message

SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "words"}}
MODAL = {
    "type": "modal",
    "external_id": "form-1",
    "title": {"type": "plain_text", "text": "New"},
    "blocks": [SECTION],
}


class Clock:
    """Real time that a test can move."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def slack(clock: Clock) -> Iterator[ThreadedSlack]:
    with ThreadedSlack(Workspace(real_clock=clock)) as running:
        yield running


@pytest.fixture
def client(slack: ThreadedSlack) -> WebClient:
    return WebClient(slack.workspace.bot_token, base_url=slack.api_url, retry_handlers=[])


def refusal(call: Callable[..., Any], **arguments: Any) -> str:
    """The error code of a call that must be refused."""
    with pytest.raises(SlackApiError) as caught:
        call(**arguments)
    return str(caught.value.response["error"])


def trigger(slack: ThreadedSlack, user: str = "U0REQUESTER") -> str:
    return slack.workspace.issue_trigger(user, "C0GPU")


def test_who_the_bot_is(client: WebClient) -> None:
    answer = client.auth_test()
    assert (answer["team_id"], answer["user_id"], answer["bot_id"]) == ("T0SANDBOX", "U0BOT", "B0BOT")


def test_tokens(slack: ThreadedSlack, client: WebClient) -> None:
    bot, app = slack.workspace.bot_token, slack.workspace.app_token
    assert refusal(WebClient("xoxb-wrong", base_url=slack.api_url).auth_test) == "invalid_auth"
    assert refusal(WebClient(base_url=slack.api_url).auth_test) == "not_authed"
    assert refusal(client.apps_connections_open, app_token=bot) == "not_allowed_token_type"
    assert refusal(WebClient(app, base_url=slack.api_url).auth_test) == "not_allowed_token_type"
    assert client.apps_connections_open(app_token=app)["url"].startswith("ws://127.0.0.1:")


def test_unknown_method_and_missing_arguments(client: WebClient) -> None:
    assert refusal(client.api_call, api_method="chat.shout") == "unknown_method"
    with pytest.raises(SlackApiError) as caught:
        client.api_call("chat.postMessage", json={"text": "x"})
    assert caught.value.response["error"] == "invalid_arguments"
    assert caught.value.response["response_metadata"]["messages"] == ["[ERROR] missing required field: channel"]


def test_post_edit_delete(slack: ThreadedSlack, client: WebClient) -> None:
    posted = client.chat_postMessage(
        channel="C0GPU",
        text="one",
        blocks=[SECTION],
        metadata={"event_type": "card", "event_payload": {"id": "r1"}},
    )
    client.chat_update(channel="C0GPU", ts=posted["ts"], text="two")
    assert slack.workspace.messages["C0GPU", posted["ts"]].text == "two"
    assert slack.workspace.messages["C0GPU", posted["ts"]].blocks[0]["text"] == SECTION["text"]
    link = client.chat_getPermalink(channel="C0GPU", message_ts=posted["ts"])["permalink"]
    assert link.endswith(f"/archives/C0GPU/p{posted['ts'].replace('.', '')}")
    client.chat_delete(channel="C0GPU", ts=posted["ts"])
    kinds = [(event.kind, event.text) for event in slack.workspace.events]
    assert kinds == [("message", "one"), ("edit", "two"), ("delete", "two")]
    assert slack.workspace.events[0].metadata == {"event_type": "card", "event_payload": {"id": "r1"}}


def test_where_and_what_may_not_be_posted(slack: ThreadedSlack, client: WebClient) -> None:
    post = client.chat_postMessage
    assert refusal(post, channel="C0NOWHERE", text="x") == "channel_not_found"
    assert refusal(post, channel="C0OTHER", text="x") == "not_in_channel"
    empty = {"channel": "C0GPU", "text": ""}
    assert refusal(client.api_call, api_method="chat.postMessage", json=empty) == "no_text"
    assert refusal(post, channel="C0GPU", text="x" * 40_001) == "msg_too_long"
    lists = {"event_type": "card", "event_payload": {"ids": ["a"]}}
    assert refusal(post, channel="C0GPU", text="x", metadata=lists) == "invalid_metadata_format"
    assert refusal(post, channel="C0GPU", text="x", thread_ts="1.2") == "thread_not_found"
    parent = post(channel="C0GPU", text="parent")["ts"]
    reply = post(channel="C0GPU", text="reply", thread_ts=parent)["ts"]
    assert refusal(post, channel="C0GPU", text="x", thread_ts=reply) == "cannot_reply_to_message"


def test_refused_blocks_are_explained(client: WebClient) -> None:
    with pytest.raises(SlackApiError) as caught:
        client.chat_postMessage(channel="C0GPU", text="x", blocks=[{"type": "divider"}] * 51)
    assert caught.value.response["error"] == "invalid_blocks"
    [message] = caught.value.response["response_metadata"]["messages"]
    assert message == "[ERROR] no more than 50 items allowed [json-pointer:/blocks]"


def test_blocks_without_text_are_noted(slack: ThreadedSlack, client: WebClient) -> None:
    client.api_call("chat.postMessage", json={"channel": "C0GPU", "blocks": [SECTION]})
    assert slack.workspace.warnings == ["chat.postMessage: blocks without text"]


def test_only_own_messages_can_be_changed(slack: ThreadedSlack, client: WebClient) -> None:
    theirs: Message = slack.do(slack.workspace.say("U0LEAD", "C0GPU", "mine"))
    assert refusal(client.chat_update, channel="C0GPU", ts=theirs.ts, text="x") == "cant_update_message"
    assert refusal(client.chat_delete, channel="C0GPU", ts=theirs.ts) == "cant_delete_message"
    assert refusal(client.chat_update, channel="C0GPU", ts="1.2", text="x") == "message_not_found"


def test_ephemerals_are_for_one_and_cannot_be_edited(slack: ThreadedSlack, client: WebClient) -> None:
    ts = client.chat_postEphemeral(channel="C0GPU", user="U0LEAD", text="psst")["message_ts"]
    assert slack.workspace.events[-1].ephemeral_to == "U0LEAD"
    assert refusal(client.chat_update, channel="C0GPU", ts=ts, text="x") == "message_not_found"
    stranger = refusal(client.chat_postEphemeral, channel="C0GPU", user="U0NOBODY", text="x")
    assert stranger == "user_not_in_channel"


def test_people_groups_and_channels(client: WebClient) -> None:
    assert client.users_info(user="U0GUEST")["user"]["is_restricted"] is True
    assert client.users_info(user="U0GONE")["user"]["deleted"] is True
    assert client.users_info(user="U0FOREIGN")["user"]["team_id"] == "T0OTHER"
    assert refusal(client.users_info, user="U0NOBODY") == "user_not_found"
    assert client.usergroups_list()["usergroups"][0]["handle"] == "gpu-leads"
    leads = client.usergroups_users_list(usergroup="S0LEADS")["users"]
    assert leads == ["U0REQUESTER", "U0LEAD", "U0LEAD2"]
    assert refusal(client.usergroups_users_list, usergroup="S0NONE") == "no_such_subteam"
    assert client.conversations_info(channel="C0OTHER")["channel"]["is_member"] is False
    dm = client.conversations_open(users="U0LEAD")["channel"]["id"]
    assert client.conversations_info(channel=dm)["channel"]["user"] == "U0LEAD"
    assert client.chat_postMessage(channel="U0LEAD", text="hello")["channel"] == dm
    assert refusal(client.conversations_open, users="U0GONE") == "user_disabled"


def test_triggers_last_three_seconds_and_work_once(slack: ThreadedSlack, client: WebClient, clock: Clock) -> None:
    used = trigger(slack)
    client.views_open(trigger_id=used, view=MODAL)
    assert refusal(client.views_open, trigger_id=used, view=MODAL) == "exchanged_trigger_id"
    late = trigger(slack)
    clock.now += 3.1
    assert refusal(client.views_open, trigger_id=late, view=MODAL) == "expired_trigger_id"
    assert refusal(client.views_open, trigger_id="1.2", view=MODAL) == "invalid_trigger_id"


def test_views(slack: ThreadedSlack, client: WebClient) -> None:
    view = client.views_open(trigger_id=trigger(slack), view=MODAL)["view"]
    fresh = client.views_update(view_id=view["id"], hash=view["hash"], view=MODAL)["view"]
    assert fresh["hash"] != view["hash"]
    stale = refusal(client.views_update, view_id=view["id"], hash=view["hash"], view=MODAL)
    assert stale == "hash_conflict"
    assert client.views_update(external_id="form-1", view=MODAL)["view"]["id"] == view["id"]
    assert refusal(client.views_update, view_id="V0NONE", view=MODAL) == "not_found"
    bad = {**MODAL, "title": {"type": "plain_text", "text": "t" * 25}}
    assert refusal(client.views_open, trigger_id=trigger(slack), view=bad) == "invalid_arguments"
    for _ in range(2):
        client.views_push(trigger_id=trigger(slack), view=MODAL)
    assert refusal(client.views_push, trigger_id=trigger(slack), view=MODAL) == "push_limit_reached"
    home = {"type": "home", "blocks": [SECTION]}
    assert client.views_publish(user_id="U0LEAD", view=home)["view"]["type"] == "home"
    assert refusal(client.views_publish, user_id="U0LEAD", view=MODAL) == "invalid_arguments"


@pytest.mark.parametrize(
    ("method", "arguments", "allowed"),
    [
        ("chat.update", {"text": "x"}, 60),
        ("chat.postMessage", {"text": "x"}, 30),
        ("usergroups.users.list", {"usergroup": "S0LEADS"}, 20),
    ],
)
def test_rate_limits(client: WebClient, clock: Clock, method: str, arguments: dict[str, str], allowed: int) -> None:
    where = {"channel": "C0GPU", "ts": client.chat_postMessage(channel="C0GPU", text="x")["ts"]}
    clock.now += 120
    for _ in range(allowed):
        client.api_call(method, json={**where, **arguments})
    with pytest.raises(SlackApiError) as caught:
        client.api_call(method, json={**where, **arguments})
    assert (caught.value.response.status_code, caught.value.response["error"]) == (429, "ratelimited")
    clock.now += int(caught.value.response.headers["Retry-After"])
    client.api_call(method, json={**where, **arguments})


def test_posts_are_limited_per_channel(client: WebClient) -> None:
    for _ in range(30):
        client.chat_postMessage(channel="C0GPU", text="x")
    assert refusal(client.chat_postMessage, channel="C0GPU", text="x") == "ratelimited"
    client.chat_postMessage(channel="C0APPROVE", text="x")


def test_connections_are_limited(slack: ThreadedSlack, client: WebClient) -> None:
    token = slack.workspace.app_token
    for _ in range(10):
        client.apps_connections_open(app_token=token)
    assert refusal(client.apps_connections_open, app_token=token) == "ratelimited"


def test_injected_faults_and_counts(slack: ThreadedSlack, client: WebClient) -> None:
    slack.workspace.inject_429(2)
    for _ in range(2):
        with pytest.raises(SlackApiError) as caught:
            client.chat_postMessage(channel="C0GPU", text="x")
        assert caught.value.response.headers["Retry-After"] == "1"
    client.chat_postMessage(channel="C0GPU", text="x")
    slack.workspace.inject("usergroups.users.list", status=500)
    assert refusal(client.usergroups_users_list, usergroup="S0LEADS") == "internal_error"
    with urllib.request.urlopen(f"{slack.workspace.base_url}/sandbox/slack/calls") as answer:
        assert b'"chat.postMessage": 3' in answer.read()


def test_files_are_uploaded_shared_and_deleted(slack: ThreadedSlack, client: WebClient) -> None:
    uploaded = client.files_upload_v2(content=b"gpu,ok\n", filename="gpus.csv", channel="C0GPU", title="GPUs")
    file = slack.workspace.files[uploaded["file"]["id"]]
    assert (file.content, file.title, file.channel) == (b"gpu,ok\n", "GPUs", "C0GPU")
    client.files_delete(file=file.id)
    assert [event.kind for event in slack.workspace.events] == ["file", "delete"]
    assert refusal(client.files_delete, file=file.id) == "file_not_found"


def test_an_upload_of_another_length_is_refused(client: WebClient) -> None:
    ticket = client.files_getUploadURLExternal(filename="a.csv", length=5)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(ticket["upload_url"], data=b"abc")
    with caught.value as response:
        assert (response.status, response.read()) == (400, b"invalid_length")
    unfinished = [{"id": ticket["file_id"]}]
    assert refusal(client.files_completeUploadExternal, files=unfinished) == "file_not_found"


def test_response_url_works_five_times(slack: ThreadedSlack) -> None:
    webhook = WebhookClient(slack.workspace.issue_response_url("U0LEAD", "C0GPU"))
    assert [webhook.send(text=f"{n}").status_code for n in range(6)] == [200] * 5 + [404]
    assert "used_url" in slack.workspace.warnings[-1]
    assert {event.ephemeral_to for event in slack.workspace.events} == {"U0LEAD"}


def test_response_url_expires_after_thirty_minutes(slack: ThreadedSlack, clock: Clock) -> None:
    webhook = WebhookClient(slack.workspace.issue_response_url("U0LEAD", "C0GPU"))
    clock.now += 30 * 60
    assert webhook.send(text="in time", response_type="in_channel").status_code == 200
    assert slack.workspace.events[-1].kind == "message"
    clock.now += 1
    late = webhook.send(text="late")
    assert (late.status_code, "expired_url" in late.body) == (404, True)


def test_response_url_replaces_and_deletes_what_was_clicked(slack: ThreadedSlack, client: WebClient) -> None:
    ts = client.chat_postMessage(channel="C0GPU", text="card")["ts"]
    card = slack.workspace.messages["C0GPU", ts]
    url = slack.workspace.issue_response_url("U0LEAD", "C0GPU", original=card)
    webhook = WebhookClient(url)
    assert webhook.send(text="decided", replace_original=True).status_code == 200
    assert card.text == "decided"
    assert webhook.send(text="x", blocks=[{"type": "hologram"}]).status_code == 400
    assert webhook.send(delete_original=True).status_code == 200
    assert ("C0GPU", ts) not in slack.workspace.messages


def test_several_files_are_one_message_and_each_is_shared_once(slack: ThreadedSlack, client: WebClient) -> None:
    parent = client.chat_postMessage(channel="C0GPU", text="results")["ts"]
    uploads = [{"content": b"a", "filename": "a.json"}, {"content": b"b", "filename": "b.png", "alt_txt": "bars"}]
    done = client.files_upload_v2(file_uploads=uploads, channel="C0GPU", thread_ts=parent, initial_comment="both")
    told = [event for event in slack.workspace.events if event.kind == "file"]
    assert {(event.ts, event.thread_ts, event.text) for event in told} == {(told[0].ts, parent, "both")}
    assert [file.get("alt_txt") for file in done["files"]] == [None, "bars"]
    again = [{"id": file["id"]} for file in done["files"]]
    assert refusal(client.files_completeUploadExternal, files=again, channel_id="C0GPU") == "file_not_found"
    lost = {"file_uploads": uploads, "channel": "C0GPU", "thread_ts": "1.000100"}
    assert refusal(client.files_upload_v2, **lost) == "thread_not_found"


def test_an_upload_needs_its_scope_and_a_form(slack: ThreadedSlack, client: WebClient) -> None:
    arguments = {"filename": "a.csv", "length": 5}
    assert refusal(client.api_call, "files.getUploadURLExternal", json=arguments) == "invalid_arguments"
    slack.workspace.missing_scopes.add("files:write")
    assert refusal(client.files_getUploadURLExternal, **arguments) == "missing_scope"
