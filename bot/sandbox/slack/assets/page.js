// The sandbox's page: what one role sees of the workspace, kept live, and what they can do in it.

import { blocks } from "./blocks.js";
import { clock, el, mrkdwn, refreshDates } from "./mrkdwn.js";

const $ = (id) => document.getElementById(id);
const stored = (key, otherwise) => sessionStorage.getItem(key) ?? otherwise;
const page = {
  me: stored("me", "U0REQUESTER"), channel: stored("channel", "C0GPU"), thread: null,
  state: null, seen: {}, fetching: false, stale: false, jump: null, step: Number(stored("step", 0)),
};

// --- talking to the server ---

async function refresh() {
  if (page.fetching) return void (page.stale = true);
  page.fetching = true;
  try {
    const answer = await fetch(`/sandbox/slack/state?as=${page.me}`);
    page.state = await answer.json();
    tick(page.state.clock);
    draw();
  } finally {
    page.fetching = false;
    if (page.stale) {
      page.stale = false;
      setTimeout(refresh, 40);
    }
  }
}

async function act(gesture) {
  const body = JSON.stringify({ as: page.me, ...gesture });
  const answer = await fetch("/sandbox/slack/act", { method: "POST", headers: { "Content-Type": "application/json" }, body });
  const outcome = answer.ok ? await answer.json() : { ok: false, refused: true, error: await answer.text() };
  if (outcome.refused && gesture.do !== "submit") toast(outcome.error);
  refresh();
  return outcome;
}

function toast(words) {
  $("toast").textContent = words;
  $("toast").classList.add("shown");
  setTimeout(() => $("toast").classList.remove("shown"), 4000);
}

// --- the world's clock: the last two samples give its speed ---

const samples = [];

function tick({ world, real }) {
  samples.push({ world, real, here: performance.now() / 1000 });
  if (samples.length > 8) samples.shift();
}

function speed() {
  const last = samples.at(-1);
  const before = samples.findLast((s) => last.real - s.real > 0.5);
  return before ? (last.world - before.world) / (last.real - before.real) : 1;
}

clock.now = () => {
  const last = samples.at(-1);
  return last ? last.world + (performance.now() / 1000 - last.here) * speed() : Date.now() / 1000;
};

function drawClock() {
  const now = new Date(clock.now() * 1000);
  $("time").textContent = now.toLocaleString(undefined, { weekday: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });
  $("speed").textContent = `×${Math.max(1, Math.round(speed()))}`;
  refreshDates(document.body);
}

// --- drawing ---

const names = () => ({
  users: page.state.users, groups: page.state.groups,
  channels: Object.fromEntries(page.state.channels.map((c) => [c.id, c.name])),
});

const shown = () => page.state.messages[page.channel] ?? [];

function draw() {
  if (page.channel === HOME) return drawHome();
  $("house").classList.remove("home");
  $("composer").hidden = false;
  const current = page.state.channels.find((c) => c.id === page.channel) ?? page.state.channels[0];
  page.channel = current.id;
  drawRoles();
  drawSide();
  $("connected").className = `dot ${page.state.connected ? "on" : ""}`;
  $("connected").title = page.state.connected ? "The bot is connected" : "The bot is not connected";
  $("title").replaceChildren(current.im ? "gpu-cluster" : `# ${current.name}`, el("small", {}, about(current)));
  const top = shown().filter((m) => !m.thread_ts || m.broadcast || m.thread_ts === m.ts);
  drawList($("messages"), top, true);
  if (!top.length) $("messages").replaceChildren(emptyState());
  drawThread();
  drawModal();
  placeholder($("composer"), `Message ${current.im ? "gpu-cluster" : "#" + current.name} as ${page.state.users[page.me]}`);
}

/** The app's Home tab: a view of one's own, published by the bot. */
const HOME = "home";

