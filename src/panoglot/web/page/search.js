// Search, and all pictures: the field, how it was read, filters, the grid, why.
import { $, KINDS, button, caption, code, complain, get, go, languages, letter, make, number, post, raw, say, select, show, state, styled, t, thumb, typing, where } from "/a/base.js";
import { Grid, Listed, Shelf } from "/a/grid.js";
import { note } from "/a/notes.js";

const PARTS = { lexical: "words of captions", caption: "meaning of captions", picture: "the picture" };
const COLOURS = { lexical: "pa", caption: "pb", picture: "pc" };
let grid = null, turn = 0, plan = null, k = 120;

function stop() { grid?.close(); grid = null; }
export function close() { turn += 1; stop(); } // what is still under way is for nobody

/** The condition on images that two dates make; both days are in it. */
function dates(query) {
  const [from, to] = [query.get("from"), query.get("to")].map((day) => (/^\d{4}-\d\d-\d\d$/.test(day || "") && !Number.isNaN(Date.parse(day)) ? day : ""));
  const after = to && new Date(Date.parse(to) + 864e5).toISOString().slice(0, 10);
  return [from && `time>='${from}'`, after && `time<'${after}'`].filter(Boolean).join(" and ");
}

function filters(query) {
  const found = {};
  if (query.get("lang")) found.lang = query.get("lang");
  if (query.get("kind")) found.kinds = query.get("kind");
  if (dates(query)) found.where = dates(query);
  return found;
}

function change(more, forget = true) {
  if (forget) { plan = null; k = 120; }
  const { query } = where();
  for (const [name, value] of Object.entries(more)) { if (value === "" || value === null) query.delete(name); else query.set(name, value); }
  const next = Object.fromEntries(query);
  const before = location.hash;
  go("search", next);
  if (location.hash === before) run();
}

export function open(main) {
  const { query } = where();
  const q = make("input", {
    id: "q", type: "search", dir: "auto", autocomplete: "off", maxlength: 5000, enterkeyhint: "search",
    "aria-label": t("What should be in the picture?"), placeholder: query.get("image") ? t("but …") : t("What should be in the picture?"),
  });
  q.value = query.get("q") || "";
  const file = make("input", { id: "file", class: "hide", type: "file", accept: "image/*", onchange: () => file.files[0] && send(file.files[0]) });
  let composing = false;
  q.addEventListener("compositionstart", () => { composing = true; });
  q.addEventListener("compositionend", () => { composing = false; });
  const form = make("form", { id: "ask", role: "search", onsubmit: (event) => { event.preventDefault(); if (!composing) change({ q: q.value.trim() }); } },
    q, make("button", { type: "submit", class: "main" }, t("Search")), file, make("label", { class: "button", for: "file" }, t("Picture …")),
    query.get("image") && make("span", { class: "given" }, make("img", { src: thumb(query.get("image"), 240), alt: t("the picture that is searched with"), onerror: (event) => event.target.remove() }),
      button(t("without the picture"), () => change({ image: "" }))));
  const input = (id, label, type, value, more = {}) => make("label", { class: "field" }, make("span", {}, label),
    make("input", { id, type, value, onchange: (event) => change({ [more.name]: event.target.value }), ...more }));
  const row = make("div", { id: "filters" },
    select("lang", t("language"), languages(t("any")), query.get("lang") || "", (event) => change({ lang: event.target.value })),
    select("kind", t("kind"), [["", t("any")], ...KINDS.map((kind) => [kind, t(kind)])], query.get("kind") || "", (event) => change({ kind: event.target.value })),
    input("from", t("from"), "date", query.get("from") || "", { name: "from" }),
    input("to", t("to"), "date", query.get("to") || "", { name: "to" }),
    input("least", t("least score"), "number", query.get("min") || "", { name: "min", min: -1, max: 1, step: 0.05, inputmode: "decimal" }));
  main.replaceChildren(make("section", { class: "search", "aria-labelledby": "title" }, make("h1", { class: "hide", id: "title" }, t("Search")), form,
    make("details", { id: "more-filters", open: innerWidth > 720 || row.querySelectorAll("input[value]:not([value=''])").length > 0 }, make("summary", {}, t("Filters")), row),
    make("div", { id: "plan", role: "group", "aria-label": t("How the question was read") }),
    make("div", { id: "sum" }), make("ul", { id: "notes" }),
    make("div", { class: "stage" }, make("div", { id: "view", tabindex: "-1" }), make("aside", { id: "why", "aria-label": t("Why this picture") }))));
  return run();
}

