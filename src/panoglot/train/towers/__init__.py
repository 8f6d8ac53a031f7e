"""Towers and heads: what turns pictures and texts into vectors."""

from panoglot.train.towers._visual_embedding import VisualEmbedding

__all__ = ["VisualEmbedding"]
