"""Tokenisers of text towers: CLIP's own, one that is learnt of the captions, what is cut."""

import importlib.util
import sys
import unicodedata
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from panoglot.errors import UserError
from panoglot.networks import Record, Text, load_row, load_run, make_model
from panoglot.networks.towers import MultiwayText, TextTransformer
from panoglot.training import Trainer, count_cut, shapes

TEXTS = {
    "en": "A photo of a cat's Hat, 42!  don't &amp; tell",
    "de": "Ein Café in Österreich, naïve Größe",
    "ar": "قطة تجلس على كرسي",
    "hi": "एक बिल्ली कुर्सी पर बैठी है",
    "th": "แมวนั่งบนเก้าอี้",
    "zh-Hans": "一只猫坐在椅子上",
    "ja": "猫が椅子に座っている",
    "sw": "Paka ameketi kwenye kiti",
    "he": "חתול יושב על כיסא",
}
clip_s = pytest.mark.skipif(importlib.util.find_spec("open_clip") is None, reason="open_clip's package is not here")


@clip_s
@pytest.mark.paper("clip", shows="V", case="byte-pair ids: 'a photo of a cat' is 320 1125 539 320 2368 in 49406, 49407")
def test_clip_s_own_tokens():
    tokens = TextTransformer(77, 16, 1, 2, tokenizer="clip").tokens
    assert tokens.ids("A photo of  a CAT") == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert (tokens.size, tokens.end, tokens.whole("a cat"), tokens.cut) == (49408, 49407, 4, 0)
    short = TextTransformer(5, 16, 1, 2, tokenizer="clip").tokens
    assert short.ids("a photo of a cat") == [49406, 320, 1125, 539, 49407]  # the end token stays
    assert short.cut == 1


@clip_s
@pytest.mark.parametrize("lang", TEXTS)
def test_clip_s_tokens_are_those_of_the_release(lang, monkeypatch):
    fix = SimpleNamespace(fix_text=lambda text: unicodedata.normalize("NFC", text))
    monkeypatch.setitem(sys.modules, "ftfy", fix)  # repairs what was read wrong; nothing here was
    pytest.importorskip("regex")
    found = importlib.util.find_spec("open_clip")
    spec = importlib.util.spec_from_file_location("release", found.origin.replace("__init__", "tokenizer"))
    release = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(release)
    ours = TextTransformer(77, 16, 1, 2, tokenizer="clip").tokens
    assert ours.encode(TEXTS[lang]) == release.SimpleTokenizer().encode(TEXTS[lang])


@clip_s
def test_the_vector_is_that_of_the_end_token():
    torch.manual_seed(0)
    tower = TextTransformer(12, 16, 1, 2, tokenizer="clip")
    ids, mask = tower.tokens(["a cat", "a photo of a cat"])
    pooled, tokens = tower(ids, mask)
    assert torch.equal(pooled[0], tokens[0, 3])
    assert torch.equal(pooled[1], tokens[1, 6])


def test_pieces_are_learnt_of_the_captions_and_kept_with_the_run(tmp_path):
    pytest.importorskip("sentencepiece")
    more = ["قطة تجلس على كرسي", "एक बिल्ली कुर्सी पर", "แมวนั่งบนเก้าอี้", "一只猫坐在椅子上"]
    records = shapes(64)
    for r, text in zip(records, more * 16, strict=True):
        r.texts = [*r.texts, Text(text, "long", "und")]
    text = {"kind": "transformer", "length": 48, "width": 16, "layers": 1, "heads": 2, "pool": "mean"}
    row = load_row("clip", "small", text={**text, "tokenizer": "captions", "vocabulary": 600}, batch=16, epochs=1)
    trainer = Trainer(row, records, tmp_path / "run", seed=0, workers=0)
    trainer.fit(2, progress=False)
    trainer.save()
    tokens = trainer.model.text.tokens
    assert all(len(tokens.encode(t)) < len(t.encode()) for t in more)  # pieces, not bytes
    assert len(tokens.encode("🦊")) >= 4  # never seen: bytes
    again = load_run(tmp_path / "run")
    assert [again.text.tokens.ids(t) for t in more] == [tokens.ids(t) for t in more]
    assert torch.equal(again.encode_texts(more), trainer.encoder.eval().encode_texts(more))
    resumed = Trainer(row, records, tmp_path / "run", seed=0, workers=0).resume()
    assert resumed.model.text.tokens.model == tokens.model
    other = Trainer(row, list(reversed(records)), seed=0, workers=0)
    assert other.model.text.tokens.model == tokens.model  # the order of the records does not matter
    with pytest.raises(UserError, match="has not learnt its pieces"):
        make_model(row).text.tokens(["a"])
    with pytest.raises(UserError, match="vocabulary=10"):
        TextTransformer(tokenizer="captions", vocabulary=10)


