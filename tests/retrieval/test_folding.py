"""Forms of words in sentences: Swahili's classes, Korean verbs, Persian plurals; what must meet, and what must not."""

import pytest

from panoglot.retrieval import Searcher, matched
from tests.retrieval.conftest import World

#: Language, a caption, words that find it, words that do not.
SENTENCES = [
    ("sw", "Watoto wawili wanacheza mpira uwanjani.", "mtoto watoto mpira", "kitoto mwana"),
    ("sw", "Kuna vitabu vingi mezani.", "kitabu vitabu", "tabu"),
    ("sw", "Miti mirefu iko karibu na mto.", "mti miti mto mrefu", "kiti"),
    ("sw", "Viti vitatu vya mbao.", "kiti viti ubao", "miti"),
    ("sw", "Walimu wanafundisha wanafunzi.", "mwalimu walimu mwanafunzi", "kalimu"),
    ("sw", "Matunda na mayai sokoni.", "tunda matunda yai mayai", "mtunda"),
    ("sw", "Macho ya paka ni meusi.", "jicho macho paka", "kicho"),
    ("sw", "Magari mekundu barabarani.", "gari magari", "kigari"),
    ("sw", "Vyura viwili kwenye maji.", "chura vyura maji", "ji mawili"),
    ("sw", "Maua ya manjano.", "ua maua", "mua"),
    ("sw", "Mawe makubwa mlimani.", "jiwe mawe kubwa", "kiwe"),
    ("sw", "Wanawake wanabeba mizigo.", "mwanamke wanawake mzigo mizigo", "mke"),
    ("sw", "Kuta za nyumba ni nyeupe.", "ukuta kuta nyumba", "uta"),
    ("sw", "Meno ya simba.", "jino meno simba", "eno"),
    ("sw", "Mahali pa kupumzika wakati wa usiku.", "mahali usiku", "hali siku mkati"),
    ("sw", "Paka na mama wake.", "mama wake", "mke ma"),
    ("sw", "Mashua baharini.", "mashua", "shua"),
    ("sw", "Ndege wengi angani.", "ndege", "dege"),
    ("sw", "Wavulana na wasichana.", "mvulana msichana", "kivulana"),
    ("sw", "Milima yenye theluji.", "mlima milima theluji", "kilima"),
    ("sw", "Nyimbo za watu.", "wimbo mtu watu", "kitu"),
    ("sw", "Vitu vya kale.", "kitu vitu", "mtu watu"),
    ("sw", "Viatu vyekundu.", "kiatu viatu chekundu", "matu"),
    ("sw", "Vyombo vya udongo.", "chombo udongo", "mbo dongo"),
    ("sw", "Funguo mbili.", "ufunguo funguo", "fungu"),
    ("sw", "Kisu kikali.", "kisu visu", "masu"),
    ("sw", "Embe moja tu.", "embe maembe", "miembe"),
    ("sw", "Madini ya dhahabu.", "madini", "dini"),
    ("sw", "Mahindi shambani.", "mahindi", "hindi"),
    ("ko", "아이들이 공원에서 달린다.", "달리다 달리는 달렸다 달려요 달립니다 달리고 아이 공원", "달다 다리"),
    ("ko", "고양이가 의자 위에서 잤다.", "자다 잔다 자는 고양이 의자", "즈다 가다"),
    ("ko", "여자가 사과를 먹고 있다.", "먹다 먹는 먹었다 먹는다 먹습니다 사과", "사다 먹이다"),
    ("ko", "새가 하늘을 날았다.", "날다 난다 나는 새 하늘", "낳다"),
    ("ko", "남자가 산에 올랐다.", "오르다 오르는 산 남자", "올리다"),
    ("ko", "소녀가 친구를 도왔다.", "돕다 소녀 친구", "도다"),
    ("ko", "학생이 글을 배웠다.", "배우다 배우는 학생", "배다"),
    ("ko", "꽃이 예뻤다.", "예쁘다 꽃", "예다"),
    ("ko", "어머니는 편지를 썼다.", "쓰다 쓰는 어머니 편지", "서다"),
    ("ko", "두 사람이 길을 걸었다.", "걷다 사람 길", "거다"),
    ("ko", "바다와 배", "바다 배", "바 바르다"),
    ("ko", "사고 현장 사진", "사고 사진", "사다 사지"),
    ("ko", "창고 앞의 자동차", "창고 자동차", "창"),
    ("ko", "개는 작은 집 앞에 앉았다.", "개 작다 집 앉다 앉는", "크다 개다"),
    ("ko", "아기는 우는 중이고 아버지는 빵을 만드는 중이다.", "울다 만들다 빵 아기", "우유"),
    ("ko", "기차가 역에 왔다.", "오다 기차 역", "왔"),
    ("fa", "کتابها روی میز هستند.", "کتاب کتابها کتاب‌ها كتاب میز", "تاب"),
    ("fa", "درخت‌های بلند", "درخت درختها درخت‌ها بلند", "درد"),
    ("fa", "گل ها در باغچه", "گل گلها گل‌ها باغچه", "باغ"),
    ("fa", "سگهای سیاه می‌دوند.", "سگ سگها سیاه", "سنگ"),
    ("fa", "پرنده‌هایی روی سیم", "پرنده پرنده‌ها سیم", "پر"),
    ("fa", "نیروگاه هسته‌ای", "هسته نیروگاه", "هست"),
    ("fa", "مردی تنها در ساحل", "تنها ساحل", "تن"),
    ("fa", "آنها بازی می‌کنند.", "آنها بازی", "ان"),
    ("ar", "بيتها كبير.", "بيت بيتها كبير", "بي"),
    ("ar", "القطة تنظر إليها.", "قطة اليها", "الي"),
    ("ar", "ها هو القط.", "قط هو", "هوا"),
    ("en", "The vital mall of Kino Street, a wall and a mimic.", "mall wall", "vino mimi kital"),
]


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("sentences") / "x.pano")
    world.of = world.images(len(SENTENCES))
    for image, (lang, text, _, _) in zip(world.of, SENTENCES):
        world.caption(image, text, lang)
    return Searcher(world.data), world.of


