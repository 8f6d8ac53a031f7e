"""The question of `describe` in other languages' own words: a model that is asked in German answers in German."""

from __future__ import annotations

from panoglot.languages import canonical_language

__all__ = ["QUESTIONS", "question_in"]

#: `describe.PROMPT`, said in the language.
QUESTIONS = {
    "ar": "صف هذه الصورة في جملة أو جملتين بسيطتين: ما الموجود فيها، وكيف يبدو، وما الذي يحدث.",
    "bn": "এই ছবিটি এক বা দুটি সহজ বাক্যে বর্ণনা করুন: কী আছে, দেখতে কেমন, কী ঘটছে।",
    "cs": "Popiš tento obrázek jednou nebo dvěma jednoduchými větami: co na něm je, jak to vypadá a co se děje.",
    "de": "Beschreibe dieses Bild in ein oder zwei einfachen Sätzen: was zu sehen ist, wie es aussieht, was geschieht.",
    "el": "Περίγραψε αυτή την εικόνα με μία ή δύο απλές προτάσεις: τι υπάρχει, πώς φαίνεται, τι συμβαίνει.",
    "es": "Describe esta imagen en una o dos frases sencillas: qué hay, qué aspecto tiene y qué ocurre.",
    "fa": "این تصویر را در یک یا دو جملهٔ ساده توصیف کن: چه چیزی در آن است، چگونه به نظر می‌رسد و چه اتفاقی می‌افتد.",
    "fr": "Décris cette image en une ou deux phrases simples : ce qu’on y voit, son aspect, ce qui se passe.",
    "he": "תאר את התמונה הזאת במשפט אחד או שניים פשוטים: מה יש בה, איך זה נראה ומה קורה.",
    "hi": "इस चित्र का एक या दो सरल वाक्यों में वर्णन करें: इसमें क्या है, वह कैसा दिखता है और क्या हो रहा है।",
    "id": "Jelaskan gambar ini dalam satu atau dua kalimat sederhana: apa isinya, bagaimana rupanya, apa yang terjadi.",
    "it": "Descrivi questa immagine in una o due frasi semplici: che cosa c’è, che aspetto ha, che cosa succede.",
    "ja": "この画像を一つか二つの簡単な文で説明してください。何があり、どう見え、何が起きているか。",
    "ko": "이 그림을 한두 개의 쉬운 문장으로 설명하세요. 무엇이 있고, 어떻게 보이며, 무슨 일이 일어나는지 쓰세요.",
    "nl": "Beschrijf deze afbeelding in een of twee eenvoudige zinnen: wat er te zien is, hoe het eruitziet en wat er "
    "gebeurt.",
    "pl": "Opisz ten obraz w jednym lub dwóch prostych zdaniach: co na nim jest, jak wygląda i co się dzieje.",
    "pt": "Descreva esta imagem em uma ou duas frases simples: o que há nela, como é e o que acontece.",
    "ro": "Descrie această imagine în una sau două propoziții simple: ce se află în ea, cum arată și ce se întâmplă.",
    "ru": "Опиши эту картинку одним-двумя простыми предложениями: что на ней есть, как это выглядит, что происходит.",
    "sw": "Eleza picha hii kwa sentensi moja au mbili rahisi: kuna nini, kinaonekanaje, na nini kinatokea.",
    "th": "อธิบายภาพนี้ด้วยประโยคง่าย ๆ หนึ่งหรือสองประโยค ว่ามีอะไร มีลักษณะอย่างไร และเกิดอะไรขึ้น",
    "tr": "Bu resmi bir veya iki sade cümleyle anlat: ne var, nasıl görünüyor, ne oluyor.",
    "uk": "Опиши цю картинку одним або двома простими реченнями: що на ній є, який це має вигляд, що відбувається.",
    "vi": "Hãy mô tả bức ảnh này trong một hoặc hai câu đơn giản: có gì, trông như thế nào và điều gì đang xảy ra.",
    "zh": "用一两句简单的话描述这张图片：有什么，看起来怎样，正在发生什么。",
    "zh-Hant": "用一兩句簡單的話描述這張圖片：有什麼，看起來怎樣，正在發生什麼事。",
}


def question_in(lang: str) -> str | None:
    """Return the question in a language's own words, or None where they are not known here.

    >>> question_in("pt-BR") == question_in("pt") != question_in("es"), question_in("zh_TW") == question_in("zh-Hant")
    (True, True)
    >>> question_in("zu")

    Raises:
        UserError: not a language tag.
    """
    tag = canonical_language(lang)
    script = tag.split("-")
    return QUESTIONS.get(tag) or QUESTIONS.get("-".join(script[:2])) or QUESTIONS.get(script[0])
