// The page: plain modules, no build. Every text of the dataset enters by textContent.
const $ = (id) => document.getElementById(id);
const state = { image: null, plan: null, hits: [], k: 60, open: null, editing: null, info: {} };

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") element.addEventListener("click", value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

async function api(path, body, type = "application/json") {
  const options = body === undefined ? {} : {
    method: "POST",
    headers: { "Content-Type": type },
    body: type === "application/json" ? JSON.stringify(body) : body,
  };
  const answer = await fetch(path, { credentials: "same-origin", ...options });
  const data = answer.status === 204 ? {} : await answer.json();
  if (!answer.ok) throw new Error(data.detail || answer.statusText);
  return data;
}

async function enter() {
  const code = decodeURIComponent(location.hash.slice(1));
  if (code) {
    history.replaceState(null, "", location.pathname + location.search);
    await api("/session", { code });
  }
  state.info = await api("/api/v1");
  document.title = `${state.info.name} – Panoglot`;
  $("name").textContent = state.info.name;
  document.body.classList.toggle("read-only", state.info.read_only);
  const names = new Intl.DisplayNames([navigator.language, "en"], { type: "language", fallback: "code" });
  const say = (tag) => { try { return names.of(tag); } catch { return tag; } };
  for (const tag of Object.keys(state.info.languages).sort((a, b) => say(a).localeCompare(say(b))))
    $("lang").append(make("option", { value: tag }, say(tag)));
  for (const kind of ["human", "short", "dense", "alt", "label", "ocr"]) $("kind").append(make("option", { value: kind }, kind));
  $("status").textContent = `${state.info.images.toLocaleString()} pictures`;
  const q = new URLSearchParams(location.search).get("q"); // the address is the question: it can be sent to others
  if (q) { $("q").value = q; await search(); }
}

function asked() {
  const body = { k: state.k };
  if ($("q").value.trim()) body.text = $("q").value.trim();
  if (state.image) body.image = state.image;
  if ($("lang").value) body.lang = $("lang").value;
  if ($("kind").value) body.kinds = $("kind").value;
  if ($("least").value) body.min_score = Number($("least").value);
  if (state.plan) body.plan = state.plan;
  return body;
}

let turn = 0;
async function search() {
  const mine = ++turn;
  const body = asked();
  if (!body.text && !body.image) { $("status").textContent = "Say what to look for, or give a picture."; return; }
  $("status").textContent = "Searching …";
  try {
    const found = await api("/api/v1/search", body);
    if (mine !== turn) return; // a later question was asked
    state.hits = found.hits;
    show(found);
  } catch (error) {
    if (mine === turn) { $("status").textContent = error.message; $("grid").replaceChildren(); $("plan").replaceChildren(); }
  }
}

function show(found) {
  const number = found.hits.length;
  $("status").textContent = number ? `${number} ${number === 1 ? "picture" : "pictures"}` : "Nothing found.";
  $("notes").replaceChildren(...found.notes.map((line) => make("li", {}, line)));
  chips(found.plan);
  $("grid").replaceChildren(...found.hits.map(tile));
  $("more").hidden = number < state.k || state.k >= 960;
}

function tile(hit) {
  const said = telling(hit);
  const image = make("img", { loading: "lazy", decoding: "async", alt: "", src: `/api/v1/thumb/${hit.id}/240.webp` });
  const parts = Object.keys(hit.parts).join(" · ");
  return make("li", {}, make("button", { type: "button", onclick: () => open(hit) }, image,
    make("span", { lang: said.lang }, said.text || hit.id.slice(0, 12)), make("small", {}, `${hit.score.toFixed(3)} ${parts}`)));
}

function telling(hit) {
  const lang = $("lang").value || navigator.language;
  const near = (c) => c.lang === lang || c.lang.split("-")[0] === lang.split("-")[0];
  const word = hit.parts.lexical;
  if (word && word.caption) return { text: word.caption, lang: word.lang };
  return hit.captions.find(near) || hit.captions.find((c) => c.lang.startsWith("en")) || hit.captions[0] || { text: "", lang: "und" };
}

function chips(plan) {
  const box = $("plan");
  box.replaceChildren();
  if (!plan) return;
  const one = (list, at, sign) => {
    const term = list[at];
    const what = term.kind === "text" ? term.value : `the ${term.kind}`;
    return make("button", { type: "button", class: sign === "−" ? "chip minus" : "chip", title: "take this out and search again",
      onclick: () => {
        const edited = structuredClone(plan);
        (sign === "−" ? edited.negatives : edited.positives).splice(at, 1);
        if (!edited.positives.length && !edited.conditions.length) return;
        state.plan = edited; search();
      } }, `${sign} ${what} ${Number(term.weight.toFixed(2))}`);
  };
  box.append(make("span", {}, `Read as (${plan.preset}${plan.fallback_used ? ", a fallback" : ""}):`));
  plan.positives.forEach((_, n) => box.append(one(plan.positives, n, "+")));
  plan.negatives.forEach((_, n) => box.append(one(plan.negatives, n, "−")));
}

