"""Translation methods, a file a method."""

from panoglot.translation.translate import translate

__all__ = ["translate"]