@pytest.mark.parametrize("lang", ["sw", "ko", "fa", "ar", "en"])
def test_forms_of_words_in_sentences(sentences, lang):
    """Every form finds its sentence; a word that is another one does not."""
    searcher, images = sentences
    right = wrong = of = 0
    for image, (spoken, text, finds, not_) in zip(images, SENTENCES):
        if spoken != lang:
            continue
        for word in finds.split():
            assert image in {hit.image_id for hit in searcher.search(f"+{word}")}, (word, text)
            assert matched([word], text, lang) == [word], (word, text)
            right += 1
        for word in not_.split():
            of += 1
            wrong += image in {hit.image_id for hit in searcher.search(f"+{word}")}
            assert image not in {hit.image_id for hit in searcher.search(f"+{word}")}, (word, text)
    print(f"{lang}: {right} forms find their sentence, {wrong} of {of} other words do")


def test_swahili_s_rules_are_for_swahili_alone(tmp_path):
    world = World(tmp_path / "x.pano")
    for image, (text, lang) in zip(world.images(2), (("vital mikono", "it"), ("A mile of vines", "en"))):
        world.caption(image, text, lang)
    searcher = Searcher(world.data)
    assert not searcher.search("+mkono")
    assert not searcher.search("+kital")
    assert matched(["mkono"], "mikono miwili") == []
    assert matched(["mkono"], "mikono miwili", "sw") == ["mkono"]
    assert matched(["mkono"], "mikono miwili", "sw-KE") == ["mkono"]
    world.caption(world.images(1, 9)[0], "Mikono miwili.", "sw-TZ")  # from now on a caption is in Swahili
    assert len(Searcher(world.data).search("+mkono")) == 1
    assert not Searcher(world.data).search("+kital")
