// The frame: who comes in, which screen, keys that are the same everywhere.
import { $, UI, button, complain, get, go, letter, make, number, post, say, state, t, typing, where } from "/a/base.js";
import { WORDS } from "/a/words.js";
import * as search from "/a/search.js";
import * as picture from "/a/picture.js";
import * as review from "/a/review.js";
import * as compare from "/a/compare.js";
import * as overview from "/a/overview.js";

const SCREENS = { search, picture, review, compare, overview };
const NAMES = { search: "Search", review: "Review", compare: "Compare", overview: "Overview" };
let here = null, asked = 0, g = false;

async function enter() {
  const given = location.hash.slice(1);
  if (given && !given.startsWith("/")) { // a token; afterwards it stands nowhere
    history.replaceState(null, "", location.pathname + location.search);
    await post("/session", { code: decodeURIComponent(given) });
  }
  const query = new URLSearchParams(location.search);
  state.dataset = query.get("dataset");
  state.info = await get("");
  if (query.get("q")) { // a question that stands before the `#` is one too
    const q = query.get("q");
    query.delete("q");
    history.replaceState(null, "", `${location.pathname}${query.size ? `?${query}` : ""}#/search?${new URLSearchParams({ q })}`);
  }
  frame();
  addEventListener("hashchange", screen);
  await screen();
}

function settings() {
  const to = (name, value) => { const query = new URLSearchParams(location.search); query.set(name, value); location.href = `${location.pathname}?${query}${name === "dataset" ? "" : location.hash}`; };
  const list = (name, label, options, value) => make("select", { id: name, "aria-label": label, onchange: (event) => { if (name === "ui") localStorage.setItem("ui", event.target.value); to(name, event.target.value); } }, ...options.map(([key, text]) => make("option", { value: key, selected: key === value, lang: name === "ui" ? key : null }, text)));
  const datasets = state.info.datasets;
  const own = new Intl.DisplayNames([UI, "en"], { type: "language" });
  return [
    datasets.length > 1 ? list("dataset", t("Dataset"), datasets.map((one) => [one.id, `${one.id} · ${number(one.images)}`]), state.dataset || datasets[0].id) : null,
    state.info.read_only ? make("span", { class: "mode" }, t("Reading only")) : null,
    list("ui", t("Language of the page"), ["en", ...Object.keys(WORDS)].map((tag) => [tag, new Intl.DisplayNames([tag], { type: "language" }).of(tag) || own.of(tag)]), UI),
    button("?", help, { "aria-label": t("Keys"), "aria-keyshortcuts": "?" }),
  ].filter(Boolean);
}

function frame() {
  $("skip").textContent = t("Skip to the content");
  $("name").replaceChildren(make("bdi", { dir: "auto" }, state.info.name));
  $("nav").setAttribute("aria-label", t("Screens"));
  document.body.classList.toggle("read-only", state.info.read_only);
  const names = Object.keys(NAMES).filter((name) => name !== "review" || !state.info.read_only);
  $("nav").replaceChildren(...names.map((name) => make("a", { href: `#/${name}`, "data-screen": name }, t(NAMES[name]))));
  $("settings").replaceChildren(...settings());
}

async function screen() {
  const mine = ++asked, { screen: name } = where();
  const next = SCREENS[name] || search;
  const focused = document.activeElement?.id;
  here?.close();
  const changed = here !== next;
  here = next;
  const title = t(NAMES[name] || "Picture");
  document.title = `${title} – ${state.info.name} – Panoglot`;
  for (const one of $("nav").children) {
    if (one.dataset.screen === (name === "picture" ? "search" : name)) one.setAttribute("aria-current", "page"); else one.removeAttribute("aria-current");
  }
  const back = () => {
    if (document.activeElement !== document.body) return; // who went on meanwhile stays there
    if (!changed && focused && $(focused)) $(focused).focus(); // a filter that was changed keeps the focus
    else if (changed) $("main").focus({ preventScroll: true });
  };
  const opened = next.open($("main"));
  back();
  await opened;
  if (mine === asked) back();
}

function help() {
  const rows = [["/", t("to the field")], ["?", t("these keys")], ["g s · g r · g c · g o", t("search, review, compare, overview")], ["↑ ↓ ← → · Home End · PageUp PageDown", t("through the grid; with Ctrl to the first and last")], ["Enter", t("open")], ["M · B · W", t("more like this · and this, but … · why")],
    ["J · K · Esc", t("next and previous picture · back")], ["A · E · D · Z", t("approve · edit · drop · undo")], ["1–9 · 0 · H", t("which is best · no difference · names")]];
  $("help").replaceChildren(make("h2", { id: "help-title" }, t("Keys")), make("dl", {}, ...rows.flatMap(([keys, text]) => [make("dt", {}, make("kbd", { dir: "ltr" }, keys)), make("dd", {}, text)])),
    make("label", { class: "check" }, make("input", { type: "checkbox", checked: localStorage.getItem("letters") !== "off", onchange: (event) => localStorage.setItem("letters", event.target.checked ? "on" : "off") }), " ", t("letters are keys")), make("p", {}, button(t("Close"), () => $("help").close())));
  $("help").showModal();
}

addEventListener("keydown", (event) => {
  if (event.defaultPrevented || document.querySelector("dialog[open]") || !state.info.name) return;
  const pressed = letter(event), letters = localStorage.getItem("letters") !== "off";
  if (!pressed) return;
  if (!typing(event.target) && (letters || pressed.length > 1)) {
    if (g && "srco".includes(pressed)) { g = false; event.preventDefault(); go({ s: "search", r: state.info.read_only ? "search" : "review", c: "compare", o: "overview" }[pressed]); return; }
    g = pressed === "g";
    if (pressed === "/") { event.preventDefault(); if ($("q")) $("q").focus(); else { go("search"); setTimeout(() => $("q")?.focus(), 60); } return; }
    if (pressed === "?") { event.preventDefault(); help(); return; }
    if (here?.key?.(event)) { event.preventDefault(); return; }
  }
  if (event.key === "Escape" && typing(event.target)) event.target.blur();
});
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => { event.preventDefault(); const file = event.dataTransfer.files[0]; if (file) search.send(file); });
addEventListener("paste", (event) => { const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/")); if (file) { event.preventDefault(); search.send(file); } });

enter().catch((error) => {
  complain(error);
  $("main").replaceChildren(make("div", { class: "nothing" }, make("h1", {}, error.status === 401 ? t("A token is needed.") : t("This did not work.")), make("p", {}, error.message)));
  say(error.message);
});
$("skip").addEventListener("click", (event) => { event.preventDefault(); $("main").focus(); });
