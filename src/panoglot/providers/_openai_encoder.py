"""Embeddings from an OpenAI-compatible server (`openai:URL#MODEL?as=encoder`)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError, UserError
from panoglot.identity import extended, fingerprint, later
from panoglot.providers._finish import finish
from panoglot.providers._http import Endpoint, ask_each

if TYPE_CHECKING:
    import numpy as np

    from panoglot.pictures import Image

__all__ = ["OpenAIEncoder"]


class OpenAIEncoder:
    """An embedding model on a server (role `encoder`): texts, and pictures where the server takes them as vLLM does.

    Args:
        endpoint: where it is.
        dim: length of the vectors; None asks the server once.
        dimensions: ask the server for shorter vectors (Matryoshka models).
        text_prefix: put before every text (`query: ` for the E5 family).
        image_text: what is said beside a picture; empty sends the picture alone.
        max_image_side: as for the generator.
        revision: as for the generator.
    """

    batch_size = 64

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        dim: int | None = None,
        dimensions: int | None = None,
        text_prefix: str = "",
        image_text: str = "",
        max_image_side: int | None = None,
        revision: str = "",
    ) -> None:
        self.endpoint, self.dimensions, self.text_prefix = endpoint, dimensions, text_prefix
        self.image_text, self.max_image_side = image_text, max_image_side
        self.name = f"openai:{endpoint.model}" + (f"@{revision}" if revision else "")
        parts = ["openai-encoder-1", endpoint.model, revision, dimensions, text_prefix, image_text, max_image_side]
        self.fingerprint = extended(fingerprint(parts), later(OpenAIEncoder, locals()))
        self._dim = dim or dimensions
        self._images_work = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @property
    def dim(self) -> int:
        """Length of the vectors; asks the server the first time."""
        if self._dim is None:

            async def probe() -> None:
                try:
                    self._dim = len((await self._embed({"input": ["a picture"]}, 8))[0])
                finally:
                    await self.endpoint.aclose()

            finish(probe())
        assert self._dim is not None
        return self._dim

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        await self.endpoint.aclose()

    async def encode_texts(self, texts: Sequence[str], langs: Sequence[str] | None = None) -> np.ndarray:
        """Encode texts: unit vectors, float32 `[N, dim]`; a text that failed is NaN.

        Raises:
            UserError: as `OpenAIGenerator.generate`.
        """
        chunks = [list(texts[at : at + self.batch_size]) for at in range(0, len(texts), self.batch_size)]
        rows = [row for part in await asyncio.gather(*map(self._texts, chunks)) for row in part]
        return self._unit(rows)

    async def _texts(self, texts: list[str]) -> list[Any]:
        given = [self.text_prefix + text for text in texts]
        try:
            return await self._embed({"input": given}, sum(len(t.encode()) // 3 + 8 for t in given))
        except RowError as error:
            if len(texts) == 1:
                return [error]
            return [row for part in await asyncio.gather(*(self._texts([t]) for t in texts)) for row in part]

    async def encode_images(self, images: Sequence[Image]) -> np.ndarray:
        """Encode pictures, a request each: unit vectors, float32 `[N, dim]`; a picture that failed is NaN.

        Raises:
            UserError: this server embeds no pictures.
        """
        return self._unit(await ask_each(self._image, images))

    async def _image(self, image: Image) -> list[float]:
        from panoglot.pictures import data_uri

        async with self.endpoint.slot():  # pictures are prepared by those who may send them
            uri = await asyncio.to_thread(data_uri, image, self.max_image_side)
            content: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": uri}}]
            if self.image_text:
                content.append({"type": "text", "text": self.image_text})
            try:
                vectors = await self._embed({"messages": [{"role": "user", "content": content}]}, 1500)
            except RowError as error:
                if error.reason == "bad_request" and not self._images_work:
                    raise UserError(
                        f"{self.name} at {self.endpoint.url} embeds no pictures (it must take them as vLLM does): "
                        f"{error.message}"
                    ) from None
                raise
        self._images_work = True
        return vectors[0]

    async def _embed(self, body: dict[str, Any], tokens: int) -> list[list[float]]:
        body = {"model": self.endpoint.model, "encoding_format": "float"} | body
        if self.dimensions:
            body["dimensions"] = self.dimensions
        reply = await self.endpoint.post("/embeddings", body, tokens)
        try:
            data = sorted(reply["data"], key=lambda row: row["index"])
            vectors = [row["embedding"] for row in data]
            if len(vectors) != len(body.get("input", [None])) or not all(
                v and all(type(x) in (int, float) for x in v) for v in vectors
            ):
                raise ValueError(f"{len(vectors)} vectors")
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            raise RowError("bad_response", f"unexpected shape: {type(error).__name__}: {error}") from None
        return vectors

    def _unit(self, rows: Sequence[Any]) -> np.ndarray:
        import numpy as np

        good = [row for row in rows if not isinstance(row, RowError)]
        if self._dim is None and good:
            self._dim = len(good[0])
        out = np.full((len(rows), self._dim or self.dim), np.nan, dtype=np.float32)
        for n, row in enumerate(rows):
            if isinstance(row, RowError):
                continue
            try:
                vector = np.asarray(row, dtype=np.float64)
            except OverflowError:
                continue  # a whole number beyond any vector: no vector
            length = np.linalg.norm(vector)
            if vector.shape != (out.shape[1],):
                raise UserError(
                    f"{self.name} gave {len(row)} numbers where {out.shape[1]} were expected; set dim={len(row)}."
                )
            if np.isfinite(length) and length > 0:
                out[n] = vector / length
        return out