@pytest.mark.parametrize(("tokenizer", "length"), [("", 32), ("clip", 14)])
def test_what_is_cut_is_counted_a_language(tokenizer, length):
    if tokenizer and importlib.util.find_spec("open_clip") is None:
        pytest.skip("open_clip's package is not here")
    tokens = TextTransformer(length, 16, 1, 2, tokenizer=tokenizer).tokens
    records = [
        Record(lang, texts=[Text(text, "raw", lang), Text("short", "raw", lang)]) for lang, text in TEXTS.items()
    ]
    found = count_cut(tokens, load_row("clip", sampler={"kind": "each"}), records)
    assert list(found) == sorted(TEXTS)
    assert all(total == 2 for _, total in found.values())
    cut = {lang for lang, (n, _) in found.items() if n}
    room = [
        lang for lang, text in TEXTS.items() if len(tokens.encode(text) if tokenizer else text.encode()) <= length - 2
    ]
    assert cut == set(TEXTS) - set(room)
    assert {"ar", "hi", "th"} <= cut
    assert ("sw" in cut) is False


def test_presets_of_papers_read_the_papers_tokens():
    named = {name: load_row(name).text.get("tokenizer") for name in ("clip", "dreamlip", "grain", "veclip", "sycoca")}
    assert set(named.values()) == {"clip"}
    assert load_row("dc-clip").text["tokenizer"] == "xlm-roberta-base"
    assert load_row("m2-encoder").text["vocabulary"] == 115_244


@pytest.mark.parametrize(
    "text", ["ein roter vogel", "قطة على سرير", "แมวนอน", "猫は寝る", "एक लाल चिड़िया", "paka mweusi"]
)
@pytest.mark.parametrize("tokenizer", ["", "captions", pytest.param("clip", marks=clip_s)])
def test_what_was_cut_into_pieces_is_read_again(text, tokenizer):
    tower = TextTransformer(90, 16, 1, 2, tokenizer=tokenizer, vocabulary=400)
    if tokenizer == "captions":
        pytest.importorskip("sentencepiece")
        tower.learn(["ein roter vogel", "a black cat sleeps"] * 20)
    said = tower.tokens.decode(tower.tokens.ids(text))
    assert said.replace(" ", "") == text.replace(" ", "")


@pytest.mark.paper("m2-encoder", shows="V", case="a SentencePiece file as tokeniser: its start and end")
def test_a_file_of_sentencepiece(tmp_path):
    import io

    kit = pytest.importorskip("sentencepiece")
    lines = ["a red bird", "一只红色的鸟", "طائر أحمر", "लाल चिड़िया", "นกสีแดง", "ndege mwekundu"] * 9
    for name, symbols, start, end in (("glm", ["[CLS]"], "[CLS]", "</s>"), ("plain", [], "<s>", "</s>")):
        out = io.BytesIO()
        kit.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_writer=out, vocab_size=330, byte_fallback=True, hard_vocab_limit=False,
            control_symbols=symbols, minloglevel=2, num_threads=1,
        )  # fmt: skip
        place = tmp_path / f"{name}.model"
        place.write_bytes(out.getvalue())
        tower = MultiwayText(length=40, width=16, layers=1, heads=2, tokenizer=str(place))
        own = kit.SentencePieceProcessor(model_proto=out.getvalue())
        for text in lines[:6]:
            ids, mask = tower.tokens([text])
            assert ids[0].tolist() == [own.piece_to_id(start), *own.encode(text), own.piece_to_id(end)]
            assert bool(mask.all())
            assert tower.tokens.decode(ids[0]) == text
        assert tower.embed.num_embeddings == own.get_piece_size()
        before = tower.tokens.cut
        tower.tokens([" ".join(lines)])
        assert tower.tokens.cut == before + 1
    with pytest.raises(UserError, match=r"is no file of SentencePiece that can be read"):
        MultiwayText(tokenizer=str(tmp_path / "nothing.model"))
    (tmp_path / "bad.model").write_bytes(b"no model")
    with pytest.raises(UserError, match=r"is no file of SentencePiece that can be read"):
        MultiwayText(tokenizer=str(tmp_path / "bad.model"))
