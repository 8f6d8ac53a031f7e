// Overview: what is in the dataset, what became of everything, what is missing. Every bar opens what it counts.
import { $, code, date, get, language, link, make, number, say, state, styled, t, where } from "/a/base.js";

export function close() {}
export const key = () => false;

function bars(entries, name, address, lost = false) {
  const most = Math.max(1, ...entries.map(([, n]) => n));
  if (!entries.length) return make("p", { class: "quiet" }, t("None."));
  const line = ([key, n]) => {
    const label = make("bdi", { dir: "auto" }, name(key)), to = address(key);
    return make("li", {}, to ? make("a", { href: to }, label) : make("span", {}, label), styled(make("i", { class: lost ? "lost" : "", "aria-hidden": "true" }), { "inline-size": `${n / most * 100}%` }), make("b", {}, number(n)));
  };
  const more = entries.slice(12);
  return make("div", {}, make("ul", { class: "bars" }, ...entries.slice(0, 12).map(line)),
    more.length ? make("details", {}, make("summary", {}, `${t("More")} · ${number(more.length)}`), make("ul", { class: "bars" }, ...more.map(line))) : null);
}
const sorted = (counts) => Object.entries(counts).sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]));
const card = (title, ...inside) => make("div", { class: "card" }, make("h2", {}, title), ...inside);

export async function open(main) {
  main.replaceChildren(make("section", { class: "page", "aria-labelledby": "title" }, make("h1", { id: "title" }, t("Overview")), make("div", { id: "body" }, make("p", { class: "quiet" }, t("Counting …")))));
  let o;
  try { o = await get("/overview"); } catch (error) { $("body").replaceChildren(make("p", { class: "lost" }, error.message)); say(error.message); return; }
  if (!$("body") || where().screen !== "overview") return;
  const kept = (table) => sorted(Object.fromEntries(Object.entries(table).map(([key, one]) => [key, one.kept]).filter(([, n]) => n)));
  const langs = kept(o.languages), review = (why) => (state.info.read_only ? "" : link("review", { why }));
  $("body").replaceChildren(
    make("p", { class: "big" }, t("{0} pictures, described {1} times in {2} languages.", number(o.kept_images), number(o.captions.kept - o.captions_of_dropped), number(langs.length))),
    make("p", { class: "quiet" }, o.kept_images > o.captioned ? t("{0} pictures have no caption.", number(o.kept_images - o.captioned)) : t("Every picture has a caption."), " ",
      o.images > o.kept_images ? t("{0} pictures are dropped.", number(o.images - o.kept_images)) : "", " ",
      o.captions_of_dropped ? t("{0} more captions, counted below, are of dropped pictures.", number(o.captions_of_dropped)) : ""),
    make("div", { class: "cards" },
      card(t("Where the captions went"), bars([["kept", o.captions.kept], ["drafts", o.captions.drafts], ...sorted(o.dropped_captions).filter(([key]) => key !== "draft")].filter(([, n]) => n), (key) => (key === "kept" || key === "drafts" ? t(key) : t("dropped: {0}", key)), (key) => (key === "drafts" ? "" : review(key === "kept" ? "kept" : `dropped:${key}`)))),
      card(t("Languages"), bars(langs, language, (tag) => link("search", { lang: tag }))),
      card(t("Gaps: pictures without a caption in …"), bars(sorted(o.gaps).filter(([, n]) => n), language, () => "", true)),
      card(t("Kinds"), bars(kept(o.kinds), t, (kind) => link("search", { kind }))),
      card(t("Writers"), bars(sorted(o.writers), (name) => name || t("nobody knows who"), () => link("compare"))),
      card(t("Dropped pictures"), bars(sorted(o.dropped_images), (reason) => reason, () => "", true)),
      card(t("What could not be read or done"), o.rejects.length ? make("ul", { class: "bars plain" }, ...o.rejects.map((one) => make("li", {}, make("bdi", { dir: "auto" }, `${one.stage}: ${one.reason}`), make("b", {}, number(one.rows)))), make("li", {}, code(`panoglot retry ${state.info.name}`))) : make("p", { class: "quiet" }, t("None."))),
      card(t("What people did"), bars(sorted(o.edits), t, () => "")),
      card(t("Runs"), o.runs.length ? make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": t("Runs") }, make("table", {}, make("thead", {}, make("tr", {}, ...[t("started"), t("state"), t("steps"), t("seconds"), "$"].map((text) => make("th", { scope: "col" }, text)))),
        make("tbody", {}, ...o.runs.map((run) => make("tr", {}, make("td", {}, date(run.started)), make("td", {}, t(run.status)), make("td", {}, ...run.steps.map((step) => make("div", {}, code(step.name), ` ${number(step.done)}`, step.rejected ? make("span", { class: "lost" }, ` −${number(step.rejected)}`) : ""))),
          make("td", {}, run.seconds === null ? "" : number(Math.round(run.seconds * 10) / 10)), make("td", {}, run.price === null ? "?" : number(run.price))))))) : make("p", { class: "quiet" }, t("None.")))));
  say(t("{0} pictures", number(o.kept_images)));
}
