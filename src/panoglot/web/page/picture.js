// One picture: all that is said about it, who says so, and what to do with it.
import { $, UI, author, button, caption, code, complain, date, fill, get, go, language, letter, make, mine, number, post, say, state, sure, t, tell, thumb, typing, where, writer } from "/a/base.js";
import { why } from "/a/search.js";

let now = null, tab = "mine", at = 0;
export function close() {}

const kept = (c) => !c.dropped;
const tabs = { mine: (c) => kept(c) && mine(c.lang), all: kept, gone: (c) => !kept(c) };

export async function open(main) {
  const id = where().rest;
  now = null; at = 0;
  const big = make("img", { id: "big", src: thumb(id, 1600), alt: "" });
  main.replaceChildren(make("section", { class: "page two", "aria-labelledby": "title" },
    make("div", {}, make("figure", { class: "still" }, big), make("p", { id: "facts" }), make("div", { id: "why" }, ...why(state.hits.get(id))),
      make("h2", {}, t("More like this")), make("ul", { id: "like", class: "strip" })),
    make("div", { id: "said" }, make("h1", { id: "title", class: "t" }, "…"))));
  const here = () => big.isConnected; // somebody may have gone on while it came
  try { const found = await get(`/images/${encodeURIComponent(id)}`); if (!here()) return; now = found; } catch (error) { if (here()) gone(error); return; }
  const best = now.captions.filter(kept).sort((a, b) => mine(b.lang) - mine(a.lang))[0];
  big.alt = best ? best.text : "";
  tab = now.captions.some(tabs.mine) ? "mine" : now.captions.some(kept) ? "all" : "gone";
  fill($("facts"), code(`${now.width} × ${now.height}`), " · ", code(`${(now.format || "").toUpperCase()} ${Math.ceil(now.size / 1024) || "?"} KB`), " · ", code(now.id.slice(0, 12)),
    now.time ? ` · ${date(now.time * 1000)}` : "", now.author ? make("span", {}, " · ", make("bdi", {}, now.author)) : "", now.licence ? make("span", {}, " · ", make("bdi", {}, now.licence)) : "",
    now.dropped ? make("b", { class: "lost" }, ` · ${t("dropped: {0}", now.dropped)}`) : "");
  draw(best);
  like(id);
}

function gone(error) {
  $("title").textContent = error.status === 410 ? t("This picture is forgotten.") : error.status === 404 ? t("There is no such picture.") : t("This did not work.");
  $("big").remove(); $("said").append(make("p", {}, error.message), make("p", {}, make("a", { href: "#/search" }, t("all pictures"))));
  say($("title").textContent);
}

async function like(id) {
  try {
    const found = await post("/search", { image: id, k: 9, show: "en" });
    if (where().rest !== id || !$("like")) return;
    $("like").replaceChildren(...found.hits.filter((hit) => hit.id !== id).slice(0, 8).map((hit) => make("li", {}, make("a", { href: `#/picture/${hit.id}` }, make("img", { src: thumb(hit.id, 240), alt: hit.text || t("Picture"), loading: "lazy" })))));
  } catch { $("like")?.replaceChildren(make("li", {}, t("There are no vectors to compare pictures with."))); }
}

