// Filters the sample. Without it the page is whole; nothing here reads or writes anything but `hidden` and `open`.
"use strict";
(() => {
  const form = document.getElementById("filter");
  if (!form) return;
  const [text, lang, kind, count] = ["f-text", "f-lang", "f-kind", "f-count"].map((id) => document.getElementById(id));
  const plain = (value) => value.normalize("NFKD").replace(/\p{M}/gu, "").toLocaleLowerCase();
  const cards = [...document.querySelectorAll(".card")].map((card) => ({
    card,
    name: plain(card.dataset.name),
    folds: [...card.querySelectorAll(".fold")],
    groups: [...card.querySelectorAll(".group")],
    texts: [...card.querySelectorAll(".x")].map((x) => ({ x, words: plain(x.textContent), ...x.dataset })),
  }));

  const names = new Map();
  for (const tag of document.querySelectorAll("abbr.tag")) names.set(tag.textContent, tag.title);
  const fill = (select, values, name) => {
    for (const value of [...new Set(values)].sort((a, b) => name(a).localeCompare(name(b), "en"))) {
      select.add(new Option(name(value), value));
    }
  };
  const all = cards.flatMap((one) => one.texts);
  fill(lang, all.map((t) => t.lang), (tag) => (names.get(tag) || tag));
  fill(kind, all.map((t) => t.kind), (name) => name);

  const apply = () => {
    const wanted = plain(text.value.trim());
    const on = Boolean(wanted || lang.value || kind.value);
    let left = 0;
    for (const { card, name, folds, groups, texts } of cards) {
      const named = wanted !== "" && name.includes(wanted);
      let any = false;
      for (const t of texts) {
        const fits =
          (!lang.value || t.lang === lang.value) &&
          (!kind.value || t.kind === kind.value) &&
          (!wanted || named || t.words.includes(wanted));
        t.x.hidden = !fits;
        any = any || fits;
      }
      for (const group of groups) group.hidden = on && !group.querySelector(".x:not([hidden])");
      for (const fold of folds) {
        const some = Boolean(fold.querySelector(".x:not([hidden])"));
        fold.hidden = on && !some;
        fold.open = on && some && !named;
      }
      card.hidden = on && !any;
      left += card.hidden ? 0 : 1;
    }
    count.textContent = on ? `${left} of ${cards.length} pictures` : "";
    document.getElementById("f-none").hidden = left > 0;
  };

  let waiting = 0;
  form.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(apply, 80);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
  document.getElementById("f-clear").addEventListener("click", () => form.reset());
  form.hidden = false;
})();
