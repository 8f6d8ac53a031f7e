"""An operator over captions."""

from dataclasses import dataclass

from panoglot.running import Outcome


@dataclass
class CaptionScores:
    def open(self, worker):
        pass

    def process(self, items, emit):
        for item in items:
            same = float(item.caption.text.startswith(str(item.image.width)))
            emit(item.key, Outcome(scores={"length": float(len(item.caption.text)), "same_width": same}))

    def close(self):
        pass