function draw(best) {
  const write = !state.info.read_only, list = now.captions.filter(tabs[tab]).sort((a, b) => mine(b.lang) - mine(a.lang) || a.lang.localeCompare(b.lang));
  const names = { mine: t("Your languages"), all: t("All"), gone: t("Dropped") };
  const head = make("div", { role: "tablist", class: "tabs", "aria-label": t("Captions"), onkeydown: (event) => {
    const keys = Object.keys(tabs), step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault(); tab = keys[(keys.indexOf(tab) + step * (document.documentElement.dir === "rtl" ? -1 : 1) + 3) % 3]; draw(best); $(`tab-${tab}`).focus();
  } }, ...Object.keys(tabs).map((key) => button(`${names[key]} · ${number(now.captions.filter(tabs[key]).length)}`, () => { tab = key; at = 0; draw(best); $(`tab-${key}`).focus(); },
    { role: "tab", id: `tab-${key}`, "aria-selected": String(key === tab), "aria-controls": "panel", tabindex: key === tab ? "0" : "-1" })));
  const but = make("input", { id: "but", dir: "auto", maxlength: 2000, placeholder: t("but …"), "aria-label": t("And this, but …") });
  fill($("said"),
    make("h1", { id: "title" }, caption(best ? best.text : t("Picture"), best ? best.lang : "und", "span")),
    make("form", { class: "row", onsubmit: (event) => { event.preventDefault(); go("search", { image: now.id, q: but.value.trim() }); } },
      button(t("More like this"), () => go("search", { image: now.id })), but, make("button", { type: "submit" }, t("And this, but …"))),
    head, make("div", { role: "tabpanel", id: "panel", "aria-labelledby": `tab-${tab}`, tabindex: "0" },
      list.length ? make("ul", { class: "says" }, ...list.map((c, n) => said(c, n, write))) : make("p", { class: "quiet" }, t("None."))),
    write ? editor() : null,
    write ? make("p", {}, button(t("Forget this picture …"), forget, { class: "lost" })) : null);
}

/** A caption with all that is known about where it came from. */
export function provenance(c, all = []) {
  const parents = (c.parents || []).map((id) => all.find((one) => one.caption_id === id)).filter(Boolean);
  const scores = Object.entries(c.scores || {}).filter(([, value]) => value !== null);
  return [make("small", {}, language(c.lang), " · ", t(c.kind), writer(c) === c.kind ? "" : " · ", make("bdi", { dir: "auto" }, writer(c) === c.kind ? "" : writer(c)), c.author ? make("span", {}, " · ", t("by"), " ", make("bdi", {}, c.author)) : null, c.licence ? make("span", {}, " · ", make("bdi", {}, c.licence)) : null,
    c.region ? ` · ${t("of a part of the picture")}` : "", ...scores.map(([name, value]) => make("span", {}, " · ", code(`${name} ${Number(value).toFixed(3)}`)))),
  ...parents.map((one) => make("small", {}, t("made from"), " ", caption(one.text, one.lang), ` (${language(one.lang)})`)),
  ...(c.edits || []).map((e) => make("small", {}, `${date(e.time)} · ${t(e.action)}`, e.author ? make("span", {}, " · ", make("bdi", {}, e.author)) : "", e.action === "correct" && e.before ? make("span", {}, " · ", t("before"), " ", caption(e.before, c.lang)) : ""))];
}

function said(c, n, write) {
  const acts = !write ? [] : kept(c)
    ? [button(t("Edit"), () => edit(c)), button(t("Approve"), () => decide(c, true)), button(t("Drop"), () => decide(c, false))]
    : [button(t("Keep after all"), () => decide(c, true))];
  const what = c.text.slice(0, 60);
  for (const one of acts) one.setAttribute("aria-label", `${one.textContent}: ${what}`);
  return make("li", { class: kept(c) ? "" : "gone", "aria-current": n === at ? "true" : null }, caption(c.text, c.lang, "p"), ...provenance(c, now.captions),
    c.dropped ? make("small", { class: "lost" }, t("dropped: {0}", c.dropped)) : null, make("span", { class: "row" }, ...acts));
}

function editor() {
  const tags = Object.keys(state.info.languages);
  editing = null; // a form that is drawn anew adds
  return make("form", { id: "write", "aria-labelledby": "write-title", onsubmit: save }, make("h2", { id: "write-title" }, t("Add a caption")),
    make("label", { class: "field" }, make("span", {}, t("language")), make("input", { id: "write-lang", list: "tags", required: true, maxlength: 35, size: 8, value: UI })),
    make("datalist", { id: "tags" }, ...tags.map((tag) => make("option", { value: tag }, language(tag)))),
    make("label", { class: "field wide" }, make("span", {}, t("text")), make("textarea", { id: "write-text", dir: "auto", rows: 3, required: true, maxlength: 20000, class: "t", onkeydown: (event) => {
      if (event.isComposing || event.keyCode === 229) return;
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); event.target.form.requestSubmit(); }
      if (event.key === "Escape") { event.stopPropagation(); edit(null); $("title").closest("section").focus(); }
    } })),
    make("div", { class: "row" }, make("button", { type: "submit", class: "main" }, t("Save")), button(t("New"), () => edit(null))));
}

