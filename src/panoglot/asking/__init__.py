"""One way to ask a model: questions gathered, journaled, priced, limited; vectors kept."""

from typing import TYPE_CHECKING

from panoglot.extensions import lazy_names

if TYPE_CHECKING:
    from panoglot.asking._ask import ask, call, encode_images, encode_texts, open_picture, unit
    from panoglot.asking._asker import Asker, Models, spending
    from panoglot.asking._cache import CachedEncoder, VectorCache, cache_folder, identity, load_encoder
    from panoglot.asking._journal import Journal, journal_key
    from panoglot.asking._plain import PlainAsker, load_asked
    from panoglot.asking._prices import LOCAL_PROVIDERS, TEMPLATE, Budget, Price, Prices
    from panoglot.asking._segments import MAGIC, Sealed, pack, read_record, scan
    from panoglot.asking._spend import Account, Spent, paid_by_stage
    from panoglot.providers._memory import MEMORY, Memory

__all__ = [
    "LOCAL_PROVIDERS",
    "MAGIC",
    "MEMORY",
    "TEMPLATE",
    "Account",
    "Asker",
    "Budget",
    "CachedEncoder",
    "Journal",
    "Memory",
    "Models",
    "PlainAsker",
    "Price",
    "Prices",
    "Sealed",
    "Spent",
    "VectorCache",
    "ask",
    "cache_folder",
    "call",
    "encode_images",
    "encode_texts",
    "identity",
    "journal_key",
    "load_asked",
    "load_encoder",
    "open_picture",
    "pack",
    "paid_by_stage",
    "read_record",
    "scan",
    "spending",
    "unit",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "paid_by_stage": "_spend",
        "Account": "_spend",
        "read_record": "_segments",
        "LOCAL_PROVIDERS": "_prices",
        "MAGIC": "_segments",
        "MEMORY": "panoglot.providers._memory",
        "TEMPLATE": "_prices",
        "Asker": "_asker",
        "Budget": "_prices",
        "CachedEncoder": "_cache",
        "Journal": "_journal",
        "Memory": "panoglot.providers._memory",
        "Models": "_asker",
        "PlainAsker": "_plain",
        "Price": "_prices",
        "Prices": "_prices",
        "Sealed": "_segments",
        "Spent": "_spend",
        "VectorCache": "_cache",
        "ask": "_ask",
        "call": "_ask",
        "identity": "_cache",
        "cache_folder": "_cache",
        "encode_images": "_ask",
        "encode_texts": "_ask",
        "journal_key": "_journal",
        "load_asked": "_plain",
        "load_encoder": "_cache",
        "open_picture": "_ask",
        "pack": "_segments",
        "scan": "_segments",
        "spending": "_asker",
        "unit": "_ask",
    },
)
