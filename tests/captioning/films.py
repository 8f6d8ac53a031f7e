"""Videos that tests make: scenes of which all is known, written with PyAV."""

from __future__ import annotations

import numpy as np

SIZE = (96, 64)


def film(path, scenes, fps=25):
    """Write a video; a scene is its first colour, its last colour and its number of frames. Returns the path."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = *SIZE, "yuv420p", 2_000_000
        for number, (first, last, length) in enumerate(scenes):
            for n in range(length):
                share = n / max(1, length - 1)
                colour = np.array(first) * (1 - share) + np.array(last) * share
                pixels = np.full((SIZE[1], SIZE[0], 3), colour, np.uint8)
                pixels[:: 4 + number, :] //= 2
                x = (n * 2) % (SIZE[0] - 12)
                pixels[20:32, x : x + 12] = 255 - colour.astype(np.uint8)
                for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                    container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return str(path)
