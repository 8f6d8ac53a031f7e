// What every screen uses: elements, the API, words, the address. Texts of a dataset enter by textContent alone.
import { WORDS } from "/a/words.js";

export const $ = (id) => document.getElementById(id);
export const root = document.documentElement;
export const state = { info: { languages: {}, datasets: [] }, dataset: null, order: [], hits: new Map(), cursor: 0, seen: new Map() };

const asked = new URLSearchParams(location.search).get("ui");
export const UI = [asked, localStorage.getItem("ui"), ...navigator.languages].map((tag) => (tag || "").split("-")[0])
  .find((tag) => tag === "en" || WORDS[tag]) || "en";
root.lang = UI;
root.dir = UI === "ar" ? "rtl" : "ltr";
const said = WORDS[UI] || {};
/** A text of the page in its language; {0} is the first value. */
export const t = (text, ...values) => (said[text] || text).replace(/\{(\d)\}/g, (_, n) => String(values[n]));

const numbers = new Intl.NumberFormat(UI);
const short = new Intl.NumberFormat(UI, { maximumFractionDigits: 3 });
export const number = (value) => (Number.isInteger(value) ? numbers : short).format(value);
export const date = (text) => (text ? new Intl.DateTimeFormat(UI, { dateStyle: "medium", timeStyle: "short" }).format(new Date(text)) : "");
const names = new Intl.DisplayNames([UI, "en"], { type: "language", fallback: "code" });
export function language(tag) {
  if (tag === "und") return t("unknown language");
  let found = tag;
  try { found = names.of(tag) || tag; } catch { /* not a tag that the browser reads */ }
  return found === tag ? state.info.names?.[tag] || tag : found;
}

/** An element: attributes, `on…` listeners, children; null and false are left out. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((one) => one !== null && one !== undefined && one !== false));
  return element;
}
/** The children of an element, instead of those that it had; null and false are left out. */
export const fill = (element, ...children) => element.replaceChildren(...children.flat().filter((one) => one !== null && one !== undefined && one !== false));
export const button = (text, onclick, more = {}) => make("button", { type: "button", onclick, ...more }, text);
/** A caption, as a text of its own language and direction. */
export const caption = (text, lang, tag = "bdi", more = {}) => make(tag, { class: "t", lang: lang === "und" ? null : lang, dir: "auto", ...more }, text);
export const code = (text) => make("bdi", { dir: "ltr", class: "code" }, text);
export const select = (id, label, options, value, onchange) => make("label", { class: "field" }, make("span", {}, label), make("select", { id, onchange },
  ...options.map(([key, text]) => make("option", { value: key, selected: key === value }, text))));

/** Numbers of a style enter through the object model: the policy forbids style attributes. */
export function styled(element, styles) {
  for (const [name, value] of Object.entries(styles)) element.style.setProperty(name, value);
  return element;
}

export class Failure extends Error {
  constructor(status, data) { super(data.detail || `${status}`); this.status = status; this.data = data; }
}
export const base = () => (state.dataset ? `/api/v1/d/${encodeURIComponent(state.dataset)}` : "/api/v1");
export const thumb = (id, height) => `${base()}/thumb/${id}/${height}.webp`;

async function answer(path, options) {
  let found;
  try { found = await fetch(path, { credentials: "same-origin", ...options }); }
  catch { throw new Failure(0, { detail: t("The server does not answer. What you wrote is still here; try again.") }); }
  if (found.ok) return found;
  const data = await found.json().catch(() => ({}));
  throw new Failure(found.status, data);
}
export const get = async (path) => (await answer(base() + path)).json();
export const raw = (path) => answer(base() + path);
export async function post(path, body, more = {}) {
  const json = !(body instanceof Blob);
  const headers = { "Content-Type": json ? "application/json" : body.type || "image/jpeg", ...more };
  const found = await answer(path === "/session" ? path : base() + path, { method: "POST", headers, body: json ? JSON.stringify(body) : body });
  return found.status === 204 ? {} : found.json();
}

/** Said to everybody, also to who does not see. */
export function say(text) { $("status").textContent = text; }
export const complain = (error) => say(error.message);
export async function tell(work, done) {
  try { const made = await work(); if (done) say(done); return made; } catch (error) { complain(error); return null; }
}

/** The address: `#/screen/rest?name=value`. */
export function where() {
  const [path, query = ""] = location.hash.replace(/^#/, "").split("?");
  const [screen = "", ...rest] = path.replace(/^\//, "").split("/");
  return { screen: screen || "search", rest: rest.join("/"), query: new URLSearchParams(query) };
}
export function link(screen, values = {}) {
  const query = new URLSearchParams(Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined));
  const text = query.toString();
  return `#/${screen}${text ? `?${text}` : ""}`;
}
export const go = (screen, values) => { location.hash = link(screen, values); };

/** Languages whose captions are shown first: what is asked for (`query`: that of the words), then the browser's, then English. */
export const show = (lang) => [lang, UI, ...navigator.languages, "en"].filter(Boolean).filter((tag, n, all) => all.indexOf(tag) === n).slice(0, 6).join(",");
export const languages = (any) => [["", any], ...Object.keys(state.info.languages).map((tag) => [tag, language(tag)]).sort((a, b) => a[1].localeCompare(b[1], UI))];
export const KINDS = ["human", "short", "dense", "alt", "label", "region", "question", "answer", "ocr"];
export const author = () => localStorage.getItem("author") || "";
export const mine = (tag) => [UI, ...navigator.languages].some((own) => own.split("-")[0] === tag.split("-")[0]);
export const writer = (c) => c.model || c.recipe || t("nobody knows who");
export const typing = (target) => /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
/** The letter of a key, also on keyboards of other scripts. */
export function letter(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.keyCode === 229) return "";
  if (/^[a-z0-9/?]$/i.test(event.key)) return event.key.toLowerCase();
  return event.code.startsWith("Key") && event.key.length === 1 ? event.code.slice(3).toLowerCase() : event.key;
}

/** Ask before what cannot be undone; the safe answer has the focus. */
export function sure(title, lines, yes) {
  return new Promise((done) => {
    const box = $("sure");
    const end = (value) => { box.close(); done(value); };
    const no = button(t("Cancel"), () => end(false));
    box.replaceChildren(make("h2", { id: "sure-title" }, title), ...lines.map((line) => make("p", {}, line)),
      make("div", { class: "row" }, no, button(yes, () => end(true), { class: "lost" })));
    box.oncancel = () => done(false);
    box.showModal();
    no.focus();
  });
}
