"""Queries of a model with a composer: pictures and texts together, and the pictures that answer them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.networks._records import Batch
from panoglot.networks.parts import Features

if TYPE_CHECKING:
    from panoglot.networks._row import Row

__all__ = ["Queries"]


class Queries(nn.Module):
    """What a model can do where its row has a composer; without one its parts answer by themselves."""

    row: Row
    parts: Any
    readers: Any
    towers: Any
    text: Any
    reader: Any
    look: Any
    look_at: Any
    image: Any
    image_features: Any
    text_features: Any
    in_use: Any

    @property
    def speaks(self) -> bool:
        """Whether texts alone are embedded by the composer."""
        return "composer" in self.readers and bool(getattr(self.readers["composer"], "speaks", False))

    @property
    def many(self) -> bool:
        """Whether the composer reads queries of any number of pictures and texts, in their order."""
        return "composer" in self.readers and bool(getattr(self.readers["composer"], "many", False))

    @property
    def composer_reads_ids(self) -> bool:
        """Whether the composer runs the text tower itself, on words of its own."""
        return "composer" in self.readers and getattr(self.readers["composer"], "reads", "tokens") == "ids"

    def gallery(self, f: Features) -> Tensor | None:
        """Return the vectors of pictures that may be found, [B, D] or [B, V, D]."""
        composer: Any = dict(self.readers.items()).get("composer")
        found: Tensor | None
        if self.many and f.patches is not None:  # a picture is a query of a picture alone
            found = composer.query(self, f, torch.arange(len(f.patches)), None)
        else:
            found = composer.gallery(f) if hasattr(composer, "gallery") else self.in_use(f)
        return found

    def answers(self, batch: Batch) -> Features:
        """Return what the image tower makes of the pictures that answer the batch's queries."""
        f, ids = Features(), list(batch.ids)
        if batch.others is not None:
            self.image_features(Batch(ids, image=batch.others[:, :1]), f)
        elif batch.others_vec is not None:
            self.image_features(Batch(ids, image_vec=batch.others_vec[:, 0]), f)
        else:
            raise UserError("composed queries need the pictures that answer them: sampler: {kind: composed}.")
        return f

    def with_texts(self, f: Features, texts: Sequence[str] | Tensor, langs: Sequence[str] | None = None) -> Features:
        """Return features with the pictures of `f` and with texts, with gradient.

        Args:
            f: of pictures.
            texts: or, for a text tower of stored vectors, what it made of them, [M, width].
            langs: of the texts.
        """
        out = Features(**{name: getattr(f, name) for name in ("x", "patches", "local", "towers")})
        here, n = next(self.parameters()).device, len(texts)
        batch = Batch([""] * n, slot_mask=torch.ones(n, 1, dtype=torch.bool, device=here))
        if isinstance(texts, Tensor):
            batch.text_vec = nn.functional.normalize(texts.to(here).float(), dim=-1)[:, None]
        else:
            ids, mask = (z.to(here) for z in self.text.tokens(list(texts)))
            batch.tokens, batch.token_mask = ids[:, None], mask[:, None]
            batch.lang = [[tag] for tag in (langs if langs is not None else ["und"] * n)]
        self.text_features(batch, out)
        return out

    @torch.no_grad()
    def encode_queries(
        self,
        pixels: Tensor | None,
        texts: Sequence[str] | Tensor | None,
        langs: Sequence[str] | None = None,
    ) -> Tensor:
        """Return unit vectors [N, D] of queries of a picture and a text together; either may be None for all.

        Args:
            pixels: [N, 3, H, W] normalised pictures, or for an image tower of stored vectors what it made, [N, Dv].
            texts: or, for a text tower of stored vectors, what it made of them, [N, width].
            langs: of the texts.

        Raises:
            UserError: the row has no composer.
        """
        self.eval()
        composer, f = self.reader("composer"), Features()
        if pixels is not None:
            pixels = pixels.to(next(self.parameters()).device)
            ids = [""] * len(pixels)
            batch = Batch(ids, image=pixels[:, None]) if pixels.dim() == 4 else Batch(ids, image_vec=pixels)
            for name in getattr(composer, "looks", ("image",)):
                if name == "image":
                    self.image_features(batch, f)
                else:
                    f.towers[name] = self.look(name, self.towers[name], batch)
        if texts is not None:
            f = self.with_texts(f, texts, langs)
        given = pixels if pixels is not None else texts
        rows = torch.arange(0 if given is None else len(given), device=next(self.parameters()).device)
        some = [None if part is None else rows for part in (pixels, texts)]
        return composer.query(self, f, *some)  # type: ignore[no-any-return]

    @torch.no_grad()
    def encode_interleaved(self, queries: Sequence[Sequence[Any]]) -> Tensor:
        """Return unit vectors [N, D] of queries of any number of texts and pictures in their order.

        Args:
            queries: each a list of texts and of normalised pictures [3, H, W].

        Raises:
            UserError: the row's composer takes one picture a query, or there is none.
        """
        self.eval()
        composer, pictures = self.reader("composer"), list[Tensor]()
        if not self.many:
            raise UserError(f"'{self.row.method}' takes one picture a query, and texts.")
        parts: list[list[Any]] = []
        for query in queries:
            parts.append([])
            for one in query:
                parts[-1].append(one if isinstance(one, str) else len(pictures))
                pictures += [] if isinstance(one, str) else [one]
        f = Features()
        if pictures:
            x = torch.stack(pictures).to(next(self.parameters()).device)
            f.patches = self.look_at(self.image, x)[1]
        return composer.sequences(self, parts, f.patches).vectors  # type: ignore[no-any-return]

    @torch.no_grad()
    def match_queries(self, pixels: Tensor, texts: Sequence[str], candidates: Tensor) -> Tensor:
        """Return [N] how sure a row with a loss that matches is, 0..1, that candidate n answers query n.

        Args:
            pixels: [N, 3, H, W] normalised pictures of the queries.
            texts: their changes in words.
            candidates: [N, 3, H, W] normalised pictures.

        Raises:
            UserError: the row has no such loss.
        """
        part = next((part for part in self.parts.values() if "match" in part.gives), None)
        if part is None:
            raise UserError(f"'{self.row.method}' matches nothing: its row needs losses: {{match: …}}.")
        self.eval()
        here = next(self.parameters()).device
        reference, candidate = (Features(), Features())
        for f, x in ((reference, pixels), (candidate, candidates)):
            self.image_features(Batch([""] * len(x), image=x.to(here)[:, None]), f)
        f = self.with_texts(reference, texts)
        found: Tensor = part.match(f.tokens, f.token_mask, reference.patches, candidate.patches)
        return found.softmax(1)[:, 1]
