"""The pace of MF or NeuMF in PyTorch on a graphics card, one JSON line for each batch size and way to compute.

Nothing leaves the card in a step, and nothing waits for it: the order of the rows, the negatives, forward, backward and
fused Adam. Negatives are uniform over the items; those that hit a training row, by a table of all cells, are drawn
again, twice. Ways: `f32` eagerly, `tf32-compiled` and `bf16-compiled` (autocast) with `torch.compile`, which compiles
for each batch size by itself. The networks and their start are those of `torch_models.py`.

The clock runs over rows of steps with one synchronisation at their end; the best of three rows counts.

All is compiled first, the smallest batches first, as far as `--prepare-seconds` go. With `--orders` a line
`{"ready": ...}` follows, and then each line `BATCH WAY SECONDS` on stdin is answered by its figure; without, all figures
are printed. A line `catalog WAY K` is answered by the seconds in which the network scores all items for all users, without
gradients and in blocks, and finds the K best unseen items of each. Figures that cannot be had are `{"error": ...}`. PyTorch alone is needed.
"""

import argparse
import json
import os
import sys
import time

import torch
from torch import nn
from torch_models import network

WAYS = ("f32", "tf32-compiled", "bf16-compiled")
WARM_UP = 6  # steps
MOST_STEPS = 400  # of a timed row
REDRAWS = 2


def emit(**record):
    print(json.dumps(record), flush=True)


class Rows:
    """Pairs of user and item on the device, in an order that is drawn anew for each pass."""

    def __init__(self, args, device):
        n = os.path.getsize(args.rows) // 8
        pairs = torch.from_file(args.rows, size=2 * n, dtype=torch.int32).view(n, 2)
        self.users, self.items = (pairs[:, side].to(device).long() for side in (0, 1))
        self.n_items, self.negatives, self.device = args.n_items, args.negatives, device
        self.seen = torch.zeros(args.n_users * args.n_items, dtype=torch.bool, device=device)
        self.seen[self.users * self.n_items + self.items] = True
        self.order, self.at = None, n

    def batch(self, rows):
        """Users and items of the samples: `rows` positives, then their negatives."""
        if self.at + rows > len(self.users):
            self.order, self.at = torch.randperm(len(self.users), device=self.device), 0
        taken = self.order[self.at : self.at + rows]
        self.at += rows
        users = self.users[taken]
        again = users.repeat(self.negatives)
        drawn = torch.randint(self.n_items, again.shape, device=self.device)
        for _ in range(REDRAWS):
            hit = self.seen[again * self.n_items + drawn]
            drawn = torch.where(hit, torch.randint(self.n_items, again.shape, device=self.device), drawn)
        return torch.cat([users, again]), torch.cat([self.items[taken], drawn])