async function open(hit) {
  state.open = hit.id;
  $("said").textContent = "";
  $("big").src = `/api/v1/thumb/${hit.id}/1600.webp`;
  $("big").alt = telling(hit).text;
  $("one-title").textContent = telling(hit).text || "Picture";
  $("why").replaceChildren(...Object.entries(hit.parts).map(([name, part]) =>
    make("p", {}, `${name}: ${part.score.toFixed(3)} (rank ${part.rank}, ${part.value.toFixed(3)}) ${(part.words || []).join(", ")}`)));
  if (!$("one").open) $("one").showModal();
  await captions();
}

async function captions() {
  const found = await api(`/api/v1/images/${state.open}`);
  $("facts").textContent = `${found.width} × ${found.height} ${found.format} · ${found.id}`;
  const own = (c) => (c.dropped ? 2 : 0) + (c.lang.split("-")[0] === navigator.language.split("-")[0] ? 0 : 1);
  const rows = found.captions.sort((a, b) => own(a) - own(b));
  $("captions").replaceChildren(...rows.map((c) => {
    const made = [c.lang, c.kind, c.model || c.recipe, c.author, c.dropped && `dropped: ${c.dropped}`].filter(Boolean).join(" · ");
    const line = make("li", {}, make("span", { class: c.dropped ? "t gone" : "t", lang: c.lang, dir: "auto" }, c.text), make("small", {}, made));
    if (!c.dropped && !state.info.read_only) {
      line.append(" ", make("button", { type: "button", onclick: () => edit(c) }, "Correct"), " ",
        make("button", { type: "button", onclick: () => drop(c) }, "Drop"));
    }
    return line;
  }));
}

function edit(caption) {
  state.editing = caption ? caption.caption_id : null;
  $("write-title").textContent = caption ? "Correct the caption" : "Add a caption";
  $("write-lang").value = caption ? caption.lang : navigator.language.split("-")[0];
  $("write-text").value = caption ? caption.text : "";
  $("write-text").focus();
}

async function tell(work, done) {
  try { await work(); $("said").textContent = done; } catch (error) { $("said").textContent = error.message; }
}

const drop = (caption) => tell(async () => {
  await api(`/api/v1/images/${state.open}/drop`, { caption: caption.caption_id, reason: "dropped by a person" });
  await captions();
}, "Dropped; it stays in the history.");

$("write").addEventListener("submit", (event) => {
  event.preventDefault();
  const body = { text: $("write-text").value, lang: $("write-lang").value };
  if (state.editing) body.caption = state.editing;
  tell(async () => { await api(`/api/v1/images/${state.open}/captions`, body); edit(null); await captions(); }, "Saved.");
});
$("write-new").addEventListener("click", () => edit(null));
$("close").addEventListener("click", () => $("one").close());
$("forget").addEventListener("click", () => {
  if (!confirm("Forget this picture, its captions and vectors? This cannot be undone.")) return;
  tell(async () => { await api("/api/v1/forget", { ids: [state.open] }); $("one").close(); await search(); }, "Forgotten.");
});
$("like").addEventListener("click", () => { picture(state.open); $("q").value = ""; $("one").close(); search(); });
$("but").addEventListener("click", () => { picture(state.open); $("q").value = ""; $("q").placeholder = "but …"; $("one").close(); $("q").focus(); });

function picture(id) {
  state.image = id; state.plan = null;
  $("picture").hidden = !id;
}
$("clear").addEventListener("click", () => { picture(null); $("q").placeholder = "What should be in the picture?"; });

async function send(file) {
  try { picture((await api("/api/v1/query-picture", file, file.type || "image/jpeg")).id); await search(); }
  catch (error) { $("status").textContent = error.message; }
}
$("file").addEventListener("change", () => { if ($("file").files[0]) send($("file").files[0]); });
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => { event.preventDefault(); if (event.dataTransfer.files[0]) send(event.dataTransfer.files[0]); });

let composing = false;
$("q").addEventListener("compositionstart", () => { composing = true; });
$("q").addEventListener("compositionend", () => { composing = false; });
$("ask").addEventListener("submit", (event) => { event.preventDefault(); if (composing) return;
  state.plan = null; state.k = 60;
  const q = $("q").value.trim();
  history.replaceState(null, "", q ? `?q=${encodeURIComponent(q)}` : location.pathname);
  search();
});
for (const id of ["lang", "kind", "least"]) $(id).addEventListener("change", () => { if (state.hits.length || $("q").value) search(); });
$("more").addEventListener("click", () => { state.k *= 2; search(); });
addEventListener("keydown", (event) => {
  if (event.key === "/" && !/INPUT|TEXTAREA|SELECT/.test(event.target.tagName) && !$("one").open) { event.preventDefault(); $("q").focus(); }
});
enter().catch((error) => { $("status").textContent = error.message; });
