// Compare: what several writers say of the same pictures, with their scores, differing words marked; a vote that is blind.
import { $, author, button, complain, get, go, languages, letter, make, number, post, say, select, state, styled, t, thumb, typing, where } from "/a/base.js";

let found = null, at = 0, hidden = false, orders = new Map(), votes = new Map();
export function close() {}

export async function open(main) {
  const { query } = where();
  const lang = query.get("lang") || "";
  main.replaceChildren(make("section", { class: "page", "aria-labelledby": "title" }, make("h1", { id: "title" }, t("Compare")), make("div", { id: "body" }, make("p", { class: "quiet" }, t("Counting …")))));
  found = null; at = 0; votes = new Map(); orders = new Map();
  const draw_filters = (writers, chosen) => make("form", { id: "filters", onsubmit: (event) => { event.preventDefault(); const some = [...event.target.querySelectorAll("input:checked")].map((one) => one.value); go("compare", { lang, writers: some.join(",") }); } },
    select("lang", t("language"), languages(t("all")), lang, (event) => go("compare", { lang: event.target.value })),
    make("fieldset", { class: "row" }, make("legend", {}, t("writers")), ...writers.map((one) => make("label", { class: "check" }, make("input", { type: "checkbox", value: one.name, checked: chosen.includes(one.name) }), " ", make("bdi", { dir: "auto" }, one.name || t("nobody knows who")), ` · ${number(one.captions)}`))),
    make("button", { type: "submit" }, t("Compare")));
  try { found = await get(`/compare?${new URLSearchParams({ lang, writers: query.get("writers") || "", n: 50 })}`); }
  catch (error) { $("body").replaceChildren(draw_filters([], []), make("p", { class: "lost" }, error.message), make("p", {}, make("a", { href: "#/compare" }, t("Start again")))); say(error.message); return; }
  const names = found.chosen, body = $("body");
  if (!body || where().screen !== "compare") return;
  body.replaceChildren(draw_filters(found.writers, names));
  if (names.length < 2) { body.append(make("div", { class: "nothing" }, make("h2", {}, t("There is only one writer here.")), make("p", {}, t("Captions of two or more models or people are needed.")))); return; }
  body.append(make("p", { class: "quiet" }, t("{0} pictures that all of them describe. Intervals of 95 % by a bootstrap over the pictures; those where the words differ most come first.", number(found.pictures)), found.apart ? ` ${t("{0} are described in different languages; they come last and are in no score.", number(found.apart))}` : ""),
    scores(names), vote_line(), make("div", { class: "row" }, button(hidden ? t("Show the names") : t("Hide the names"), hide, { id: "hide", "aria-keyshortcuts": "H" }), make("span", { class: "quiet" }, t("Keys: ↑ ↓ picture, 1–9 is best, 0 no difference, H names."))),
    make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": t("Captions side by side") }, make("table", { id: "side" })),
    found.total > found.rows.length ? button(t("More"), next, { id: "next" }) : "");
  rows();
  say(t("{0} pictures", number(found.pictures)));
}

function scores(names) {
  if (!found.scores.length) return make("p", {}, t("There are no scores of these captions."));
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": t("Scores") }, make("table", { class: "scores" }, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, t("score")), ...names.map((name) => make("th", { scope: "col" }, make("bdi", { dir: "auto" }, name))))),
    make("tbody", {}, ...found.scores.map((score) => {
      const given = score.each.filter(Boolean), low = Math.min(...given.map((one) => one.low)), span = Math.max(...given.map((one) => one.high)) - low || 1;
      return make("tr", {}, make("th", { scope: "row" }, make("bdi", {}, score.name === "length" ? t("letters") : score.label), make("small", {}, ` ${t("{0} pictures", number(score.pictures))}`)),
        ...score.each.map((one, n) => (!one ? make("td", {}, "–") : make("td", {}, make("b", {}, number(one.mean)), make("small", {}, ` ${number(one.low)} – ${number(one.high)}`),
          make("span", { class: n === score.best ? "axis best" : "axis", "aria-hidden": "true" }, styled(make("i"), { "inset-inline-start": `${(one.low - low) / span * 100}%`, width: `${Math.max(2, (one.high - one.low) / span * 100)}%` })),
          make("small", {}, score.name === "length" ? "" : n === score.best ? t("highest") : one.below_best ? t("lower, shown") : t("no difference shown"))))));
    }))));
}

function vote_line() {
  const { better, equal } = found.votes;
  return make("p", { id: "votes" }, t("Votes of people: "), ...Object.entries(better).flatMap(([name, n]) => [make("bdi", { dir: "auto" }, name), ` ${number(n)} · `]), t("no difference {0}", number(equal)));
}

