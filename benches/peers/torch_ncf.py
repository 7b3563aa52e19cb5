"""Trains NeuMF, GMF, MLP (He et al. 2017) or MF in PyTorch and prints one JSON object: samples/s, loss, versions.

Written as a good PyTorch user would: `nn.Embedding`, `nn.Linear`, `BCEWithLogitsLoss`, an optimiser of `torch.optim`;
all in f32. What decides the speed beside them:

* Samples. A step takes `batch_size // (1 + negatives)` training rows in an order drawn for the epoch, and as many
  drawn negatives for each as were asked for; both count as samples.
* Negatives. Uniform over the items that the user has no training row with: drawn for the whole batch at once, and
  those that hit a training row drawn again. Rows are looked up in a table of all cells where that fits into
  256 MB, else by binary search in sorted keys.
* Inside the timed region: the order, the draws, the upload, forward, backward, the optimiser's step. The loss is
  summed on the device and read back once a block of steps, as the clock is, after a synchronisation.
* Optimisers. `adam` and `fused` update whole tables; `sparseadam` updates the rows of the batch with
  `torch.optim.SparseAdam`, and everything that is no table with fused Adam.
* Start. burnrec's, see `torch_models.py`.

With `--epochs` it trains to the end, and `--scores` writes all items' scores for given users. Decoupled weight decay,
the cosine schedule and MF's `reg` are burnrec's too: each step takes `rate * weight_decay` off every weight, the rate
is that at the step's start, and each sample adds `reg` times the squared norms of its vectors and biases.
"""

import argparse
import itertools
import math
import statistics
import time

import torch
from peer_io import (
    add_scoring,
    check_scoring,
    emit,
    fail,
    machine,
    note,
    peak_memory_bytes,
    read_problem,
    read_users,
    save_tensors,
    versions,
)
from torch import nn
from torch.utils.data import DataLoader, IterableDataset
from torch_models import network, optimizers
from torch_scores import Catalog, inference, score_catalog

BLOCKS = 10  # of timed steps; the median is reported
TABLE_CELLS = 256_000_000


class Batches(IterableDataset):
    """Endless (users [rows], items [rows], negatives [n_negatives * rows]), drawn where the rows lie."""

    def __init__(self, problem, rows_per_batch, n_negatives, device, seed):
        self.users = torch.tensor(problem.users, device=device)
        self.items = torch.tensor(problem.items, device=device)
        self.n_items, self.n_negatives, self.rows_per_batch, self.seed = (
            problem.n_items, n_negatives, rows_per_batch, seed,
        )
        keys = self.users * self.n_items + self.items
        if problem.n_users * problem.n_items <= TABLE_CELLS:
            self.seen = torch.zeros(problem.n_users * problem.n_items, dtype=torch.bool, device=device)
            self.seen[keys] = True
        else:
            self.seen, self.keys = None, keys.sort().values

    def steps_per_epoch(self):
        return math.ceil(len(self.users) / self.rows_per_batch)

    def is_seen(self, keys):
        if self.seen is not None:
            return self.seen.index_select(0, keys)
        at = torch.searchsorted(self.keys, keys).clamp_(max=len(self.keys) - 1)
        return self.keys.index_select(0, at) == keys

    def __iter__(self):
        device = self.users.device
        generator = torch.Generator(device).manual_seed(self.seed)

        def draw(n):
            return torch.randint(self.n_items, (n,), device=device, generator=generator)

        while True:
            order = torch.randperm(len(self.users), device=device, generator=generator)
            for rows in order.split(self.rows_per_batch):
                users = self.users[rows]
                first_key = (users * self.n_items).repeat(self.n_negatives)
                negatives = draw(len(first_key))
                again = self.is_seen(first_key + negatives).nonzero().view(-1)
                while len(again):
                    drawn = draw(len(again))
                    negatives[again] = drawn
                    again = again[self.is_seen(first_key[again] + drawn)]
                yield users, self.items[rows], negatives


def synchronise(device):
    if device.type == "cuda":
        torch.cuda.synchronize()