function drawHome() {
  drawRoles();
  drawSide();
  $("title").replaceChildren("gpu-cluster", el("small", {}, "Home tab, yours alone"));
  $("composer").hidden = true;
  $("thread").hidden = true;
  $("house").classList.remove("threaded");
  const home = page.state.home;
  const key = home ? `${home.id} ${home.hash}` : "none";
  if ($("messages").firstChild?.dataset?.key !== key) {
    const ctx = home && { names: names(), me: page.me, press: (action, confirm) => press({ do: "click_view", view_id: home.id, ...action }, confirm) };
    const node = el("section", { class: "hometab", "aria-label": "Home" }, home ? blocks(home.body.blocks, ctx) : el("p", { class: "faint" }, "The app has not published a Home tab yet."));
    node.dataset.key = key;
    $("messages").replaceChildren(node);
  }
  drawModal();
}

function openHome() {
  page.channel = HOME;
  page.thread = null;
  sessionStorage.setItem("channel", HOME);
  $("messages").replaceChildren();
  draw();
  act({ do: "home" });
}

const about = (channel) =>
  channel.im ? "Direct messages with the bot, visible to you and the bot" :
  { C0GPU: "Ask for GPU clusters here", C0APPROVE: "Leads decide here" }[channel.id] ?? "The bot is not a member";

function drawRoles() {
  $("roles").replaceChildren(...page.state.roles.map((role) =>
    el("button", { type: "button", "aria-pressed": String(role.id === page.me), onclick: () => become(role.id) }, avatar(role.name), role.name)));
}

function become(role) {
  page.me = role;
  sessionStorage.setItem("me", role);
  if (page.channel.startsWith("D")) page.channel = "C0GPU";
  for (const id of ["messages", "replies"]) $(id).replaceChildren();
  $("modal").replaceChildren();
  $("modal").dataset.key = "";
  if (page.channel === HOME) act({ do: "home" });
  return refresh();
}

function drawSide() {
  const row = (c) => {
    const latest = page.state.messages[c.id]?.at(-1)?.ts ?? "";
    const key = `${page.me} ${c.id}`;
    if (c.id === page.channel || page.seen[key] === undefined) page.seen[key] = latest;
    const classes = [c.id === page.channel && "here", latest > page.seen[key] && "unread"].filter(Boolean).join(" ");
    return el("li", { class: classes }, el("button", { type: "button", onclick: () => go(c.id) }, c.im ? "● gpu-cluster" : `# ${c.name}`));
  };
  $("channels").replaceChildren(...page.state.channels.filter((c) => !c.im).map(row));
  const home = el("li", { class: page.channel === HOME ? "here" : "" }, el("button", { type: "button", onclick: openHome }, "⌂ gpu-cluster Home"));
  $("ims").replaceChildren(home, ...page.state.channels.filter((c) => c.im).map(row));
  $("walk").replaceChildren(...WALK.map((step, index) =>
    el("li", { class: index < page.step ? "done" : index === page.step ? "next" : "" },
      el("button", { type: "button", title: step.hint, onclick: () => follow(index) }, step.label))));
}

function go(channel) {
  page.channel = channel;
  page.thread = null;
  sessionStorage.setItem("channel", channel);
  $("messages").replaceChildren();
  draw();
  $("composer").querySelector("textarea").focus();
}

/** Keep the nodes of messages that did not change; scroll along if the reader was at the end. */
function drawList(list, messages, withThreads) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
  const old = new Map([...list.children].map((node) => [node.dataset.key, node]));
  let previous = null;
  const nodes = messages.map((message) => {
    const replies = withThreads ? shown().filter((m) => m.thread_ts === message.ts && m.ts !== message.ts && !m.ephemeral) : [];
    const joined = previous && follows(previous, message);
    previous = message;
    const key = [message.ts, message.rev, replies.length, joined, message.files.length].join(" ");
    const opened = [...list.children].find((n) => n.dataset.ts === message.ts);
    return old.get(key) ?? messageNode(message, replies, joined, key, withThreads, opened);
  });
  const grew = nodes.length > list.children.length;
  nodes.forEach((node, i) => node !== list.children[i] && list.insertBefore(node, list.children[i] ?? null));
  while (list.children.length > nodes.length) list.lastChild.remove();
  const jump = grew && page.jump === list.id;
  if (jump) page.jump = null;
  if (atEnd || jump || !old.size) list.scrollTop = list.scrollHeight;
}

const follows = (a, b) => a.user === b.user && a.ephemeral === b.ephemeral && !b.blocks.length && !b.command && !a.command && b.ts - a.ts < 300;

