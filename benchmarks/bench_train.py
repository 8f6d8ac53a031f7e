"""The trainer's step against a bare PyTorch loop with the same towers, data and optimiser: what does the trainer cost?

    python benchmarks/bench_train.py [--steps 12] [--rounds 5]

Both take turns on the same batches; the figure is the best round of each. The floor is the bare loop.
"""

from __future__ import annotations

import argparse
import json
import time

import torch

from panoglot.networks._contrast import contrast
from panoglot.networks._row import load_row
from panoglot.networks.towers import unit
from panoglot.training import Trainer, shapes


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    tower = {"kind": "vit", "patch": 4, "width": 192, "layers": 4, "heads": 4}
    row = load_row("clip", "small", image=tower, text={"kind": "hashed", "width": 192}, batch=64, epochs=1000)
    records = shapes(512)
    ours, bare = Trainer(row, records), Trainer(row, records)
    model, data = bare.model.train(), bare.data
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-4, betas=(0.9, 0.98), weight_decay=0.05)
    scale = model.parts["contrast"].scale
    plan, place = data.plan(0), 0

    def loop(steps: int) -> None:
        nonlocal place
        for _ in range(steps):
            batch = data.batch(plan[place % len(plan)], 0)
            place += 1
            optimiser.zero_grad(set_to_none=True)
            x = unit(model.head(model.image(batch.image[:, 0])[0]))
            ids, mask = batch.tokens[:, 0], batch.token_mask[:, 0]
            y = unit(model.text_head(model.text(ids, mask)[0]))
            loss = contrast(x, y, scale=scale.log.exp()).value
            loss.backward()
            optimiser.step()
            with torch.no_grad():
                scale.log.clamp_(0, 4.6052)
            float(loss)

    def timed(run) -> float:
        begin = time.process_time()
        run(args.steps)
        return (time.process_time() - begin) / args.steps

    loop(2)
    ours.fit(2)
    rounds = [(timed(loop), timed(ours.fit)) for _ in range(args.rounds)]
    floor, cost = (min(r[k] for r in rounds) for k in (0, 1))
    print(f"bare loop {1000 * floor:.1f} ms a step, trainer {1000 * cost:.1f} ms: {100 * (cost / floor - 1):+.1f} %")
    print(
        json.dumps(
            {"benchmark": "train", "bare_ms": 1000 * floor, "trainer_ms": 1000 * cost, "overhead": cost / floor - 1}
        )
    )


if __name__ == "__main__":
    main()
