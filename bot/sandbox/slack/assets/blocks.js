// Block Kit as DOM nodes. `ctx` carries: names, me, press(action) for interactive elements, errors for inputs.

import { el, emoji, link, mention, mrkdwn, dateText } from "./mrkdwn.js";

export const text = (object, ctx) =>
  !object ? "" : object.type === "mrkdwn" ? mrkdwn(object.text, ctx.names) : withEmoji(object.text);

const withEmoji = (string) => string.replace(/:([a-z0-9_+-]+):/g, (_, name) => emoji(name));

export const blocks = (list, ctx) => list.map((block) => (BLOCKS[block.type] ?? unknown)(block, ctx));

const unknown = (block) => el("p", { class: "faint" }, `[${block.type}]`);

const BLOCKS = {
  header: (b, ctx) => el("h3", { class: "header" }, text(b.text, ctx)),
  divider: () => el("hr"),
  section: (b, ctx) =>
    el("div", { class: "section" },
      el("div", { class: "grow" },
        b.text && el("div", { class: "words" }, text(b.text, ctx)),
        b.fields && el("div", { class: "fields" }, b.fields.map((f) => el("div", { class: "words" }, text(f, ctx))))),
      b.accessory && element(b.accessory, b, ctx)),
  context: (b, ctx) =>
    el("div", { class: "context" },
      b.elements.map((e) => (e.type === "image" ? picture(e, "icon") : el("span", {}, text(e, ctx))))),
  actions: (b, ctx) => el("div", { class: "actions" }, b.elements.map((e) => element(e, b, ctx))),
  context_actions: (b, ctx) => el("div", { class: "actions" }, b.elements.map((e) => element(e, b, ctx))),
  image: (b, ctx) => el("figure", {}, b.title && el("figcaption", {}, text(b.title, ctx)), picture(b, "picture")),
  markdown: (b, ctx) => el("div", { class: "words" }, mrkdwn(b.text.replace(/\*\*(.+?)\*\*/g, "*$1*"), ctx.names)),
  rich_text: (b, ctx) => richText(b, ctx),
  table: (b, ctx) => table(b, ctx, b.column_settings ?? []),
  data_table: (b, ctx) => el("figure", {}, el("figcaption", {}, b.caption), table(b, ctx, [])),
  plan: (b, ctx) =>
    el("div", { class: "plan" }, el("div", { class: "plan-title" }, b.title), (b.tasks ?? []).map((t) => task(t, ctx))),
  task_card: (b, ctx) => el("div", { class: "plan" }, task(b, ctx)),
  alert: (b, ctx) => el("div", { class: `alert ${b.level ?? "default"}` }, text(b.text, ctx)),
  container: (b, ctx) => container(b, ctx),
  input: (b, ctx) => input(b, ctx),
};

const picture = (image, kind) =>
  image.image_url
    ? el("img", { class: kind, src: image.image_url, alt: image.alt_text, title: image.alt_text })
    : el("span", { class: "faint" }, image.alt_text);

function container(block, ctx) {
  const title = block.title ? text(block.title, ctx) : richText(block.rich_text_title, ctx);
  const inside = [block.subtitle && el("p", { class: "faint" }, text(block.subtitle, ctx)), ...blocks(block.child_blocks, ctx)];
  if (!block.is_collapsible) return el("div", { class: "container" }, el("div", { class: "plan-title" }, title), inside);
  const open = ctx.open?.has(block.block_id) ?? !block.default_collapsed;
  return el("details", { class: "container", open, "data-block": block.block_id }, el("summary", {}, title), inside);
}

function table(block, ctx, columns) {
  const style = (index) => (columns[index]?.align ? `text-align:${columns[index].align}` : null);
  const kind = (c, index) => (columns[index]?.is_wrapped ? "wrapped" : c.type === "raw_number" ? "number" : null);
  const cell = (tag) => (c, index) =>
    el(tag, { style: style(index), class: kind(c, index) },
      c.type === "rich_text" ? richText(c, ctx) : withEmoji(c.text ?? String(c.value)));
  const [head, ...rows] = block.rows;
  return el("div", { class: "table" },
    el("table", {},
      el("thead", {}, el("tr", {}, head.map(cell("th")))),
      el("tbody", {}, rows.map((row) => el("tr", {}, row.map(cell("td")))))));
}

const MARKS = { pending: ["○", "to do"], in_progress: ["◌", "under way"], complete: ["✓", "done"], error: ["✕", "failed"] };

function task(card, ctx) {
  const status = card.status ?? "pending";
  const [mark, word] = MARKS[status];
  return el("div", { class: `task ${status}` },
    el("span", { class: "mark", title: word, "aria-label": word }, mark),
    el("div", { class: "grow" },
      el("span", {}, card.title),
      card.details && el("div", { class: "faint" }, richText(card.details, ctx)),
      card.output && el("div", { class: "faint" }, richText(card.output, ctx)),
      (card.sources ?? []).map((s) => el("div", {}, link(s.url, s.text)))));
}

// --- rich text ---

function richText(block, ctx) {
  return el("div", { class: "words rich" }, block.elements.map((e) => RICH[e.type]?.(e, ctx) ?? ""));
}

const pieces = (elements, ctx) => elements.map((e) => styled(e, PIECES[e.type]?.(e, ctx) ?? ""));

const RICH = {
  rich_text_section: (e, ctx) => el("span", {}, pieces(e.elements, ctx)),
  rich_text_preformatted: (e, ctx) => el("pre", {}, pieces(e.elements, ctx)),
  rich_text_quote: (e, ctx) => el("blockquote", {}, pieces(e.elements, ctx)),
  rich_text_list: (e, ctx) =>
    el(e.style === "ordered" ? "ol" : "ul", {}, e.elements.map((item) => el("li", {}, pieces(item.elements, ctx)))),
};

