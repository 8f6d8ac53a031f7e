// Review: one caption after the other, by the keyboard. Every decision is a row, and can be taken back.
import { $, author, button, caption, complain, get, go, language, languages, letter, make, number, post, say, select, state, t, thumb, typing, where } from "/a/base.js";
import { provenance } from "/a/picture.js";

let queue = [], next = null, at = 0, total = 0, done = 0, all = [], tag = "", said = [], filling = null;
export function close() {}

const wanted = () => { const { query } = where(); return { why: query.get("why") || "kept", lang: query.get("lang") || "" }; };

async function more(after = "") {
  const found = await get(`/queue?${new URLSearchParams({ ...wanted(), after, n: 50 })}`);
  queue.push(...found.captions);
  next = found.next;
  total = Math.max(total, found.left + queue.length - found.captions.length);
  return found;
}

export async function open(main) {
  const { why, lang } = wanted();
  Object.assign(state, { undo: [] });
  queue = []; next = null; at = 0; total = 0; done = 0;
  let counts = {};
  const kinds = [["kept", t("kept, not judged yet")], ["dropped", t("dropped by a filter")], ["language", t("doubtful language")]];
  const box = make("div", { id: "one" });
  const choose = (name) => (event) => go("review", { ...wanted(), [name]: event.target.value });
  const head = make("div", { id: "filters" }, select("queue", t("which"), kinds, why, choose("why")), select("lang", t("language"), languages(t("all")), lang, choose("lang")),
    make("label", { class: "field" }, make("span", {}, t("your name")), make("input", { id: "author", maxlength: 100, autocomplete: "nickname", value: author(), onchange: (event) => localStorage.setItem("author", event.target.value.trim()) })));
  main.replaceChildren(make("section", { class: "page", "aria-labelledby": "title" }, make("h1", { id: "title" }, t("Review")), head, box));
  try { await more(); if (!box.isConnected) return; } catch (error) { box.replaceChildren(make("p", { class: "lost" }, error.message)); say(error.message); return; }
  draw();
  try { counts = await get("/overview"); } catch { return; }
  if (!$("queue")) return;
  for (const [reason, n] of Object.entries(counts.dropped_captions)) $("queue").append(make("option", { value: `dropped:${reason}` }, `${t("dropped: {0}", reason)} · ${number(n)}`));
  if (why !== $("queue").value) { if (![...$("queue").options].some((one) => one.value === why)) $("queue").append(make("option", { value: why }, why)); $("queue").value = why; }
}

async function draw() {
  const c = queue[at], box = $("one");
  if (!box) return;
  if (!c && next) { await more(next).catch(complain); if (queue[at]) return draw(); }
  if (!c) {
    box.replaceChildren(make("div", { class: "nothing" }, make("h2", {}, done ? t("Done: {0} decisions.", number(done)) : t("Nothing waits here.")),
      make("p", {}, t("Choose another queue or language.")), state.undo.length ? button(t("Undo"), undo) : null));
    return;
  }
  const write = !state.info.read_only;
  const text = make("textarea", { id: "text", class: "t", lang: c.lang === "und" ? null : c.lang, dir: "auto", rows: 3, maxlength: 20000, readonly: !write, "aria-label": `${t("caption")}, ${language(c.lang)}`,
    onkeydown: (event) => {
      if (event.isComposing || event.keyCode === 229) return;
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); keep(); }
      if (event.key === "Escape") { event.preventDefault(); event.stopPropagation(); text.value = c.text; $("card").focus(); }
      if (event.altKey && event.key === "PageDown") { event.preventDefault(); step(1); }
      if (event.altKey && event.key === "PageUp") { event.preventDefault(); step(-1); }
    } });
  text.value = c.text;
  const key = (name) => make("kbd", { "aria-hidden": "true" }, name);
  const act = (label, name, run, more = {}) => make("button", { type: "button", onclick: run, "aria-keyshortcuts": name, ...more }, label, " ", key(name));
  box.replaceChildren(
    make("p", { class: "row quiet" }, make("span", {}, t("{0} of {1}", number(at + 1), number(Math.max(total, at + 1)))), make("span", {}, t("{0} decided", number(done))),
      make("progress", { max: Math.max(total, 1), value: at, "aria-label": t("Reviewed") })),
    make("div", { class: "two" },
      make("div", {}, make("a", { href: `#/picture/${c.image_id}`, class: "still" }, make("img", { src: thumb(c.image_id, 480), alt: t("the picture of this caption") })),
        make("ul", { class: "strip", id: "film" }, ...queue.slice(at + 1, at + 6).map((one) => make("li", {}, make("img", { src: thumb(one.image_id, 240), alt: "" }))))),
      make("div", { id: "card", tabindex: "-1", role: "group", "aria-label": t("This caption") },
        c.dropped ? make("p", { class: "reason" }, make("b", {}, t("dropped: {0}", c.dropped)), ...Object.entries(c.scores).filter(([, v]) => v !== null).map(([name, v]) => make("span", {}, ` · ${name} ${number(v)}`))) : null,
        text, make("div", { id: "from" }, ...provenance(c, all)),
        write ? make("div", { class: "row acts" }, act(t("Approve"), "A", keep, { class: "main" }), act(t("Edit"), "E", edit), act(t("Drop"), "D", drop), act(t("Later"), root_arrow(), () => step(1)), act(t("Undo"), "Z", undo, { disabled: !state.undo.length })) : make("div", { class: "row" }, act(t("Later"), root_arrow(), () => step(1))),
        make("p", { class: "quiet" }, t("While you type, only Ctrl + Enter (save and next), Esc (leave) and Alt + PageDown are keys of the page.")),
        make("h2", {}, t("The picture's other captions")), make("ul", { class: "says", id: "others" }))));
  say(t("{0} of {1}", number(at + 1), number(Math.max(total, at + 1))));
  beside(c);
  if (queue.length - at < 10 && next && !filling) filling = more(next).catch(() => {}).finally(() => { filling = null; });
}