let editing = null;
function edit(c) {
  editing = c;
  $("write-title").textContent = c ? t("Correct the caption") : t("Add a caption");
  if (c) $("write-lang").value = c.lang;
  $("write-text").value = c ? c.text : "";
  $("write-text").lang = c ? c.lang : "";
  $("write-text").focus();
}

async function again(done) {
  const fresh = await get(`/images/${now.id}`);
  if (where().rest !== fresh.id) return;
  now = fresh;
  draw(now.captions.filter(kept).sort((a, b) => mine(b.lang) - mine(a.lang))[0]);
  say(done);
}

/** A write that was overtaken keeps what was typed and shows what is there now. */
async function wrote(work, done) {
  try { const made = await work({ "If-Match": now.state }); state.last = made.edit_id; await again(done); }
  catch (error) {
    if (error.status !== 412) { complain(error); return; }
    const text = $("write-text")?.value, was = editing;
    await again(t("Somebody changed this picture's captions meanwhile. Look at them, then do it again."));
    if (text) { edit(was && now.captions.find((c) => c.caption_id === was.caption_id)); $("write-text").value = text; }
  }
}

function save(event) {
  event.preventDefault();
  const body = { text: $("write-text").value, lang: $("write-lang").value.trim(), author: author() };
  if (editing) body.caption = editing.caption_id; else body.add = true;
  wrote(async (match) => { const made = await post(`/images/${now.id}/captions`, body, match); editing = null; return made; }, t("Saved."));
}

function decide(c, keep) {
  const body = { caption: c.caption_id, keep, author: author() };
  wrote((match) => post(`/images/${now.id}/judge`, body, match), keep ? t("Approved.") : t("Dropped; it stays in the history."));
}

/** The last thing that was done here is taken back. */
function undo() {
  const last = state.last;
  wrote(async () => { await post("/undo", { edit_id: last, author: author() }); return {}; }, t("Taken back."));
}

async function forget() {
  const what = await tell(() => post("/forget", { ids: [now.id], dry_run: true }));
  if (!what) return;
  const lines = [t("{0} captions go with it, and its vectors, facts and older versions.", number(what.captions)), t("This cannot be undone. Exports, copies and the source are not reached.")];
  if (!await sure(t("Forget this picture?"), lines, t("Forget it"))) return;
  await tell(async () => { await post("/forget", { ids: [now.id] }); state.hits.delete(now.id); go("search"); }, t("Forgotten."));
}

export function key(event) {
  if (typing(event.target)) return false;
  if (letter(event) === "Escape") { if (history.length > 1) history.back(); else go("search"); return true; }
  if (!now) return false;
  const list = now.captions.filter(tabs[tab]).sort((a, b) => mine(b.lang) - mine(a.lang) || a.lang.localeCompare(b.lang)), pressed = letter(event);
  if ("jk".includes(pressed) && pressed && state.order.count) {
    const next = state.cursor + (pressed === "j" ? 1 : -1), item = state.order.item(next >= 0 && next < state.order.count ? next : -1);
    if (item) { state.cursor = next; location.hash = `#/picture/${item.id}`; } else say(t("There is no further one."));
    return true;
  }
  if (pressed === "z" && state.last && !state.info.read_only) { undo(); return true; }
  if (pressed === "m") { go("search", { image: now.id }); return true; }
  if (pressed === "b") { $("but").focus(); return true; }
  if (state.info.read_only || !list[at]) return false;
  if (pressed === "e") { edit(list[at]); return true; }
  if (pressed === "a") { decide(list[at], true); return true; }
  if (pressed === "d" && kept(list[at])) { decide(list[at], false); return true; }
  return false;
}