const PIECES = {
  text: (e) => e.text,
  link: (e) => link(e.url, e.text ?? e.url),
  emoji: (e) => emoji(e.name),
  user: (e, ctx) => mention("@" + (ctx.names.users[e.user_id] ?? e.user_id)),
  usergroup: (e, ctx) => mention("@" + (ctx.names.groups[e.usergroup_id] ?? e.usergroup_id)),
  channel: (e, ctx) => mention("#" + (ctx.names.channels[e.channel_id] ?? e.channel_id)),
  broadcast: (e) => mention("@" + e.range),
  date: (e) => el("time", { class: "date" }, dateText(e.timestamp, e.format, e.fallback ?? "")),
};

function styled(piece, node) {
  const tags = { bold: "b", italic: "i", strike: "s", underline: "u", code: "code" };
  return Object.entries(piece.style ?? {}).reduce((inner, [name, on]) => (on && tags[name] ? el(tags[name], {}, inner) : inner), node);
}

// --- what can be pressed ---

function element(e, block, ctx) {
  if (e.visible_to_user_ids && !e.visible_to_user_ids.includes(ctx.me)) return null;
  const act = (value) => ctx.press({ action_id: e.action_id, block_id: block.block_id, value }, e.confirm);
  if (e.type === "image") return picture(e, "thumb");
  if (e.type === "button" || e.type === "icon_button") {
    const button = el("button", { type: "button", class: `button ${e.style ?? ""}`, "aria-label": e.accessibility_label }, text(e.text, ctx));
    button.addEventListener("click", async () => {
      if (e.url) window.open(e.url, "_blank", "noopener");
      button.classList.add("busy");
      await act(e.value);
      button.classList.remove("busy");
    });
    return button;
  }
  return control(e, ctx, (value) => act(value));
}

const optionsOf = (e) => [...(e.options ?? []), ...(e.option_groups ?? []).flatMap((group) => group.options)];

/** A form control for an input or select; its current value is `control.value` or, for choices, `control.read()`. */
export function control(e, ctx, changed = () => {}) {
  const id = `input-${e.action_id}`;
  const hint = e.placeholder?.text;
  if (e.type === "static_select" || e.type === "overflow") {
    const empty = el("option", { value: "" }, hint ?? (e.type === "overflow" ? "…" : "Choose an option"));
    const chosen = e.initial_option?.value;
    const select = el("select", { id },
      empty, optionsOf(e).map((o) => el("option", { value: o.value, selected: o.value === chosen }, text(o.text, ctx))));
    select.addEventListener("change", () => select.value && changed(select.value));
    return select;
  }
  if (e.type === "radio_buttons" || e.type === "checkboxes" || e.type === "multi_static_select") return choices(e, ctx, changed);
  const kinds = { number_input: "number", datepicker: "date", timepicker: "time", email_text_input: "email", url_text_input: "url" };
  const value = e.initial_value ?? e.initial_date ?? e.initial_time ?? "";
  const shared = { id, placeholder: hint, maxlength: e.max_length, autofocus: e.focus_on_load };
  if (e.multiline) return Object.assign(el("textarea", { ...shared, rows: 3 }), { value });
  const bounds = { min: e.min_value, max: e.max_value, step: e.is_decimal_allowed ? "any" : null };
  return Object.assign(el("input", { ...shared, ...bounds, type: kinds[e.type] ?? "text" }), { value });
}

/** Tell the app what is typed: at each pause, or when Enter is pressed, as the element asks. */
function whenTyped(field, b, tell) {
  const when = b.element.dispatch_action_config?.trigger_actions_on ?? ["on_enter_pressed"];
  const say = () => tell({ action_id: b.element.action_id, block_id: b.block_id, value: field.value });
  let pause;
  if (when.includes("on_character_entered")) field.addEventListener("input", () => { clearTimeout(pause); pause = setTimeout(say, 250); });
  if (when.includes("on_enter_pressed")) field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); say(); }
  });
}

function choices(e, ctx, changed) {
  const type = e.type === "radio_buttons" ? "radio" : "checkbox";
  const chosen = new Set([e.initial_option, ...(e.initial_options ?? [])].filter(Boolean).map((o) => o.value));
  const boxes = optionsOf(e).map((o) => [o, el("input", { type, name: e.action_id, value: o.value, checked: chosen.has(o.value) })]);
  const read = () => boxes.filter(([, box]) => box.checked).map(([o]) => o.value).join(",");
  const group = el("div", { class: "choices" },
    boxes.map(([o, box]) => el("label", {}, box, el("span", {}, text(o.text, ctx),
      o.description && el("small", {}, text(o.description, ctx))))));
  group.addEventListener("change", () => changed(read()));
  return Object.assign(group, { read });
}

function input(b, ctx) {
  const tell = b.dispatch_action && ctx.press;
  const field = control(b.element, ctx, (value) => tell && tell({ action_id: b.element.action_id, block_id: b.block_id, value }));
  if (tell && field.matches("input, textarea")) whenTyped(field, b, tell);
  ctx.fields?.set(b.block_id, () => (field.read ? field.read() : field.value));
  return el("div", { class: "field", "data-block": b.block_id },
    el("label", { for: field.id || null }, text(b.label, ctx), b.optional && el("small", {}, " (optional)")),
    field,
    b.hint && el("small", { class: "hint" }, text(b.hint, ctx)),
    el("small", { class: "wrong", role: "alert" }));
}
