"""Answers of chat models: what is kept of them, and why there is nothing in some."""

from __future__ import annotations

import pytest

from panoglot.errors import RowError
from panoglot.text import read_answer, read_json_answer, read_json_object, sound_text

BIRD = "A red bird on a branch."


@pytest.mark.parametrize(
    "raw",
    [
        BIRD,
        f"<think>\nThe user wants a caption.\n</think>\n\n{BIRD}",
        f"<think></think>{BIRD}",
        f"<THINKING>hm</THINKING>{BIRD}",
        f"It wants a caption. I see a bird.\n</think>\n{BIRD}",  # the template wrote the opening mark
        f"<think>I may write <think> or </think>; so:</think>{BIRD}",
        f"[THINK]hm[/THINK]{BIRD}",
        f"◁think▷hm◁/think▷{BIRD}",
        f"<seed:think>hm</seed:think>{BIRD}",
        f"<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>{BIRD}<|return|>",
        f"<|begin_of_thought|>hm<|end_of_thought|><|begin_of_solution|>{BIRD}<|end_of_solution|>",
        f"<unused94>thought\nhm<unused95>{BIRD}",
        f"<think>a</think>{BIRD}<think>once more",
        f"<answer>{BIRD}</answer>",
        f"<|begin_of_box|>{BIRD}<|end_of_box|>",
        f"{BIRD}<|im_end|>",
        f"{BIRD}</s>",
        f"{BIRD}<end_of_turn>\n<start_of_turn>user\nAnd this?",
        f"{BIRD}<|im_end|>\n<|im_start|>user\nAnd this?<|im_end|>",
        f"<s>[INST] What is it? [/INST] {BIRD}</s>",
        f"<|im_start|>assistant\n{BIRD}",
        f"<|start_header_id|>assistant<|end_header_id|>\n\n{BIRD}<|eot_id|>",
        f"{BIRD}<｜end▁of▁sentence｜>",
        f"{BIRD}\n### Human: And this?",
        f"Assistant: {BIRD}",
        f"```\n{BIRD}\n```",
        f"```text\n{BIRD}",
        f"~~~\n{BIRD}\n~~~",
        f"Here is a caption:\n{BIRD}",
        f"Here's a short description of the image:\n\n{BIRD}",
        f"Sure! Here is the caption you asked for: {BIRD}",
        f"Certainly!\n\n**Caption:** {BIRD}",
        f"**Caption:** **{BIRD}**",
        f"Sure, here you go:\n```\n{BIRD}\n```",
        f'Caption: "{BIRD}"',
        f"“{BIRD}”",
        f"Of course. {BIRD}",
        f"Hier ist eine Bildunterschrift: {BIRD}",
        f"Natürlich! Beschreibung: {BIRD}",
        f"Voici une légende pour l'image : {BIRD}",
        f"Aquí tienes una descripción: {BIRD}",
        f"Claro! {BIRD}",
        f"Aqui está a legenda: {BIRD}",
        f"Ecco la didascalia: {BIRD}",
        f"Вот подпись: {BIRD}",
        f"Oto opis zdjęcia: {BIRD}",
        f"Berikut adalah keterangan: {BIRD}",
        f"Đây là mô tả hình ảnh: {BIRD}",
        f"إليك وصف الصورة: {BIRD}",
        f"यह रहा कैप्शन: {BIRD}",
        f"以下是图片的描述：{BIRD}",
        f"当然！以下是说明：{BIRD}",
        f"こちらが画像のキャプションです：{BIRD}",
        f"다음은 이미지에 대한 설명입니다: {BIRD}",
    ],
)
def test_what_is_no_answer_goes(raw):
    assert read_answer(raw).text == BIRD


@pytest.mark.parametrize(
    "text",
    [
        "Here is a cat on a mat: it sleeps.",
        "A picture of three things: a cat, a dog and a bird.",
        'A sign that reads "I\'m sorry, but we cannot help you."',
        "Sorry! The shop is closed, says the sign.",
        "I can't believe it's not butter: a tub on a table.",
        "Tutti frutti: colourful sweets in a jar.",
        '"Stop" is written on the "red" sign',
        "The word think in big letters.",
        "A man <3 his dog",
        "Okay.",
        "Bullet points:\n1. A cat\n2. A dog",
        "A clock at 10:30 on a wall.",
        "กะเพราไก่ไข่ดาว: อาหารจานเดียว",
        "这是一只红色的鸟。",
        "هذا طائر أحمر: صغير",
        "可愛い犬：芝生の上",
    ],
)
def test_captions_that_look_like_something_else_stay(text):
    assert read_answer(text).text == text