function messageNode(message, replies, joined, key, withThreads, before) {
  const who = page.state.users[message.user] ?? message.user;
  const open = before && new Set([...before.querySelectorAll("details[open]")].map((d) => d.dataset.block));
  const ctx = {
    names: names(), me: page.me, open,
    press: (action, confirm) => press({ do: "click", channel: page.channel, ts: message.ts, ...action }, confirm),
  };
  const body = message.blocks.length ? blocks(message.blocks, ctx) : message.text ? [el("div", { class: "words" }, mrkdwn(message.text, ctx.names))] : [];
  const classes = ["message", joined && "joined", message.ephemeral && !message.command && "private", message.command && "command"];
  const node = el("article", { class: classes.filter(Boolean).join(" ") },
    joined ? el("span", { class: "gutter" }) : avatar(who),
    el("div", { class: "body" },
      message.ephemeral && el("div", { class: "note" }, message.command ? "You typed" : "Only visible to you"),
      withThreads && message.thread_ts && message.thread_ts !== message.ts && el("div", { class: "note" }, "replied to a thread"),
      !joined && el("div", { class: "by" }, el("b", {}, who), (who === "gpu-cluster" || who === "slackbot") && el("span", { class: "app" }, "APP"), timeOf(message)),
      body,
      message.files.map(fileNode),
      message.edited && !message.blocks.length && el("small", { class: "faint" }, "(edited)"),
      withThreads && !message.ephemeral && threadLine(message, replies)),
    !message.ephemeral && shortcutMenu(message));
  Object.assign(node.dataset, { key, ts: message.ts });
  return node;
}

/** The message shortcuts of the app, as under “More actions” in Slack. */
const shortcutMenu = (message) =>
  el("button", {
    type: "button", class: "more", title: "Message shortcut: GPU cluster status", "aria-label": "GPU cluster status",
    onclick: () => act({ do: "shortcut", callback_id: "gpu_cluster_status", channel: page.channel, ts: message.ts }),
  }, "⋯ status");

const timeOf = (message) =>
  el("time", { title: new Date(message.ts * 1000).toLocaleString() },
    new Date(message.ts * 1000).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" }));

function threadLine(message, replies) {
  const root = message.thread_ts ?? message.ts;
  const label = replies.length ? `${replies.length} ${replies.length === 1 ? "reply" : "replies"}` : "Reply in thread";
  return el("button", { type: "button", class: replies.length ? "replies" : "replies none", onclick: () => openThread(root) }, label);
}

const fileNode = (file) => {
  const href = `/sandbox/slack/file/${file.id}?as=${page.me}`;
  const shown = file.name.endsWith(".png") && el("img", { src: href, alt: file.alt_txt ?? file.title });
  return el("a", { class: "file", href }, el("b", {}, file.title), el("small", {}, `${file.size} bytes`), shown);
};

const COLOURS = { requester: "#4a7fb5", lead: "#5b8c5a", "second-lead": "#8a6fb0", bystander: "#b5835a", "gpu-cluster": "#1f2a37" };

const avatar = (name) =>
  el("span", { class: "avatar", style: `background:${COLOURS[name] ?? "#7a828e"}`, "aria-hidden": "true" }, name === "gpu-cluster" ? "▦" : name[0].toUpperCase());

function emptyState() {
  const line = WALK[0].text;
  return el("div", { class: "empty" },
    el("h2", {}, page.channel.startsWith("D") ? "Talk to the bot" : "Nothing here yet"),
    el("p", {}, "This is a small Slack of its own. Ask for a GPU cluster; somebody else approves it; watch it being built."),
    el("p", {}, "Type this first:"),
    el("button", { type: "button", class: "suggest", onclick: () => { page.step = 0; follow(0); } }, line),
    el("p", { class: "faint" }, "Pick at the top who you are. The walk-through on the left leads you all the way."));
}

// --- the thread ---

function openThread(ts) {
  page.thread = ts;
  $("replies").replaceChildren();
  draw();
  $("reply").querySelector("textarea").focus();
}

function drawThread() {
  const parent = page.thread && shown().find((m) => m.ts === page.thread);
  $("thread").hidden = !parent;
  $("house").classList.toggle("threaded", Boolean(parent));
  if (!parent) return;
  drawList($("replies"), [parent, ...shown().filter((m) => m.thread_ts === page.thread && m.ts !== page.thread)], false);
  placeholder($("reply"), "Reply, for instance: @gpu-cluster status");
}

// --- typing ---

function composer(form, thread) {
  const box = el("textarea", { rows: 1, "aria-label": "Message" });
  const send = el("button", { type: "submit", class: "send", "aria-label": "Send" }, "➤");
  form.append(box, send);
  const grow = () => { box.style.height = "auto"; box.style.height = `${Math.min(box.scrollHeight, 160)}px`; };
  let last = "";
  box.addEventListener("input", grow);
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); form.requestSubmit(); }
    if (event.key === "ArrowUp" && !box.value) { event.preventDefault(); box.value = last; grow(); }
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = box.value.trim();
    if (!text) return;
    [last, box.value] = [text, ""];
    grow();
    page.jump = thread ? "replies" : "messages";
    advance(text);
    act({ do: "say", channel: page.channel, text, ...(thread ? { thread_ts: page.thread } : {}) });
  });
}

