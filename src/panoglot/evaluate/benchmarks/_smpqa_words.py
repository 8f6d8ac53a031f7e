"""Labels of our SMPQA charts: 24 everyday nouns, the same in every language and in the same order."""

from __future__ import annotations

__all__ = ["WORDS"]

#: Nouns by language, spaces between them.
WORDS: dict[str, str] = {
    "en": "apple bread milk house tree river mountain sun moon dog cat bird fish horse book door window road bridge "
    "school market salt rice garden",
    "de": "Apfel Brot Milch Haus Baum Fluss Berg Sonne Mond Hund Katze Vogel Fisch Pferd Buch Tür Fenster Straße "
    "Brücke Schule Markt Salz Reis Garten",
    "id": "apel roti susu rumah pohon sungai gunung matahari bulan anjing kucing burung ikan kuda buku pintu jendela "
    "jalan jembatan sekolah pasar garam nasi kebun",
    "it": "mela pane latte casa albero fiume montagna sole luna cane gatto uccello pesce cavallo libro porta finestra "
    "strada ponte scuola mercato sale riso giardino",
    "sw": "tofaa mkate maziwa nyumba mti mto mlima jua mwezi mbwa paka ndege samaki farasi kitabu mlango dirisha "
    "barabara daraja shule soko chumvi wali bustani",
    "zu": "ihhabhula isinkwa ubisi indlu isihlahla umfula intaba ilanga inyanga inja ikati inyoni inhlanzi ihhashi "
    "incwadi umnyango ifasitela umgwaqo ibhuloho isikole imakethe usawoti irayisi ingadi",
    "ru": "яблоко хлеб молоко дом дерево река гора солнце луна собака кошка птица рыба лошадь книга дверь окно дорога "
    "мост школа рынок соль рис сад",
    "ar": "تفاحة خبز حليب بيت شجرة نهر جبل شمس قمر كلب قطة طائر سمكة حصان كتاب باب نافذة طريق جسر مدرسة سوق ملح أرز "
    "حديقة",
    "hi": "सेब रोटी दूध घर पेड़ नदी पहाड़ सूरज चाँद कुत्ता बिल्ली चिड़िया मछली घोड़ा किताब दरवाज़ा खिड़की सड़क "
    "पुल स्कूल बाज़ार नमक चावल बग़ीचा",
    "th": "แอปเปิล ขนมปัง นม บ้าน ต้นไม้ แม่น้ำ ภูเขา ดวงอาทิตย์ ดวงจันทร์ สุนัข แมว นก ปลา ม้า หนังสือ "
    "ประตู หน้าต่าง ถนน สะพาน โรงเรียน ตลาด เกลือ ข้าว สวน",
    "ko": "사과 빵 우유 집 나무 강 산 태양 달 개 고양이 새 물고기 말 책 문 창문 길 다리 학교 시장 소금 쌀 정원",
    "zh": "苹果 面包 牛奶 房子 大树 河流 高山 太阳 月亮 小狗 小猫 飞鸟 鲤鱼 骏马 书本 大门 窗户 道路 桥梁 学校 "
    "市场 食盐 米饭 花园",
    "ja": "りんご パン 牛乳 家 木 川 山 太陽 月 犬 猫 鳥 魚 馬 本 扉 窓 道 橋 学校 市場 塩 ご飯 庭",
}