const root_arrow = () => (document.documentElement.dir === "rtl" ? "←" : "→");

/** The other captions of the picture, with the history of this one. */
async function beside(c) {
  try {
    const found = await get(`/images/${c.image_id}`);
    if (queue[at] !== c || !$("others")) return;
    all = found.captions; tag = found.state;
    const own = all.find((one) => one.caption_id === c.caption_id);
    if (own) $("from").replaceChildren(...provenance(own, all));
    said = all.filter((one) => one.caption_id !== c.caption_id && !one.dropped).slice(0, 12);
    $("others").replaceChildren(...said.map((one) => make("li", {}, caption(one.text, one.lang, "p"), make("small", {}, language(one.lang), " · ", t(one.kind)))));
  } catch (error) { complain(error); }
}

function step(by) {
  at = Math.max(0, Math.min(queue.length, at + by));
  draw().then(() => $("card")?.focus());
}

async function decided(work, text) {
  const c = queue[at], match = tag && all.some((one) => one.caption_id === c.caption_id) ? { "If-Match": tag } : {};
  try {
    const made = await work(c, match);
    state.undo.push({ edit: made.edit_id, at });
    done += 1;
    step(1);
    say(text);
  } catch (error) { complain(error); if (error.status === 412) beside(c); }
}

function keep() {
  const c = queue[at], text = $("text").value;
  if (state.info.read_only || !c) return;
  if (text.trim() !== c.text.trim()) {
    decided((one, match) => post(`/images/${one.image_id}/captions`, { text, lang: one.lang, caption: one.caption_id, author: author() }, match), t("Saved."));
  } else decided((one, match) => post(`/images/${one.image_id}/judge`, { caption: one.caption_id, keep: true, author: author() }, match), t("Approved."));
}
const drop = () => decided((c, match) => post(`/images/${c.image_id}/judge`, { caption: c.caption_id, keep: false, author: author() }, match), t("Dropped; it stays in the history."));
function edit() { const text = $("text"); text.focus(); text.setSelectionRange(text.value.length, text.value.length); }

async function undo() {
  const last = state.undo.pop();
  if (!last) { say(t("There is nothing to take back.")); return; }
  try { await post("/undo", { edit_id: last.edit, author: author() }); done = Math.max(0, done - 1); at = last.at; await draw(); $("card")?.focus(); say(t("Taken back.")); }
  catch (error) { complain(error); }
}

export function key(event) {
  if (typing(event.target) || event.target.closest("dialog")) return false;
  const ahead = document.documentElement.dir === "rtl" ? "ArrowLeft" : "ArrowRight", back = ahead === "ArrowLeft" ? "ArrowRight" : "ArrowLeft";
  const run = { a: keep, e: edit, d: drop, z: undo, [ahead]: () => step(1), [back]: () => step(-1) }[letter(event)];
  if (!run || (!queue[at] && run !== undo) || (state.info.read_only && "aedz".includes(letter(event)))) return false;
  run();
  return true;
}
