"""Filter `boilerplate`: what stands where a caption should be, and is none."""

from __future__ import annotations

import re

from panoglot.curation._contract import Facts, Verdict, caption_filter
from panoglot.curation._measure import measured
from panoglot.table import Caption
from panoglot.text import letters, same_text

__all__ = ["boilerplate"]

_URL = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
_FILE = re.compile(r"\S+\.(?:jpe?g|png|gif|webp|tiff?|bmp|svg|avif|heic|pdf|mp4|mov)", re.IGNORECASE)
_CAMERA = re.compile(
    r"(?:img|dsc[fn]?|dscn|pict|image|photo|picture|screenshot|scan)[\s_-]*\d[\d\s_-]*|p\d{5,}", re.IGNORECASE
)
_HTML = re.compile(r"</?[a-z][a-z0-9]*(?:\s[^<>]*)?/?>|&(?:[a-z]{2,8}|#\d{1,7}|#x[0-9a-f]{1,6});", re.IGNORECASE)
_SIZE = re.compile(r"\d{2,5}\s*[x×]\s*\d{2,5}(?:\s*px)?", re.IGNORECASE)
#: What software writes when nobody wrote anything.
_STOCK = frozenset(
    word.strip()
    for word in """alt, alt text, alt_img, banner, click here, click to enlarge, click to zoom, default, download, fig,
    figure, icon, image, image may contain, image not available, images, img, loading, logo, n/a, na, nan, no caption,
    no description, no image available, no title, none, null, photo, pic, picture, placeholder, read more, share,
    spacer, thumb, thumbnail, undefined, untitled,
    abbildung, afbeelding, bild, foto, gambar, hình ảnh, imagem, imagen, immagine, picha, изображение, картинка, фото,
    صورة, تصویر, चित्र, ภาพ, รูปภาพ, 图片, 圖片, 照片, 画像, 写真, 사진, 이미지""".split(",")
)


@caption_filter("no_letters", "url", "file_name", "html", "stock_text", kinds=("alt", "short", "dense"))
def boilerplate(caption: Caption, facts: Facts, *, html: bool = True, max_url_share: float = 0.5) -> Verdict:
    """Drop texts without letters, addresses, file names, sizes, stock words and remnants of HTML.

    What people wrote as a caption (kind `human`) is not judged unless asked for: "1" may be the picture of a one.

    Args:
        caption: the caption.
        facts: not read.
        html: drop texts with tags or character references in them.
        max_url_share: most of the text that may be addresses.

    Source: text filters of WIT (Srinivasan et al. 2021) and the alt-text examples of ALIGN ("1920x1080", "alt_img").

    >>> [boilerplate(Caption(t), {}) for t in ("!!!", "www.shop.example/1", "IMG_0042.jpg", "<b>Sale</b>", "Image")]
    ['no_letters', 'url', 'file_name', 'html', 'stock_text']
    """
    text = caption.text.strip()
    if _SIZE.fullmatch(text):
        return "stock_text"
    if not letters(text):
        return "no_letters"
    urls = sum(len(url) for url in _URL.findall(text))
    measured("share of addresses", urls / len(text), most=max_url_share)
    if urls > max_url_share * len(text):
        return "url"
    if _FILE.fullmatch(text) or _CAMERA.fullmatch(text):
        return "file_name"
    if html and _HTML.search(text):
        return "html"
    return "stock_text" if same_text(text).strip(" .:!-_") in _STOCK else None