class Trainer:
    """A model, its optimisers, and how far they are."""

    def __init__(self, model, steps_per_epoch, args, device):
        self.model, self.args, self.device = model, args, device
        self.steppers = optimizers(model, args)
        self.criterion = nn.BCEWithLogitsLoss()
        self.schedules = []
        if args.cosine_epochs:
            n_steps = args.cosine_epochs * steps_per_epoch
            self.schedules = [
                torch.optim.lr_scheduler.LambdaLR(
                    stepper, lambda step: (1 + math.cos(math.pi * min(1, step / n_steps))) / 2
                )
                for stepper in self.steppers
            ]

    def step(self, rows):
        """One step; its loss, summed over its samples and still on the device, and how many these are."""
        users, items, negatives = (part.to(self.device, non_blocking=True) for part in rows)
        labels = torch.zeros(len(items) + len(negatives), device=self.device)
        labels[: len(items)] = 1.0
        users = users.repeat(1 + self.args.negatives)
        items = torch.cat([items, negatives])
        for stepper in self.steppers:
            stepper.zero_grad(set_to_none=True)
        if self.args.reg:
            scores, squares = self.model.with_squares(users, items)
            loss = self.criterion(scores, labels) + self.args.reg / len(items) * squares
        else:
            loss = self.criterion(self.model(users, items), labels)
        loss.backward()
        for stepper in self.steppers:
            stepper.step()
        for schedule in self.schedules:
            schedule.step()
        return loss.detach() * len(items), len(items)

    def block(self, batches, n_steps):
        """Seconds, samples and the summed loss of so many steps."""
        start, total, samples = time.perf_counter(), torch.zeros((), device=self.device), 0
        for rows in itertools.islice(batches, n_steps):
            loss, n_samples = self.step(rows)
            total += loss
            samples += n_samples
        total = total.item()
        synchronise(self.device)
        return time.perf_counter() - start, samples, total


def pace(trainer, batches, args):
    """Goes on for `warmup + steps` steps; gives the record's figures."""
    n_blocks = min(BLOCKS, args.steps)
    sizes = [args.steps // n_blocks + (at < args.steps % n_blocks) for at in range(n_blocks)]
    warm_up = [trainer.block(batches, args.warmup)] if args.warmup else []
    timed = [trainer.block(batches, size) for size in sizes]
    if args.profile:
        profile(lambda: trainer.block(batches, sizes[0]), trainer.device)
    speeds = [samples / seconds for seconds, samples, _ in timed]
    return {
        "samples_per_second": statistics.median(speeds),
        "samples_per_second_all": speeds,
        "seconds": sum(seconds for seconds, _, _ in timed),
        "samples": sum(samples for _, samples, _ in timed),
        # over all steps from the first, the warm-up's too
        "loss": sum(total for _, _, total in warm_up + timed) / sum(samples for _, samples, _ in warm_up + timed),
    }


def fit(trainer, batches, steps_per_epoch, epochs):
    """Trains for so many whole epochs; gives the record's figures."""
    done = []
    for epoch in range(1, epochs + 1):
        seconds, samples, total = trainer.block(batches, steps_per_epoch)
        done.append((seconds, samples, total / samples))
        note(f"epoch {epoch}: loss {total / samples:.5f}, {seconds:.2f} s")
    return {
        "fit_seconds": sum(seconds for seconds, _, _ in done),
        "epochs": epochs,
        "epoch_seconds": [seconds for seconds, _, _ in done],
        "losses": [loss for _, _, loss in done],
        "loss": done[-1][2],
        "samples_per_second": statistics.median(samples / seconds for seconds, samples, _ in done),
    }


def profile(work, device):
    """Where the time of one more block goes, by operation, on stderr."""
    kinds = [torch.profiler.ProfilerActivity.CPU]
    key = "self_cpu_time_total"
    if device.type == "cuda":
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
        key = "self_cuda_time_total"
    with torch.profiler.profile(activities=kinds) as profiler:
        work()
    note(profiler.key_averages().table(sort_by=key, row_limit=20, max_name_column_width=50))


def arguments():
    parser = argparse.ArgumentParser(description="NCF models in PyTorch on a file of 0-based rows.")
    parser.add_argument("--train", required=True, help="user,item,value as CSV, or .npz with user, item, value")
    parser.add_argument("--n-users", type=int, help="default: largest row + 1")
    parser.add_argument("--n-items", type=int, help="default: largest row + 1")
    parser.add_argument("--model", choices=["neumf", "gmf", "mlp", "mf"], default="neumf")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--layers", help="widths of the tower, such as 256,128,64; default: 4, 2 and 1 times dim")
    parser.add_argument("--negatives", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=16384, help="samples of a step, negatives included")
    parser.add_argument("--optimizer", choices=["adam", "fused", "sparseadam"], default="fused")
    parser.add_argument("--learning-rate", type=float, default=0.001)
    parser.add_argument("--weight-decay", type=float, default=0.0, help="decoupled (AdamW)")
    parser.add_argument("--reg", type=float, default=0.0, help="of mf: the weight of each sample's squared norms")
    parser.add_argument("--cosine-epochs", type=float, help="the learning rate falls to 0 over so many, in half a wave")
    parser.add_argument("--init-std", type=float, help="of the embeddings; default: .01, of mf .1")
    parser.add_argument("--epochs", type=int, help="train for so many instead of timing steps")
    parser.add_argument("--steps", type=int, help="timed; default: the rest of an epoch after the warm-up")
    parser.add_argument("--warmup", type=int, default=20, help="steps before the clock starts")
    parser.add_argument("--sampling", choices=["inline", "worker", "device"], default="inline",
                        help="draw on the training thread, in a DataLoader's worker, or on the device")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, help="default: one per core")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--score-catalog", action="store_true", help="also time scoring all items for all users")
    parser.add_argument("--profile", action="store_true", help="also print where a block's time goes, on stderr")
    add_scoring(parser)
    args = parser.parse_args()
    check_scoring(args)
    args.layers = [int(width) for width in args.layers.split(",")] if args.layers else [
        4 * args.dim, 2 * args.dim, args.dim,
    ]
    if len(args.layers) < 2 or args.layers[0] % 2:
        fail(f"--layers: found {args.layers}, expected at least 2 widths, the first of them even")
    if args.epochs is not None and args.epochs < 1:
        fail(f"--epochs: found {args.epochs}, expected 1 or more")
    if args.scores and not args.epochs:
        fail("--scores: found no --epochs, expected the number of epochs to train for")
    if args.reg and args.model != "mf":
        fail(f"--reg: found {args.reg} for {args.model}, expected it for mf alone; see --weight-decay")
    if args.weight_decay and args.optimizer == "sparseadam":
        fail("--weight-decay: found it with sparseadam, expected adam or fused")
    if args.init_std is None:
        args.init_std = 0.1 if args.model == "mf" else 0.01
    return args


