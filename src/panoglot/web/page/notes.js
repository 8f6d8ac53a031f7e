// What a search says of what it found, in the language of the page: by code and values; without words here in English.
import { UI, language, number, t } from "/a/base.js";

const NOTES = {
  de: {
    word_missing: "In keinem Text steht {words}.",
    weak_words: "Schwach: In keinem Text steht {words}; gezeigt wird, was am nächsten kommt.",
    made_up: "Nichts gefunden: In keinem Text steht {words}, und nichts kommt näher, als erfundene Wörter es tun.",
    phrase_missing: "In keinem Text steht {phrase} zusammen.",
    phrase_apart: "In keinem Text steht {phrase} zusammen; gezeigt wird, was am nächsten kommt.",
    must_missing: "In keinem Text steht {word}, und es muss in einem stehen (+).",
    word_dropped: "Schwach: {word} steht nur in Texten verworfener Bilder.",
    word_left_out: "Schwach: {word} steht nur in Texten von Bildern, die ausgeschlossen sind: {by}.",
    captions_dropped: "{words} steht in verworfenen Texten: {reasons}.",
    no_such_kind: "Kein Text passt zu {kinds}; es gibt: {there}.",
    not_encoded: "Der Sinn der Texte von {count} Bildern wird nicht durchsucht, ihnen fehlen Vektoren: {command}",
    nothing_fits: "Kein Bild passt zu: {by}.",
    where_fits_nothing: "Kein Bild passt zu {where}.",
    below_min_score: "Nichts erreicht {least}; der beste Wert ist {best}.",
    emoji: "{sign} wird als {name} gelesen.",
    emoji_unnamed: "Schwach: Ein Zeichen ohne Namen steht in keinem Text; gezeigt wird, was am nächsten kommt.",
    marks_alone: "Zeichen allein sind nichts, wonach sich suchen lässt.",
    plan_as_it_stands: "Gesucht wird mit dem Plan, wie er ist; vom Text daneben zählen nur +Wörter, -Wörter und „Wörter zusammen“.",
    fallback: "Ein einfacherer Plan wurde genommen ({preset}): {why}.",
  },
  ar: {
    word_missing: "لا يرد {words} في أي نص.",
    weak_words: "نتيجة ضعيفة: لا يرد {words} في أي نص؛ يُعرض الأقرب.",
    made_up: "لم يُعثر على شيء: لا يرد {words} في أي نص، ولا شيء أقرب مما تبلغه كلمات مختلقة.",
    phrase_missing: "لا يرد {phrase} معًا في أي نص.",
    phrase_apart: "لا يرد {phrase} معًا في أي نص؛ يُعرض الأقرب.",
    must_missing: "لا يرد {word} في أي نص، ويجب أن يرد في واحد (+).",
    word_dropped: "نتيجة ضعيفة: لا يرد {word} إلا في نصوص صور مستبعدة.",
    word_left_out: "نتيجة ضعيفة: لا يرد {word} إلا في نصوص صور لا تشملها الشروط: {by}.",
    captions_dropped: "يرد {words} في نصوص مستبعدة: {reasons}.",
    no_such_kind: "لا نص يوافق {kinds}؛ الموجود: {there}.",
    not_encoded: "لا يُبحث في معنى نصوص {count} من الصور، إذ لا متجهات لها بعد: {command}",
    nothing_fits: "لا صورة توافق: {by}.",
    where_fits_nothing: "لا صورة توافق {where}.",
    below_min_score: "لا شيء يبلغ {least}؛ أعلى درجة {best}.",
    emoji: "يُقرأ {sign} هكذا: {name}.",
    emoji_unnamed: "نتيجة ضعيفة: رمز بلا اسم لا يرد في أي نص؛ يُعرض الأقرب.",
    marks_alone: "العلامات وحدها لا يُبحث عنها.",
    plan_as_it_stands: "يُبحث بالخطة كما هي؛ ومن النص بجانبها لا يُحسب إلا ‎+كلمات و‎-كلمات و«كلمات معًا».",
    fallback: "أُخذت خطة أبسط ({preset}): {why}.",
  },
};
const QUOTES = { de: ["„", "“"], ar: ["«", "»"] };
const WORDS = ["words", "phrase", "word", "name"];
const either = new Intl.ListFormat(UI, { type: "disjunction" }), both = new Intl.ListFormat(UI, { type: "unit", style: "short" });
const apart = (text) => `\u2068${text}\u2069`; // of its own direction

/** A condition as the page calls it: `--lang sw` is the language Swahili. */
function condition(typed) {
  const [, name, value] = /^--(lang|kinds|where) '?(.*?)'?$/.exec(typed) || [];
  if (name === "lang") return `${t("language")} ${both.format(value.split(",").map(language))}`;
  if (name === "kinds") return `${t("kind")} ${both.format(value.split(",").map((kind) => t(kind)))}`;
  return apart(value || typed);
}

function written(name, value) {
  const [open, close] = QUOTES[UI] || ['"', '"'];
  const quoted = (text) => apart(open + text + close);
  if (name === "by") return both.format(value.map(condition));
  if (name === "kinds") return both.format(value.map((kind) => t(kind)));
  if (WORDS.includes(name)) return Array.isArray(value) ? either.format(value.slice(0, 4).map(quoted)) + (value.length > 4 ? " …" : "") : quoted(value);
  if (typeof value === "number") return number(value);
  if (typeof value === "object") return both.format(Object.entries(value).map(([key, count]) => `${apart(t(key))} (${number(count)})`)) || "–";
  return apart(value);
}

/** A line in the language of the page; `text` is the English one. */
export function note(text, { code, values } = {}) {
  const form = NOTES[UI]?.[code];
  return form ? form.replace(/\{(\w+)\}/g, (_, name) => written(name, values[name] ?? "")) : text;
}