/** The order of columns of a row: by chance while names are hidden, so that a vote is blind. */
function order(row) {
  const plain = row.captions.map((_, n) => n);
  if (!hidden) return plain;
  if (!orders.has(row.image)) { for (let n = plain.length - 1; n > 0; n--) { const other = Math.floor(Math.random() * (n + 1)); [plain[n], plain[other]] = [plain[other], plain[n]]; } orders.set(row.image, plain); }
  return orders.get(row.image);
}

const cut = (text, lang) => { try { return [...new Intl.Segmenter(lang === "und" ? "en" : lang, { granularity: "word" }).segment(text)]; } catch { return text.split(/(\s+)/).map((segment) => ({ segment, isWordLike: /\S/.test(segment) })); } };

/** A text with the words marked that no other one has. */
function marked(c, others) {
  const rest = new Set(others.flatMap((one) => cut(one.text, one.lang).map((w) => w.segment.toLowerCase())));
  return make("span", { class: "t", lang: c.lang === "und" ? null : c.lang, dir: "auto" }, ...cut(c.text, c.lang).map((w) => (w.isWordLike && !rest.has(w.segment.toLowerCase()) ? make("mark", {}, w.segment) : w.segment)));
}

function rows() {
  const names = found.chosen;
  $("side").replaceChildren(make("thead", {}, make("tr", {}, make("th", { scope: "col" }, t("picture")), ...names.map((name, n) => make("th", { scope: "col" }, hidden ? `${n + 1}` : make("span", {}, `${n + 1} · `, make("bdi", { dir: "auto" }, name)))))),
    make("tbody", {}, ...found.rows.map((row, r) => make("tr", { tabindex: r === at ? "0" : "-1", "data-r": r, "aria-label": t("Picture {0}", number(r + 1)), onfocus: () => { at = r; mark(); } },
      make("td", {}, make("a", { href: `#/picture/${row.image}` }, make("img", { src: thumb(row.image, 240), loading: "lazy", alt: t("Picture {0}", number(r + 1)) }))),
      ...order(row).map((c, n) => make("td", {}, marked(row.captions[c], row.captions.filter((_, other) => other !== c)),
        state.info.read_only ? null : make("span", { class: "row" }, button(t("best"), () => vote(r, n), { "aria-pressed": String(votes.get(row.image) === row.captions[c].caption_id), "aria-label": t("{0} is best", number(n + 1)) }))))))));
  mark();
}
function mark() { for (const one of $("side").querySelectorAll("tbody tr")) { const on = Number(one.dataset.r) === at; one.classList.toggle("now", on); one.tabIndex = on ? 0 : -1; } }
function focus(r) { at = Math.max(0, Math.min(found.rows.length - 1, r)); mark(); $("side").querySelector(`tr[data-r="${at}"]`)?.focus(); }
function hide() { hidden = !hidden; $("hide").textContent = hidden ? t("Show the names") : t("Hide the names"); rows(); }

async function vote(r, n) {
  const row = found.rows[r], best = n === null ? null : row.captions[order(row)[n]]?.caption_id;
  if (best === undefined) return;
  try {
    await post("/vote", { captions: row.captions.map((c) => c.caption_id), best, author: author() });
    votes.set(row.image, best);
    const fresh = await get(`/compare?${new URLSearchParams({ lang: where().query.get("lang") || "", writers: found.chosen.join(","), n: 1 })}`);
    found.votes = fresh.votes; $("votes").replaceWith(vote_line());
    rows(); focus(r + 1); say(n === null ? t("No difference.") : t("{0} is best", number(n + 1)));
  } catch (error) { complain(error); }
}

async function next() {
  try {
    const more = await get(`/compare?${new URLSearchParams({ lang: where().query.get("lang") || "", writers: found.chosen.join(","), from: found.rows.length, n: 50 })}`);
    found.rows.push(...more.rows); rows();
    if (found.rows.length >= more.total) $("next").remove();
  } catch (error) { complain(error); }
}

export function key(event) {
  if (typing(event.target) || !found || !$("side")) return false;
  const pressed = letter(event);
  if (pressed === "h") { hide(); return true; }
  if (pressed === "ArrowDown" && event.target.closest("#side")) { focus(at + 1); return true; }
  if (pressed === "ArrowUp" && event.target.closest("#side")) { focus(at - 1); return true; }
  if (/^[0-9]$/.test(pressed) && !state.info.read_only) { const n = Number(pressed); if (n <= found.chosen.length) vote(at, n ? n - 1 : null); return true; }
  return false;
}