def main():
    args = arguments()
    if args.device == "cuda" and not torch.cuda.is_available():
        fail("--device cuda: found no CUDA device, expected one; use --device cpu")
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    device = torch.device(args.device)
    problem = read_problem(args.train, args.n_users, args.n_items)
    users = torch.from_numpy(read_users(args.score_users, problem.n_users))
    model = network(args, problem.n_users, problem.n_items).to(device)
    data = Batches(
        problem, max(1, args.batch_size // (1 + args.negatives)), args.negatives,
        device if args.sampling == "device" else torch.device("cpu"), args.seed,
    )
    if args.epochs:
        args.steps = args.warmup = None
    elif args.steps is None:
        args.steps = max(1, data.steps_per_epoch() - args.warmup)
    what = f"{args.epochs} epochs" if args.epochs else f"{args.warmup} and {args.steps} steps"
    note(f"{len(problem.users)} ratings, {problem.n_users} users, {problem.n_items} items; "
         f"{what}, {data.steps_per_epoch()} steps an epoch")
    on_host = args.device == "cuda" and args.sampling != "device"
    loader = DataLoader(data, batch_size=None, num_workers=int(args.sampling == "worker"), pin_memory=on_host)
    batches = iter(loader)
    trainer = Trainer(model, data.steps_per_epoch(), args, device)
    if args.epochs:
        figures = fit(trainer, batches, data.steps_per_epoch(), args.epochs)
    else:
        figures = pace(trainer, batches, args)
    record = {
        "peer": "pytorch",
        "config": {**vars(args), "n_users": problem.n_users, "n_items": problem.n_items},
        "ratings": len(problem.users),
        **figures,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "peak_memory_bytes": peak_memory_bytes(),
        "device_peak_memory_bytes": torch.cuda.max_memory_allocated() if args.device == "cuda" else None,
        "optimizer": args.optimizer,
        "device": torch.cuda.get_device_name() if args.device == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "versions": versions("torch", "numpy"),
        "machine": machine(),
    }
    if args.score_catalog:
        record["catalog"] = score_catalog(model, problem.n_users, problem.n_items, device)
    if args.scores:
        catalog = Catalog(model, problem.n_items, device)
        catalog.choose(users)
        record["inference"] = inference(catalog, problem, users)
        save_tensors(args.scores, {"scores": catalog.scores(users)})
    emit(record)


if __name__ == "__main__":
    main()