async function run() {
  const { query } = where(), mine = ++turn;
  const body = { k, show: show(query.get("lang") || "query"), ...filters(query) };
  if (query.get("q")) body.text = query.get("q");
  if (query.get("image")) body.image = query.get("image");
  if (query.get("min")) body.min_score = Number(query.get("min"));
  if (plan) body.plan = plan;
  const slow = setTimeout(() => { if (mine === turn) say(t("Searching …")); }, 150);
  try {
    if (!body.text && !body.image && !plan) await every(query, mine);
    else { const found = await post("/search", body); if (mine === turn) found_(found, query); }
  } catch (error) { if (mine === turn) failed(error, query); }
  clearTimeout(slow);
}

/** All pictures, in order of id. */
async function every(query, mine) {
  const given = new URLSearchParams(filters(query));
  const answer = await raw(`/layout?${given}`);
  const version = answer.headers.get("ETag").replace(/"/g, ""), shapes = new Uint16Array(await answer.arrayBuffer());
  if (mine !== turn) return;
  const fetched = async (from, n, version) => {
    const more = new URLSearchParams({ ...filters(query), from, n, version, show: show(query.get("lang")) });
    return (await get(`/items?${more}`)).items;
  };
  const shelf = new Shelf(shapes, version, fetched, (error) => (mine !== turn ? null : error.status === 409 ? run() : complain(error)));
  $("plan").replaceChildren(); $("notes").replaceChildren();
  shown(shelf, shapes.length === 1 ? t("1 picture") : t("{0} pictures", number(shapes.length)));
  shelf.arrived = () => grid?.arrived();
  if (!shapes.length) empty(query);
}

function found_(found, query) {
  state.hits = new Map(found.hits.map((hit) => [hit.id, hit]));
  $("notes").replaceChildren(...found.notes.map((line, n) => make("li", {}, make("bdi", { dir: "auto" }, note(line, found.note_codes[n])))));
  chips(found.plan, query, found.typed);
  const n = found.hits.length;
  shown(new Listed(found.hits), n ? (n === 1 ? t("1 picture") : t(n < k ? "{0} pictures" : "the first {0} pictures", number(n))) : t("Nothing found."));
  if (n >= k && k < 960) $("sum").append(button(t("More"), () => { k = Math.min(1000, k * 2); run(); }));
  if (!n) empty(query);
}

function shown(source, text) {
  stop();
  const view = $("view");
  state.order = source;
  $("sum").replaceChildren(make("strong", {}, text));
  if (state.hits.size && source instanceof Listed)
    $("sum").append(make("span", { class: "key" }, ...Object.entries(PARTS).map(([name, text]) => make("span", {}, make("i", { class: `dot ${COLOURS[name]}` }), t(text)))));
  say(text);
  $("why").replaceChildren(...(source instanceof Listed && source.count ? why(source.item(0)) : []));
  grid = new Grid(view, source, {
    label: t("Pictures"),
    open: (n) => { const item = source.item(n); state.cursor = n; if (item) location.hash = `#/picture/${item.id}`; },
    moved: (n) => { state.cursor = n; $("why")?.replaceChildren(...why(source.item(n))); },
  });
}

/** Ways out where nothing was found. */
function empty(query) {
  const ways = [];
  if (query.get("min")) ways.push(button(t("any score"), () => change({ min: "" })));
  if (query.get("lang")) ways.push(button(t("all languages"), () => change({ lang: "" })));
  if (query.get("kind") || dates(query)) ways.push(button(t("without the filters"), () => change({ kind: "", from: "", to: "" })));
  if (query.get("q")) ways.push(button(t("all pictures"), () => change({ q: "", image: "" })));
  const total = state.info.images;
  $("view").replaceChildren(make("div", { class: "nothing" }, make("h2", {}, total ? t("Nothing found.") : t("There is no picture here yet.")),
    total ? make("p", {}, t("Try other words, or fewer conditions.")) : make("p", {}, code(`panoglot build PICTURES -o ${state.info.name}`)),
    make("div", { class: "row" }, ...ways)));
}

function failed(error, query) {
  stop();
  say(error.message);
  $("plan").replaceChildren(); $("sum").replaceChildren(); $("notes").replaceChildren(); $("why").replaceChildren();
  const again = [button(t("Try again"), run)];
  if (query.get("q")) again.push(button(t("words only"), async () => {
    try { found_(await post("/search", { text: query.get("q"), by: "lexical", k, show: show(query.get("lang") || "query"), ...filters(query) }), query); } catch (other) { failed(other, new URLSearchParams()); }
  }));
  $("view").replaceChildren(make("div", { class: "nothing" }, make("h2", {}, t("This did not work.")), make("p", {}, make("bdi", { dir: "auto" }, error.message)), make("div", { class: "row" }, ...again)));
}

// -- how it was read ------------------------------------------------------------------------------------------------

function edited(change) {
  const next = structuredClone(plan);
  change(next);
  if (!next.positives.length && !next.conditions.length) { say(t("Something must be left to look for.")); return; }
  plan = next;
  run();
}

/** The question with another sign before a word that was typed with one, or without the word. */
function turned(question, sign, word, other) {
  const at = word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), signs = sign === "-" ? "[-−]" : "\\+";
  const quoted = other && /\s/.test(word) ? `${other}"${word}"` : other && other + word;
  return question.replace(new RegExp(`(^|\\s)${signs}["“„«]?${at}["”“»]?(?=\\s|$)`), (_, before) => before + quoted).trim();
}