class Training:
    """A network, how its loss is computed, and its optimiser once it is trained."""

    def __init__(self, args, data, batch, way):
        torch.manual_seed(0)
        self.data, self.way = data, way
        self.rows = min(max(1, batch // (1 + args.negatives)), len(data.users))
        self.samples = self.rows * (1 + args.negatives)
        self.labels = torch.zeros(self.samples, device=data.device)
        self.labels[: self.rows] = 1
        self.net = network(args, args.n_users, args.n_items).to(data.device)
        self.loss = torch.compile(self.eager_loss, dynamic=False) if way.endswith("compiled") else self.eager_loss
        self.adam = None

    def eager_loss(self, users, items):
        with torch.autocast(self.data.device.type, torch.bfloat16, enabled=self.way.startswith("bf16")):
            scores = self.net(users, items)
        return nn.functional.binary_cross_entropy_with_logits(scores.float(), self.labels)

    def gradients(self):
        torch.set_float32_matmul_precision("highest" if self.way == "f32" else "high")
        self.net.zero_grad(set_to_none=True)
        loss = self.loss(*self.data.batch(self.rows))
        loss.backward()
        return loss.detach()

    def compile(self):
        self.gradients()
        synchronise(self.data.device)
        self.net.zero_grad(set_to_none=True)
        if self.data.device.type == "cuda":
            torch.cuda.empty_cache()

    def step(self):
        loss = self.gradients()
        self.adam.step()
        return loss

    def row(self, steps):
        """Seconds a step, and the last loss."""
        start = time.perf_counter()
        for _ in range(steps):
            loss = self.step()
        synchronise(self.data.device)
        return (time.perf_counter() - start) / steps, loss.item()

    def pace(self, seconds):
        """Samples a second over about so many seconds, and the last loss."""
        self.adam = torch.optim.Adam(self.net.parameters(), lr=0.001, fused=True)
        self.row(WARM_UP)
        taken, _ = self.row(4)
        steps = max(4, min(MOST_STEPS, int(seconds / 3 / taken)))
        rows = [self.row(steps) for _ in range(3)]
        return self.samples / min(taken for taken, _ in rows), rows[-1][1]


class Catalog:
    """The best items of all users, in blocks of one shape."""

    PAIRS = 1 << 20  # that go through the network at once

    def __init__(self, args, data, way):
        torch.set_float32_matmul_precision("highest" if way == "f32" else "high")
        torch.manual_seed(0)
        self.data, self.n_users, self.way = data, args.n_users, way
        self.rows = max(1, self.PAIRS // args.n_items)
        net = network(args, args.n_users, args.n_items).to(data.device).eval()
        self.net = torch.compile(net, dynamic=False) if way.endswith("compiled") else net
        self.items = torch.arange(args.n_items, device=data.device).repeat(self.rows)
        self.seen = data.seen.view(args.n_users, args.n_items)

    def best(self, users, k):
        with torch.autocast(self.data.device.type, torch.bfloat16, enabled=self.way.startswith("bf16")):
            scores = self.net(users.repeat_interleave(self.data.n_items), self.items)
        scores = scores.float().view(self.rows, self.data.n_items)
        return scores.masked_fill(self.seen[users], -torch.inf).topk(k)

    def seconds(self, k):
        # The last block begins again with the first users, so that all have one shape.
        blocks = (torch.arange(-(-self.n_users // self.rows) * self.rows) % self.n_users).view(-1, self.rows)
        blocks = list(blocks.to(self.data.device))
        least = float("inf")
        with torch.inference_mode():
            self.best(blocks[0], k)
            for _ in range(3):
                synchronise(self.data.device)
                start = time.perf_counter()
                lists = [self.best(users, k) for users in blocks]
                for scores, items in lists:
                    scores.cpu(), items.cpu()
                least = min(least, time.perf_counter() - start)
        return least


def synchronise(device):
    if device.type == "cuda":
        torch.cuda.synchronize()


def prepared(args, data):
    """All configurations by batch and way: ready to be timed, or why they are not."""
    begun, ready = time.perf_counter(), {}
    for batch in args.batches:
        for way in WAYS:
            if time.perf_counter() - begun > args.prepare_seconds:
                ready[batch, way] = "not compiled, for want of time"
                continue
            try:
                training = Training(args, data, batch, way)
                if way.endswith("compiled"):
                    training.compile()
                ready[batch, way] = training
            except Exception as error:  # of the compiler or the card; the other configurations go on
                ready[batch, way] = first_line(error)
    return ready


def first_line(error):
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"


def answer(ready, device, batch, way, seconds):
    """Prints the figure of a configuration, which is dropped then."""
    training = ready.pop((batch, way), "no such configuration, or it was timed before")
    if isinstance(training, str):
        emit(batch=batch, way=way, error=training)
        return
    cuda = device.type == "cuda"
    try:
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        pace, loss = training.pace(seconds)
        memory = torch.cuda.max_memory_allocated() if cuda else None
        emit(batch=batch, way=way, samples_per_second=pace, loss=loss, device_peak_memory_bytes=memory)
    except Exception as error:  # out of memory, say
        emit(batch=batch, way=way, error=first_line(error))
    del training
    if cuda:
        torch.cuda.empty_cache()


def arguments():
    parser = argparse.ArgumentParser(description="The pace of MF or NeuMF in PyTorch by batch size and way.")
    parser.add_argument("--rows", help="file of 32-bit integers: user, item, user, item ...")
    parser.add_argument("--small", action="store_true", help="drawn rows, tiny tables and batches, to try it out")
    parser.add_argument("--n-users", type=int)
    parser.add_argument("--n-items", type=int)
    parser.add_argument("--model", choices=["neumf", "mf"], default="neumf")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--layers", help="widths of the tower; default: 4, 2 and 1 times dim")
    parser.add_argument("--negatives", type=int, default=4)
    parser.add_argument("--batches", default="16384,65536,262144,1048576", help="samples of a step, smallest first")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--prepare-seconds", type=float, default=300)
    parser.add_argument("--seconds", type=float, default=1, help="of each figure, without --orders")
    parser.add_argument("--orders", action="store_true", help="wait for a line on stdin for each figure")
    args = parser.parse_args()
    if args.small:
        args.rows, args.n_users, args.n_items, args.batches = None, 400, 300, "1024,4096"
    elif not (args.rows and args.n_users and args.n_items):
        parser.error("expected --rows, --n-users and --n-items, or --small")
    args.batches = [int(batch) for batch in args.batches.split(",")]
    args.layers = [int(width) for width in args.layers.split(",")] if args.layers else [
        4 * args.dim, 2 * args.dim, args.dim,
    ]
    args.init_std = 0.1 if args.model == "mf" else 0.01
    args.optimizer = "fused"
    return args


def draw_rows(args):
    """A file of drawn rows, for --small."""
    import tempfile

    cells = (torch.rand(20_000) ** 2 * args.n_users * args.n_items).long().unique()
    file = tempfile.NamedTemporaryFile(suffix=".pairs")
    pairs = torch.stack([cells // args.n_items, cells % args.n_items], 1).int()
    file.write(bytes(pairs.contiguous().view(-1).view(torch.uint8).tolist()))
    file.flush()
    args.rows = file.name
    return file


def main():
    args = arguments()
    if args.device == "cuda" and not torch.cuda.is_available():
        emit(error=f"PyTorch {torch.__version__} found no CUDA device")
        sys.exit(1)
    device = torch.device(args.device)
    # One function is compiled for all configurations.
    torch._dynamo.config.cache_size_limit = 64
    file = draw_rows(args) if args.small else None
    data = Rows(args, device)
    if file:
        file.close()
    ready = prepared(args, data)
    if args.orders:
        name = torch.cuda.get_device_name() if args.device == "cuda" else "the CPU"
        emit(ready=f"PyTorch {torch.__version__} on {name}")
        for line in sys.stdin:
            batch, way, seconds = line.split()
            if batch == "catalog":
                try:
                    emit(way=way, catalog_seconds=Catalog(args, data, way).seconds(int(seconds)))
                except Exception as error:  # of the compiler or the card
                    emit(way=way, error=first_line(error))
                continue
            answer(ready, device, int(batch), way, float(seconds))
        return
    for batch, way in list(ready):
        answer(ready, device, batch, way, args.seconds)


if __name__ == "__main__":
    main()
