// Slack's markup as DOM nodes. Text only ever becomes text nodes: nothing typed by a person is parsed as HTML.

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const EMOJI = {
  white_check_mark: "✅", heavy_check_mark: "✔️", x: "❌", no_entry: "⛔", no_entry_sign: "🚫", warning: "⚠️",
  hourglass: "⌛", hourglass_flowing_sand: "⏳", rocket: "🚀", tada: "🎉", wave: "👋", lock: "🔒", key: "🔑",
  construction: "🚧", gear: "⚙️", mag: "🔍", wastebasket: "🗑️", moneybag: "💰", alarm_clock: "⏰", eyes: "👀",
  large_green_circle: "🟢", large_yellow_circle: "🟡", red_circle: "🔴", white_circle: "⚪", large_blue_circle: "🔵",
  information_source: "ℹ️", arrow_right: "➡️", sparkles: "✨", broom: "🧹", computer: "💻", thinking_face: "🤔",
};

export const unescape = (text) => text.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");

export const emoji = (name) => EMOJI[name] ?? `:${name}:`;

const INLINE = new RegExp(
  [
    "```(?<pre>[\\s\\S]+?)```",
    "`(?<code>[^`\\n]+)`",
    "<(?<token>[^<>\\n]+)>",
    "(?<![\\w*])\\*(?<bold>\\S(?:[^*\\n]*[^\\s*])?)\\*(?![\\w*])",
    "(?<![\\w_])_(?<italic>\\S(?:[^_\\n]*[^\\s_])?)_(?![\\w_])",
    "(?<![\\w~])~(?<strike>\\S(?:[^~\\n]*[^\\s~])?)~(?![\\w~])",
    "(?<![\\w:]):(?<emoji>[a-z0-9_+-]+):(?![\\w])",
  ].join("|"),
  "g",
);

/** Slack mrkdwn as a fragment. `names` resolves users, groups and channels; `now` is world time in seconds. */
export function mrkdwn(text, names) {
  const fragment = document.createDocumentFragment();
  for (const part of text.split(/((?:^&gt;.*(?:\n|$))+)/m)) {
    if (!part) continue;
    if (part.startsWith("&gt;")) {
      const quoted = part.replace(/\n$/, "").replace(/^&gt; ?/gm, "");
      fragment.append(el("blockquote", {}, inline(quoted, names)));
    } else fragment.append(inline(part, names));
  }
  return fragment;
}

function inline(text, names) {
  const fragment = document.createDocumentFragment();
  let done = 0;
  for (const match of text.matchAll(INLINE)) {
    fragment.append(unescape(text.slice(done, match.index)));
    done = match.index + match[0].length;
    const g = match.groups;
    if (g.pre) fragment.append(el("pre", {}, plain(g.pre.replace(/^\n/, ""))));
    else if (g.code) fragment.append(el("code", {}, plain(g.code)));
    else if (g.token) fragment.append(token(g.token, names));
    else if (g.bold) fragment.append(el("b", {}, inline(g.bold, names)));
    else if (g.italic) fragment.append(el("i", {}, inline(g.italic, names)));
    else if (g.strike) fragment.append(el("s", {}, inline(g.strike, names)));
    else fragment.append(emoji(g.emoji));
  }
  fragment.append(unescape(text.slice(done)));
  return fragment;
}

// Inside code Slack still turns links and mentions into what they show.
const plain = (text) => unescape(text.replace(/<([^<>|]+)(?:\|([^<>]*))?>/g, (_, target, label) => label || target));

function token(body, names) {
  const [target, label] = body.split(/\|(.*)/s);
  if (target.startsWith("@")) return mention("@" + (names.users[target.slice(1)] ?? label ?? target.slice(1)));
  if (target.startsWith("#")) return mention("#" + (names.channels[target.slice(1)] ?? label ?? target.slice(1)));
  if (target.startsWith("!subteam^")) {
    const id = target.slice("!subteam^".length);
    return mention("@" + (names.groups[id] ?? (label ?? id).replace(/^@/, "")));
  }
  if (target.startsWith("!date^")) return dateToken(target, label);
  if (target.startsWith("!")) return mention("@" + target.slice(1));
  return link(unescape(target), unescape(label ?? target));
}

export const mention = (text) => el("span", { class: "mention" }, text);

export function link(url, label) {
  if (!/^(https?:\/\/|mailto:)/.test(url)) return document.createTextNode(label);
  return el("a", { href: url, target: "_blank", rel: "noreferrer noopener" }, label);
}

function dateToken(target, fallback) {
  const [, stamp, format, url] = target.split("^");
  const text = dateText(Number(stamp), unescape(format ?? ""), unescape(fallback ?? ""));
  const relative = (format ?? "").includes("{ago}");
  const node = el("time", { class: "date", title: new Date(Number(stamp) * 1000).toLocaleString() }, text);
  if (relative) Object.assign(node.dataset, { stamp, format, fallback: fallback ?? "" });
  return url ? el("a", { href: /^https?:/.test(url) ? url : null, target: "_blank", rel: "noreferrer" }, node) : node;
}

/** Re-write every "{ago}" on the page; called as the world's clock moves. */
export function refreshDates(root) {
  for (const node of root.querySelectorAll("time[data-stamp]")) {
    const { stamp, format, fallback } = node.dataset;
    node.textContent = dateText(Number(stamp), unescape(format), unescape(fallback));
  }
}

export const clock = { now: () => Date.now() / 1000 };

export function dateText(stamp, format, fallback) {
  if (!Number.isFinite(stamp)) return fallback;
  const date = new Date(stamp * 1000);
  const show = (options) => date.toLocaleString(undefined, options);
  const days = Math.round((midnight(date) - midnight(new Date(clock.now() * 1000))) / 86_400_000);
  const pretty = { "-1": "yesterday", 0: "today", 1: "tomorrow" }[days];
  const forms = {
    date_num: () => date.toISOString().slice(0, 10),
    date: () => show({ dateStyle: "long" }),
    date_short: () => show({ dateStyle: "medium" }),
    date_long: () => show({ dateStyle: "full" }),
    date_pretty: () => pretty ?? show({ dateStyle: "long" }),
    date_short_pretty: () => pretty ?? show({ dateStyle: "medium" }),
    date_long_pretty: () => pretty ?? show({ dateStyle: "full" }),
    time: () => show({ timeStyle: "short" }),
    time_secs: () => show({ timeStyle: "medium" }),
    ago: () => ago(stamp - clock.now()),
  };
  return format.replace(/\{(\w+)\}/g, (whole, name) => forms[name]?.() ?? whole);
}

const midnight = (date) => new Date(date).setHours(0, 0, 0, 0);

function ago(seconds) {
  const size = Math.abs(seconds);
  const [unit, per] = size < 60 ? ["second", 1] : size < 3600 ? ["minute", 60] : size < 86_400 ? ["hour", 3600] : ["day", 86_400];
  return new Intl.RelativeTimeFormat(undefined, { numeric: "auto" }).format(Math.trunc(seconds / per), unit);
}