/** Words that were typed with + or -: conditions, which no plan holds. */
function conditions(query, typed, found) {
  const held = new Set(found.negatives.map((term) => term.value)), q = query.get("q") || "";
  const chip = (sign, word) => make("span", { class: "pair" },
    make("button", { type: "button", class: sign === "+" ? "chip" : "chip minus", title: t(sign === "+" ? "must stand in a caption" : "must not stand in a caption"),
      onclick: () => change({ q: turned(q, sign, word, sign === "+" ? "-" : "+") }) },
    make("b", {}, sign === "+" ? "+" : "−"), " ", make("span", {}, t(sign === "+" ? "with" : "without")), " ", caption(word, "und", "bdi")),
    button("✕", () => change({ q: turned(q, sign, word, "") }), { class: "chip", "aria-label": t("take out {0}", word) }));
  return [...typed.must.map((word) => chip("+", word)), ...typed.must_not.filter((word) => !held.has(word)).map((word) => chip("-", word))];
}

function chips(found, query, typed) {
  const box = $("plan");
  if (!found) { box.replaceChildren(); return; }
  plan = found;
  const chip = (list, at, sign) => {
    const term = found[list][at], other = list === "positives" ? "negatives" : "positives";
    const flip = () => edited((next) => next[other].push(...next[list].splice(at, 1)));
    const away = () => edited((next) => next[list].splice(at, 1));
    const weigh = (by) => edited((next) => { next[list][at].weight = Math.max(0.05, Math.round((next[list][at].weight + by) * 100) / 100); });
    const keys = { "-": flip, Delete: away, Backspace: away, ArrowUp: () => weigh(0.1), ArrowDown: () => weigh(-0.1) };
    const what = term.kind === "text" ? caption(term.value, "und", "bdi") : make("bdi", {}, t("the picture"));
    const main = make("button", {
      type: "button", class: list === "positives" ? "chip" : "chip minus", title: t("Press: with or without · Delete: take out · ↑ ↓: weight"),
      onclick: flip, onkeydown: (event) => { if (keys[event.key]) { event.preventDefault(); keys[event.key](); } },
    }, make("b", {}, sign), " ", what, " ", make("i", {}, number(term.weight)));
    return make("span", { class: "pair" }, main, button("✕", away, { class: "chip", "aria-label": t("take out {0}", term.kind === "text" ? term.value : t("the picture")) }));
  };
  const word = make("input", { id: "word", dir: "auto", "aria-label": t("with or without"), placeholder: t("with or without …"), maxlength: 500 });
  const add = (list, weight) => { const value = word.value.trim(); if (value) edited((next) => next[list].push({ kind: "text", value, weight, source: "typed" })); };
  const text = JSON.stringify(found, null, 1);
  box.replaceChildren(make("span", { class: "lead" }, t("Read as"), " ", code(found.preset), found.fallback_used ? ` · ${t("a fallback")}` : ""),
    ...found.positives.map((_, n) => chip("positives", n, "+")), ...found.negatives.map((_, n) => chip("negatives", n, "−")), ...conditions(query, typed, found),
    make("form", { class: "pair", onsubmit: (event) => { event.preventDefault(); add("positives", 0.5); } }, word,
      make("button", { type: "submit", class: "chip" }, t("with")), button(t("without"), () => add("negatives", 0.3), { class: "chip" })),
    make("details", {}, make("summary", {}, t("as text")), make("pre", { dir: "ltr", tabindex: "0", "aria-label": t("the plan") }, text),
      make("p", {}, code(`panoglot search ${state.info.name} ${JSON.stringify(query.get("q") || "")} --plan plan.json`))));
}

