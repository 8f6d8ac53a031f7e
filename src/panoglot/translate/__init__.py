"""Translation methods, a file a method."""

from panoglot.translate.translate import translate

__all__ = ["translate"]