@pytest.mark.parametrize(
    "raw",
    [
        "I'm sorry, but I can't help with identifying people in images.",
        "I’m sorry, I can’t assist with that request.",
        "I cannot assist with that request.",
        "I apologize, but I am unable to view images.",
        "As an AI language model, I am unable to view images.",
        "Unfortunately, I cannot describe this image.",
        "I'm unable to see the image.",
        "<think>no</think>I must decline this request.",
        "Please provide the image you would like me to describe.",
        "Es tut mir leid, aber ich kann dabei nicht helfen.",
        "Je suis désolé, mais je ne peux pas vous aider.",
        "Lo siento, pero no puedo ayudar con eso.",
        "Desculpe, mas não posso ajudar com isso.",
        "Mi dispiace, ma non posso aiutarti.",
        "Het spijt me, maar ik kan daar niet bij helpen.",
        "Przepraszam, ale nie mogę w tym pomóc.",
        "Извините, но я не могу помочь с этим.",
        "Üzgünüm, bu konuda yardımcı olamam, bunu yapamıyorum.",
        "Maaf, saya tidak bisa membantu.",
        "Xin lỗi, tôi không thể giúp với yêu cầu này.",
        "عذراً، لا أستطيع المساعدة في ذلك.",
        "متأسفم، نمی‌توانم در این مورد کمک کنم.",
        "मुझे खेद है, मैं इसमें मदद नहीं कर सकता।",
        "দুঃখিত, আমি এতে সাহায্য করতে পারি না।",
        "ขออภัย ฉันไม่สามารถช่วยได้",
        "抱歉，我无法识别图片中的人。",
        "申し訳ありませんが、お手伝いできません。",
        "죄송합니다. 도와드릴 수 없습니다.",
    ],
)
def test_refusals_in_words(raw):
    assert read_answer(raw).reason == "refused"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("<think>First I look at the left side and then", "thinking_only"),
        ("<think>all of it</think>", "thinking_only"),
        ("<|channel|>analysis<|message|>hm", "thinking_only"),
        ("", "empty_answer"),
        ("<|im_end|>", "empty_answer"),
        ("\u200b\u2060\ufeff", "empty_answer"),
        ("```\n```", "empty_answer"),
    ],
)
def test_answers_without_a_text(raw, reason):
    assert read_answer(raw).reason == reason
    with pytest.raises(RowError) as caught:
        sound_text(raw)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "raw",
    [
        '{"a": "Sure: x"}',
        '```json\n{"a": "Sure: x"}\n```',
        'Here it is:\n```json\n{"a": "Sure: x"}\n```\nAnything else?',
        '<think>{"b": 1}</think>{"a": "Sure: x"}<|im_end|>',
    ],
)
def test_json_is_taken_out_and_left_as_it_is(raw):
    assert read_json_answer(raw).text == '{"a": "Sure: x"}'


def test_a_continuation_is_no_chat():
    assert sound_text(" Ein Hund: Sure</s>rest ", chat=False) == "Ein Hund: Sure"
    with pytest.raises(RowError, match="empty_answer"):
        sound_text("\u200b", chat=False)


@pytest.mark.parametrize(
    "part",
    ["<think></think>", "<think>", "```\n", "```a", "\n", "<|im_start|>", "here is ", "[/INST]", "<|", "**", "#\n"],
)
def test_hostile_answers_cost_little(part):
    read_answer((part * (1_000_000 // len(part)))[:1_000_000])  # quadratic work would take minutes
    with pytest.raises(RowError, match="answer_too_large"):
        sound_text(part * 1_000_001)


@pytest.mark.parametrize("said", ['{"a": "แมว {x}"}', 'Hier: {"a": "แมว {x}"} – gut?', '[{"a": "แมว {x}"}]'])
def test_the_object_of_an_answer_is_read_whatever_stands_around_it(said):
    assert read_json_object(said) == {"a": "แมว {x}"}


@pytest.mark.parametrize("said", ["", "no object", "}{", "[1, 2]", '{"a": 1', '{"a": ' * 100_000 + "}" * 100_000])
def test_an_answer_without_an_object_is_one_error(said):
    with pytest.raises(ValueError):  # noqa: PT011 - a JSONDecodeError, whose words are Python's
        read_json_object(said)