// -- why --------------------------------------------------------------------------------------------------------------

export function why(hit) {
  if (!hit?.parts) return [];
  const made = [make("h2", {}, t("Why this picture")), make("p", {}, caption(hit.text || "", hit.lang || "und", "span"))];
  made.push(make("p", { class: "score" }, make("b", {}, number(hit.score)), " ", t("in all")));
  const total = Object.values(hit.parts).reduce((sum, part) => sum + Math.abs(part.score), 0) || 1;
  made.push(make("div", { class: "stack", "aria-hidden": "true" }, ...Object.entries(hit.parts).map(([name, part]) => styled(make("i", { class: COLOURS[name] }), { width: `${Math.abs(part.score) / total * 100}%` }))));
  for (const [name, part] of Object.entries(hit.parts)) {
    const more = [t("rank {0}", number(part.rank)), number(part.value)];
    made.push(make("div", { class: "part" }, make("p", {}, make("i", { class: `dot ${COLOURS[name]}` }), " ", make("b", {}, t(PARTS[name] || name)), " ", make("span", {}, number(part.score)), " · ", more.join(" · ")),
      part.words?.length ? make("p", {}, ...part.words.map((word) => make("mark", {}, make("bdi", {}, word))).flatMap((one) => [one, " "])) : null,
      part.caption ? make("p", {}, caption(part.caption, part.lang || "und", "span")) : null,
      part.terms ? make("ul", {}, ...Object.entries(part.terms).map(([term, value]) => make("li", {}, make("bdi", { dir: "auto" }, term), ` ${number(value)}`))) : null));
  }
  return made;
}

// -- pictures that are given --------------------------------------------------------------------------------------------

export async function send(file) {
  if (file.size > 50 * 2 ** 20) { say(t("A picture may have 50 MB at most.")); return; }
  try { const made = await post("/query-picture", file); state.seen.set(made.id, true); plan = null; go("search", { image: made.id, q: $("q")?.value.trim() || "" }); }
  catch (error) { complain(error); }
}

export function key(event) {
  if (typing(event.target)) return false;
  const hit = state.order.item?.(state.cursor), pressed = letter(event);
  if (pressed === "m" && hit) { plan = null; go("search", { image: hit.id }); return true; }
  if (pressed === "b" && hit) { plan = null; go("search", { image: hit.id }); setTimeout(() => $("q").focus(), 50); return true; }
  if (pressed === "w" && hit) { const box = $("why"); box.classList.toggle("forced"); return true; }
  return false;
}
export const forget = () => { plan = null; k = 120; };
