"""Where a dataset lies: its tables, files, locks, ledger and journal go through one interface, `Store`.

    store = open_store("photos.pano")                  # a folder; or file:///data/photos.pano
    store.write("panoglot.json", b"{}", new=True)      # atomic, durable, only if nobody was first
    lance.dataset(*store.table("images"))              # where Lance finds a table, and with which options

Names within a store are words joined by `/`. Nothing outside this module knows what they become: a folder of this
machine (`LocalStore`) makes files and folders of them, an object store (`ObjectStore`) makes keys.
"""

from panoglot.storage._bucket import Bucket, Object, in_objects, is_object, open_bucket
from panoglot.storage._contract import Address, Appender, Claims, FileFacts, Store, TableAddress
from panoglot.storage._local import LocalStore
from panoglot.storage._object_files import copy_here
from panoglot.storage._object_locks import close_leases
from panoglot.storage._objects import ObjectStore
from panoglot.storage._open import has_scheme, open_store

__all__ = [
    "Address",
    "Appender",
    "Bucket",
    "Claims",
    "FileFacts",
    "LocalStore",
    "Object",
    "ObjectStore",
    "Store",
    "TableAddress",
    "close_leases",
    "copy_here",
    "has_scheme",
    "in_objects",
    "is_object",
    "open_bucket",
    "open_store",
]