function placeholder(form, words) {
  form.querySelector("textarea").placeholder = words;
}

// --- pressing, confirm dialogs, modals ---

async function press(gesture, confirm) {
  if (confirm && !(await ask(confirm))) return;
  advance(gesture.action_id);
  await act(gesture);
}

const ask = (confirm) => new Promise((decide) => {
  const ctx = { names: names(), me: page.me };
  const words = confirm.text.type === "mrkdwn" ? mrkdwn(confirm.text.text, ctx.names) : confirm.text.text;
  const done = (answer) => () => { dialog.remove(); decide(answer); };
  const dialog = overlay(confirm.title.text,
    [el("div", { class: "words" }, words)],
    [el("button", { type: "button", class: "button", onclick: done(false) }, confirm.deny.text),
     el("button", { type: "button", class: `button ${confirm.style ?? "primary"}`, onclick: done(true) }, confirm.confirm.text)],
    done(false));
  document.body.append(dialog);
  dialog.querySelector("footer button:last-child").focus();
});

function overlay(title, body, buttons, cancel) {
  return el("div", { class: "overlay" },
    el("form", { class: "dialog", role: "dialog", "aria-modal": "true", "aria-label": title, novalidate: true },
      el("h2", {}, title, el("button", { type: "button", class: "close", "aria-label": "Close", onclick: cancel }, "×")),
      el("div", { class: "dialog-body" }, body),
      el("footer", {}, buttons)));
}

function drawModal() {
  const view = page.state.views.at(-1);
  const key = view ? `${view.id} ${view.hash}` : "";
  if ($("modal").dataset.key !== key) {
    const same = view && ($("modal").dataset.key ?? "").split(" ")[0] === view.id;
    const typed = same ? fieldValues() : {};
    const focused = same ? document.activeElement?.id : null;
    const scrolled = same ? $("modal").querySelector(".dialog-body")?.scrollTop : 0;
    $("modal").dataset.key = key;
    $("modal").replaceChildren(...(view ? [modal(view)] : []));
    for (const [block, value] of Object.entries(typed)) restore(block, value);
    const body = $("modal").querySelector(".dialog-body");
    if (body && scrolled) body.scrollTop = scrolled;
    const field = (focused && document.getElementById(focused)) || (!same && $("modal").querySelector("input, textarea, select"));
    field?.focus?.();
  }
  for (const field of $("modal").querySelectorAll(".field")) {
    field.querySelector(".wrong").textContent = view.errors[field.dataset.block] ?? "";
  }
  const general = $("modal").querySelector(".general");
  if (general) general.textContent = view.errors[""] ?? "";
}

/** What stands in the inputs of the modal: an update of the view does not take it away. */
const fieldValues = () =>
  Object.fromEntries([...$("modal").querySelectorAll(".field")].map((field) => {
    const control = field.querySelector("input, textarea, select");
    return [field.dataset.block, field.querySelector(".choices") ? null : control?.value ?? null];
  }).filter(([, value]) => value !== null));

