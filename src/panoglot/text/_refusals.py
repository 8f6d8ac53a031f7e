"""How models decline in words, by language: the beginnings of sentences that no caption has."""

from __future__ import annotations

import re

__all__ = ["REFUSAL"]

_NOT = (
    r"(?:can(?:no|')?t|can’t|cannot|can not|could(?:n['’]t| not)|am unable to|['’]m unable to|am not able to"
    r"|['’]m not able to|won['’]t)"
)
_DO = (
    r"(?:help|assist|comply|fulfill|fulfil|process|provide|identify|recogni[sz]e|describe|generate|create|produce"
    r"|write|answer"
    r"|respond|discuss|engage|continue|do (?:that|this)|analy[sz]e|caption|translate|accommodate|complete|support"
    r"|share"
    r"|(?:see|view|access|open|display) (?:the |any |this |that |your )?(?:image|picture|photo|attachment|file"
    r"|link)s?)"
)
_ENGLISH = (
    rf"(?:(?:i['’]?m|i am|we['’]?re|we are)? ?(?:really |so |very )?(?:sorry|afraid)\b[^\n]{{0,60}}?\b(?:(?:i"
    rf"|we) {_NOT}|unable|not able)\b"
    rf"|(?:i )?apologi[sz]e\b[^\n]{{0,60}}?\b(?:i|we) {_NOT}"
    rf"|(?:i|we) ?{_NOT} {_DO}"
    rf"|(?:unfortunately|regrettably),? (?:i|we) ?{_NOT}"
    r"|(?:as|i['’]?m|i am) an? (?:\w+ )?(?:ai|artificial intelligence|(?:large )?language model|text-based"
    r"|virtual assistant)\b"
    r"|(?:this|that|your) (?:request|content|image) (?:violates|goes against|is against|may violate)"
    r"|i (?:must|have to|need to|will have to) (?:decline|refuse)|i (?:decline|refuse) to"
    r"|no image (?:was |has been |is )?(?:provided|attached|uploaded|included)"
    r"|(?:please )?(?:provide|upload|attach|share) (?:the|an|your) (?:image|picture|photo)\b"
    r"|(?:i|we) (?:do not|don['’]t|cannot|can['’]t|can not) (?:actually |currently )?(?:see|find|have|detect)"
    r" (?:any|an|the|a|your)? ?(?:attached |uploaded )?(?:image|picture|photo|attachment)s?\b"
    r"|there (?:is|was|seems to be|appears to be) no (?:attached )?(?:image|picture|photo)"
    r" (?:here|attached|provided|uploaded|in your|to describe)"
    r"|it (?:seems|looks like|appears)[^\n]{0,40}\b(?:image|picture|photo)[^\n]{0,30}\b(?:not|n['’]t|no|missing)\b"
    r"[^\n]{0,30}\b(?:attach|upload|provid|load|come through))"
)
_OTHERS = [
    # "I see no picture", "please upload it"
    r"(?:leider )?(?:kann ich|ich kann|ich sehe)(?: hier| leider)? kein(?:e|en)? (?:bild|foto|abbildung|datei|anhang)\b"
    r"|es wurde kein (?:bild|foto)|bitte laden sie (?:das|ein|ihr) (?:bild|foto)"
    r"|bitte lade (?:das|ein|dein) (?:bild|foto)",
    r"je ne vois (?:pas d['’]|aucune )(?:image|photo)|aucune (?:image|photo) n['’](?:a été|est)",
    r"no (?:veo|puedo ver) ninguna (?:imagen|foto)|no se (?:ha )?(?:adjunt|proporcion)\w+ ninguna imagen",
    r"não (?:vejo|consigo ver) nenhuma (?:imagem|foto)|nenhuma imagem foi (?:enviada|anexada|fornecida)",
    r"non (?:vedo|riesco a vedere) (?:alcuna|nessuna) (?:immagine|foto)|nessuna immagine (?:è stata )?(?:allegata"
    r"|fornita)",
    r"ik (?:zie|kan) (?:hier )?geen (?:afbeelding|foto)\b|er is geen afbeelding",
    r"nie widzę (?:żadnego )?(?:obrazu|zdjęcia)|я не вижу (?:никакого )?(?:изображени|картинк|фото)",
    r"(?:sioni|siwezi kuona) picha|hakuna picha (?:iliyo|uliyo)",
    r"saya tidak (?:melihat|dapat melihat) gambar|tôi không (?:thấy|nhìn thấy) (?:hình|ảnh|bức ảnh)",
    r"لا أرى (?:أي )?صورة|मुझे कोई (?:छवि|तस्वीर|चित्र) (?:नहीं )?(?:दिख|मिल)|ฉันไม่เห็น(?:รูป|ภาพ)|ไม่พบรูปภาพที่แนบ",
    r"我(?:没有|沒有|无法|無法)?(?:看不到|看到|看见)(?:任何)?(?:图片|圖片|图像)|(?:没有|沒有|未)(?:提供|上传|上傳)(?:任何)?(?:图片|圖片)",
    r"画像が(?:見つかりません|添付されていません|見えません|ありません)|이미지가 (?:첨부되지|보이지|없)",
    # German
    r"(?:es tut mir (?:sehr )?leid|tut mir leid|entschuldigung|leider)\b[^\n]{0,60}\b(?:kann|darf|könn|möglich)",
    r"ich kann (?:dir|ihnen|dabei|dieses|diese|das|bei|leider|keine)\b[^\n]{0,60}\b(?:nicht|helfen|beschreiben"
    r"|identifizieren)",
    r"als (?:ein )?(?:ki|künstliche|sprachmodell|ki-sprachmodell|ai)\b",
    # French
    r"(?:je suis désolée?|désolée?|malheureusement|je m['’]excuse|je regrette)\b[^\n]{0,60}\b(?:ne (?:peux|puis"
    r"|suis)|impossible)",
    r"je ne (?:peux|puis|suis) pas (?:vous |t['’])?(?:aider|identifier|décrire|répondre|fournir|traiter|en mesure"
    r"|capable)",
    r"en tant qu['’](?:ia|intelligence|assistant|modèle)\b|en tant que (?:modèle|grand modèle)",
    # Spanish, Portuguese, Italian, Romanian, Catalan
    r"(?:lo siento|lamento|lamentablemente|disculpa|perdón)\b[^\n]{0,60}\bno (?:puedo|me es|es posible)",
    r"no puedo (?:ayudar|identificar|describir|responder|proporcionar|ver la imagen|procesar|asistir|cumplir)",
    r"como (?:modelo de lenguaje|una? ?(?:ia|inteligencia artificial|modelo de))",
    r"(?:sinto muito|desculpe|lamento|infelizmente)\b[^\n]{0,60}\bnão (?:posso|consigo|é possível)",
    r"não (?:posso|consigo) (?:ajudar|identificar|descrever|responder|fornecer|atender|processar)",
    r"como (?:um )?modelo de linguagem|como uma? (?:ia|inteligência artificial)",
    r"(?:mi dispiace|spiacente|purtroppo|mi scuso)\b[^\n]{0,60}\bnon (?:posso|sono in grado|è possibile)",
    r"non posso (?:aiutar|identificare|descrivere|rispondere|fornire)|come modello linguistico|in quanto (?:ia"
    r"|modello)",
    r"(?:îmi pare rău|scuze|din păcate)\b[^\n]{0,60}\bnu pot|nu pot (?:ajuta|identifica|descrie|să)",
    r"(?:ho sento|em sap greu)\b[^\n]{0,60}\bno puc",
    # Dutch, Swedish, Danish, Norwegian, Finnish
    r"(?:het spijt me|sorry|helaas)\b[^\n]{0,60}\b(?:kan ik|ik kan|niet)\b|als (?:ai|taalmodel)",
    r"(?:jag är ledsen|förlåt|tyvärr|beklagar)\b[^\n]{0,60}\b(?:jag|kan) (?:kan|jag)? ?inte",
    r"(?:jeg beklager|beklager|desværre|dessverre|undskyld)\b[^\n]{0,60}\b(?:kan jeg|jeg kan|ikke)\b",
    r"(?:olen pahoillani|anteeksi|valitettavasti|pahoittelen)\b[^\n]{0,60}\ben (?:voi|pysty)",
    # Polish, Czech, Hungarian, Russian, Ukrainian, Bulgarian, Greek
    r"(?:przykro mi|przepraszam|niestety)\b[^\n]{0,60}\bnie (?:mogę|jestem w stanie)|nie mogę (?:pomóc"
    r"|zidentyfikować|opisać)",
    r"(?:omlouvám se|je mi líto|bohužel|promiňte)\b[^\n]{0,60}\b(?:nemohu|nemůžu|nedokáž)",
    r"(?:sajnálom|elnézést|sajnos)\b[^\n]{0,60}\bnem (?:tudok|tudom|áll)",
    r"(?:извините|простите|к сожалению|мне жаль|прошу прощения)\b[^\n]{0,60}\b(?:не могу|не смогу|не в состоянии)",
    r"я не могу (?:помочь|определить|описать|ответить|идентифицировать|выполнить|предоставить)"
    r"|как (?:языковая модель|ии|искусственный)",
    r"(?:вибачте|на жаль|перепрошую|мені шкода)\b[^\n]{0,60}\bне мож[уе]|як мовна модель",
    r"(?:съжалявам|за съжаление)\b[^\n]{0,60}\bне мога",
    r"(?:λυπάμαι|συγγνώμη|δυστυχώς)[^\n]{0,60}δεν (?:μπορώ|είμαι)",
    # Turkish, Indonesian, Malay, Vietnamese, Swahili
    r"(?:üzgünüm|özür dilerim|maalesef|ne yazık ki)\b[^\n]{0,120}(?:amıyorum|emiyorum|amam|emem|mümkün değil)"
    r"|bir yapay zeka",
    r"(?:maaf|mohon maaf|sayangnya)\b[^\n]{0,60}\b(?:tidak (?:bisa|dapat)|tak (?:boleh|dapat))"
    r"|sebagai (?:model bahasa|ai)",
    r"(?:xin lỗi|rất tiếc|tôi xin lỗi|tôi rất tiếc)\b[^\n]{0,60}\bkhông (?:thể|được)|tôi không thể (?:giúp|xác định"
    r"|mô tả|hỗ trợ)",
    r"(?:samahani|pole|naomba radhi)\b[^\n]{0,60}\b(?:siwezi|sitaweza)",
    # Arabic, Persian, Urdu, Hebrew
    r"(?:آسف|أعتذر|عذر[اً]{1,2}|للأسف|يؤسفني)[^\n]{0,60}لا (?:أستطيع|يمكنني)|لا (?:يمكنني|أستطيع) (?:المساعدة|تحديد"
    r"|وصف)",
    r"(?:متأسفم|متاسفم|ببخشید|عذرخواهی|پوزش|متأسفانه|متاسفانه)[^\n]{0,80}(?:نمی\u200c?توانم|نمی توانم|قادر نیستم)",
    r"(?:معذرت|معاف کیجیے|افسوس)[^\n]{0,80}(?:نہیں کر سکتا|نہیں کر سکتی|قاصر)",
    r"(?:אני מצטער(?:ת)?|סליחה|לצערי)[^\n]{0,60}(?:לא יכול|איני|לא ניתן)",
    # Hindi, Bengali, Tamil, Thai
    r"(?:मुझे खेद है|क्षमा करें|माफ़ करें|माफ करें|मुझे माफ|खेद है)[^\n]{0,80}(?:नहीं|असमर्थ)",
    r"(?:দুঃখিত|আমি দুঃখিত|ক্ষমা করবেন)[^\n]{0,80}(?:পারি না|পারব না|পারছি না|অক্ষম)",
    r"(?:மன்னிக்கவும்|வருந்துகிறேன்)[^\n]{0,80}(?:முடியாது|இயலாது|முடியவில்லை)",
    r"(?:ขออภัย|ขอโทษ|เสียใจ)[^\n]{0,60}(?:ไม่สามารถ|ไม่ได้)",
    # Chinese, Japanese, Korean
    r"(?:很|非常|十分)?(?:抱歉|对不起|對不起|不好意思|遗憾|遺憾)[^\n]{0,40}(?:无法|無法|不能|不可以|没办法|沒辦法)",
    r"(?:我|作为(?:一个)?(?:ai|人工智能)|作為(?:一個)?(?:ai|人工智慧))[^\n]{0,12}(?:无法|無法|不能)(?:识别|識別|提供|协助|協助|帮助|幫助|描述|回答|满足|处理|查看)",
    r"作为一个?(?:ai|人工智能|语言模型)|作為一個?(?:ai|人工智慧|語言模型)",
    r"(?:申し訳(?:ありません|ございません)|すみません|ごめんなさい|残念ながら|恐れ入りますが)[^\n]{0,60}(?:できません|できかねます|出来ません|いたしかねます|お答えできない)",
    r"(?:죄송(?:합니다|하지만|하게도)|미안(?:합니다|하지만)|유감스럽게도|안타깝게도)[^\n]{0,60}(?:수 없|못|불가|어렵)",
]
#: Matched at the beginning of an answer.
REFUSAL = re.compile(rf"[\s\"'“«*_]*(?:{_ENGLISH}|{'|'.join(_OTHERS)})", re.I)
