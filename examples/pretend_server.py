"""A stand-in for a model server, to try Panoglot's captioner options with no GPU, no key and no network.

It speaks the protocol that vLLM, llama.cpp, Ollama and the paid services speak, but there is no model behind it. It
looks at the pixels, says the main colour and the width, and knows that one sentence in five languages.

    python examples/pretend_server.py                          # http://127.0.0.1:8765/v1, until Ctrl-C
    python examples/pretend_server.py --seconds 1 --refuse 3   # slow, and every third picture is refused

    panoglot build photos -o photos.pano --captioner openai:http://127.0.0.1:8765/v1#pretend
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import json
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Colour: its red, green and blue, and its name in the languages of SENTENCES.
COLOURS: dict[str, tuple[tuple[int, int, int], dict[str, str]]] = {
    "black": ((15, 15, 15), {"de": "schwarzes", "es": "negra", "hi": "काली", "ar": "سوداء"}),
    "white": ((240, 240, 240), {"de": "weißes", "es": "blanca", "hi": "सफ़ेद", "ar": "بيضاء"}),
    "grey": ((125, 125, 125), {"de": "graues", "es": "gris", "hi": "धूसर", "ar": "رمادية"}),
    "red": ((200, 40, 40), {"de": "rotes", "es": "roja", "hi": "लाल", "ar": "حمراء"}),
    "brown": ((130, 90, 50), {"de": "braunes", "es": "marrón", "hi": "भूरी", "ar": "بنية"}),
    "green": ((50, 130, 60), {"de": "grünes", "es": "verde", "hi": "हरी", "ar": "خضراء"}),
    "blue": ((60, 110, 190), {"de": "blaues", "es": "azul", "hi": "नीली", "ar": "زرقاء"}),
}
SENTENCES = {
    "English": ("en", "This is a mostly {} picture that is {} pixels wide."),
    "German": ("de", "Das ist ein überwiegend {} Bild, das {} Pixel breit ist."),
    "Spanish": ("es", "Esta es una imagen mayormente {} que tiene {} píxeles de ancho."),
    "Hindi": ("hi", "यह मुख्य रूप से {} तस्वीर है जो {} पिक्सेल चौड़ी है।"),
    "Arabic": ("ar", "هذه صورة {} في معظمها ويبلغ عرضها {} بكسل."),
}


def describe(data: bytes) -> str:
    """Say the main colour of a picture and how wide it is."""
    import PIL.Image

    with PIL.Image.open(io.BytesIO(data)) as picture:
        width, mean = picture.width, picture.convert("RGB").resize((1, 1)).tobytes()
    name = min(COLOURS, key=lambda c: sum((a - b) ** 2 for a, b in zip(mean, COLOURS[c][0], strict=True)))
    return SENTENCES["English"][1].format(name, width)


def translate(question: str) -> str:
    """Answer a question that names a target language and holds a sentence of `describe`; else repeat the last line."""
    text = question.strip().splitlines()[-1]
    target = next((name for name in SENTENCES if f"into {name}" in question), "English")
    words = text.split()
    if target == "English" or not text.startswith("This is a mostly") or words[4] not in COLOURS:
        return text
    tag, sentence = SENTENCES[target]
    return sentence.format(COLOURS[words[4]][1][tag], words[8])


class Handler(BaseHTTPRequestHandler):
    """Answers `/v1/chat/completions`."""

    protocol_version = "HTTP/1.1"
    seconds, refuse = 0.0, 0

    def do_POST(self) -> None:
        """Read the question, look at the picture, answer with what that would have cost."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        content = body["messages"][-1]["content"]
        parts: list[dict[str, Any]] = [{"type": "text", "text": content}] if isinstance(content, str) else content
        text = "\n".join(part["text"] for part in parts if part["type"] == "text")
        urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        time.sleep(self.seconds)
        if urls and self.refuse and zlib.crc32(urls[0].encode()) % self.refuse == 0:
            self._send(400, {"error": {"message": "this picture is refused, because you asked for --refuse"}})
            return
        answer = describe(base64.b64decode(urls[0].partition(",")[2])) if urls else translate(text)
        usage = {"prompt_tokens": len(text) // 4 + 700 * len(urls), "completion_tokens": 1 + len(answer) // 4}
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": answer}}
        self._send(200, {"model": body["model"], "choices": [choice], "usage": usage})

    def _send(self, status: int, body: dict[str, Any]) -> None:
        raw = json.dumps(body, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing about single requests."""


def serve(port: int = 8765, *, seconds: float = 0.0, refuse: int = 0) -> ThreadingHTTPServer:
    """Open the server on the loopback interface; `serve_forever` of what is returned runs it. Port 0 takes a free one.

    Args:
        port: where to listen.
        seconds: how long every answer takes.
        refuse: about one picture in so many is refused; 0 refuses none.
    """
    handler = type("Configured", (Handler,), {"seconds": seconds, "refuse": refuse})
    return ThreadingHTTPServer(("127.0.0.1", port), handler)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--seconds", type=float, default=0.0, help="how long every answer takes")
    parser.add_argument("--refuse", type=int, default=0, help="refuse about one picture in so many")
    options = parser.parse_args()
    server = serve(options.port, seconds=options.seconds, refuse=options.refuse)
    print(f"http://127.0.0.1:{server.server_address[1]}/v1", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