function restore(block, value) {
  const control = $("modal").querySelector(`.field[data-block="${CSS.escape(block)}"]`)?.querySelector("input, textarea, select");
  if (control && !control.closest(".choices")) control.value = value;
}

function modal(view) {
  const fields = new Map();
  const values = () => Object.fromEntries([...fields].map(([block, read]) => [block, read()]));
  const ctx = {
    names: names(), me: page.me, fields,
    press: (action, confirm) => press({ do: "click_view", view_id: view.id, values: values(), ...action }, confirm),
  };
  const cancel = () => act({ do: "close", view_id: view.id });
  const submit = view.body.submit && el("button", { type: "submit", class: "button primary" }, view.body.submit.text);
  const node = overlay(view.body.title.text, [blocks(view.body.blocks, ctx), el("p", { class: "wrong general", role: "alert" })].flat(),
    [el("button", { type: "button", class: "button", onclick: cancel }, view.body.close?.text ?? "Close"), submit].filter(Boolean), cancel);
  node.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.classList.add("busy");
    const outcome = await act({ do: "submit", view_id: view.id, values: values() });
    submit.classList.remove("busy");
    if (outcome.refused) node.querySelector(".general").textContent = outcome.error;
  });
  return node;
}

// --- the walk-through ---

const WALK = [
  { label: "Ask for a cluster", as: "U0REQUESTER", text: '/gpu-cluster create blog --preset blog --gpus 1 --hours 8 --reason "the walk-through"', hint: "As requester, in #gpu-clusters" },
  { label: "Approve as a bystander: refused", as: "U0BYSTANDER", press: "approve", hint: "As bystander, press Approve on the card" },
  { label: "Approve your own: refused", as: "U0REQUESTER", press: "approve", hint: "As requester, press Approve on the card" },
  { label: "Approve as another lead", as: "U0LEAD", press: "approve", hint: "As lead, press Approve on the card" },
  { label: "Ask in the thread", as: "U0REQUESTER", text: "@gpu-cluster status", thread: true, hint: "Open the thread of the cluster's message and ask" },
  { label: "Delete it", as: "U0REQUESTER", text: "/gpu-cluster delete blog", hint: "As requester, in #gpu-clusters" },
  { label: "Approve the deletion", as: "U0LEAD", press: "approve", hint: "As lead, press Approve on the card" },
];

async function follow(index) {
  const step = WALK[index];
  page.step = index;
  page.channel = "C0GPU";
  await become(step.as);
  const home = channelWith(step.press) ?? "C0GPU";
  if (home !== page.channel) go(home);
  if (step.thread) {
    const parent = shown().findLast((m) => m.user === page.state.bot && !m.thread_ts && !m.ephemeral);
    if (parent) openThread(parent.ts);
  }
  if (step.press) return toast(step.hint);
  const box = (step.thread && page.thread ? $("reply") : $("composer")).querySelector("textarea");
  box.value = step.text;
  box.dispatchEvent(new Event("input"));
  box.focus();
}

/** The channel that holds the newest message with a button of that action. */
function channelWith(action) {
  if (!action) return null;
  const has = (m) => m.blocks.some((b) => b.elements?.some((e) => e.action_id === action));
  return Object.entries(page.state.messages).find(([, list]) => list.some(has))?.[0];
}

function advance(done) {
  const step = WALK[page.step];
  const same = step && page.me === step.as && (step.press === done || (step.text && done.split(" ", 2).join(" ") === step.text.split(" ", 2).join(" ")));
  if (same) sessionStorage.setItem("step", ++page.step);
}

// --- start ---

composer($("composer"), false);
composer($("reply"), true);
$("close-thread").addEventListener("click", () => { page.thread = null; draw(); });
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") (document.querySelector(".overlay:last-of-type .close") ?? $("close-thread")).click();
});
const stream = new EventSource("/sandbox/slack/stream");
stream.addEventListener("change", refresh);
stream.addEventListener("clock", (event) => {
  const now = JSON.parse(event.data);
  tick(now);
  if (page.state && now.events !== page.state.clock.events) refresh();
});
stream.addEventListener("open", refresh);
setInterval(() => page.state && drawClock(), 250);
refresh();
