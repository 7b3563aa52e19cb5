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
* Start. burnrec's: embeddings normal, dense layers uniform (Glorot), the output layer uniform (LeCun), MF's mean the
  log-odds of a positive; so both losses go down the same way.
"""

import argparse
import itertools
import math
import statistics
import time

import torch
from peer_io import emit, fail, machine, note, read_problem, versions
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

BLOCKS = 10  # of timed steps; the median is reported
TABLE_CELLS = 256_000_000
SCORED_AT_ONCE = [1 << power for power in range(12, 21, 2)]  # pairs; the best of them scores the catalogue


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


def embedding(rows, dim, std, sparse):
    table = nn.Embedding(rows, dim, sparse=sparse)
    nn.init.normal_(table.weight, std=std) if std else nn.init.zeros_(table.weight)
    return table


class Ncf(nn.Module):
    """NeuMF, or its GMF or MLP part alone with an output layer of its own."""

    def __init__(self, model, n_users, n_items, dim, layers, sparse):
        super().__init__()
        self.has_gmf, self.has_mlp = model in ("neumf", "gmf"), model in ("neumf", "mlp")
        if self.has_gmf:
            self.user_gmf = embedding(n_users, dim, 0.01, sparse)
            self.item_gmf = embedding(n_items, dim, 0.01, sparse)
        if self.has_mlp:
            self.user_mlp = embedding(n_users, layers[0] // 2, 0.01, sparse)
            self.item_mlp = embedding(n_items, layers[0] // 2, 0.01, sparse)
            dense = [nn.Linear(*pair) for pair in itertools.pairwise(layers)]
            for layer in dense:
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
            self.tower = nn.Sequential(*(part for layer in dense for part in (layer, nn.ReLU())))
        width = dim * self.has_gmf + layers[-1] * self.has_mlp
        self.output = nn.Linear(width, 1)
        nn.init.uniform_(self.output.weight, -math.sqrt(3 / width), math.sqrt(3 / width))
        nn.init.zeros_(self.output.bias)

    def forward(self, users, items):
        parts = []
        if self.has_gmf:
            parts.append(self.user_gmf(users) * self.item_gmf(items))
        if self.has_mlp:
            parts.append(self.tower(torch.cat([self.user_mlp(users), self.item_mlp(items)], dim=1)))
        return self.output(torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]).squeeze(1)


class Mf(nn.Module):
    """mean + user bias + item bias + dot(user, item)."""

    def __init__(self, n_users, n_items, dim, mean, sparse):
        super().__init__()
        self.user, self.item = embedding(n_users, dim, 0.1, sparse), embedding(n_items, dim, 0.1, sparse)
        self.user_bias, self.item_bias = embedding(n_users, 1, 0, sparse), embedding(n_items, 1, 0, sparse)
        self.mean = mean

    def forward(self, users, items):
        dots = (self.user(users) * self.item(items)).sum(1)
        return dots + self.user_bias(users).squeeze(1) + self.item_bias(items).squeeze(1) + self.mean


def optimizers(model, name, learning_rate):
    if name != "sparseadam":
        return [torch.optim.Adam(model.parameters(), lr=learning_rate, fused=name == "fused")]
    tables = [module.weight for module in model.modules() if isinstance(module, nn.Embedding)]
    rest = [weight for weight in model.parameters() if not any(weight is table for table in tables)]
    dense = [torch.optim.Adam(rest, lr=learning_rate, fused=True)] if rest else []
    return [torch.optim.SparseAdam(tables, lr=learning_rate), *dense]


def synchronise(device):
    if device.type == "cuda":
        torch.cuda.synchronize()


def train(model, batches, args, device):
    """Goes on for `warmup + steps` steps; gives the record's figures."""
    steppers = optimizers(model, args.optimizer, args.learning_rate)
    criterion = nn.BCEWithLogitsLoss()

    def step(rows):
        users, items, negatives = (part.to(device, non_blocking=True) for part in rows)
        labels = torch.zeros(len(items) + len(negatives), device=device)
        labels[: len(items)] = 1.0
        users = users.repeat(1 + args.negatives)
        items = torch.cat([items, negatives])
        for stepper in steppers:
            stepper.zero_grad(set_to_none=True)
        loss = criterion(model(users, items), labels)
        loss.backward()
        for stepper in steppers:
            stepper.step()
        return loss.detach() * len(items), len(items)

    def block(n_steps):
        """Seconds, samples and the summed loss of so many steps."""
        start, total, samples = time.perf_counter(), torch.zeros((), device=device), 0
        for rows in itertools.islice(batches, n_steps):
            loss, n_samples = step(rows)
            total += loss
            samples += n_samples
        total = total.item()
        synchronise(device)
        return time.perf_counter() - start, samples, total

    n_blocks = min(BLOCKS, args.steps)
    sizes = [args.steps // n_blocks + (at < args.steps % n_blocks) for at in range(n_blocks)]
    warm_up = [block(args.warmup)] if args.warmup else []
    timed = [block(size) for size in sizes]
    if args.profile:
        profile(lambda: block(sizes[0]), device)
    speeds = [samples / seconds for seconds, samples, _ in timed]
    return {
        "samples_per_second": statistics.median(speeds),
        "samples_per_second_all": speeds,
        "seconds": sum(seconds for seconds, _, _ in timed),
        "samples": sum(samples for _, samples, _ in timed),
        # over all steps from the first, the warm-up's too
        "loss": sum(total for _, _, total in warm_up + timed) / sum(samples for _, samples, _ in warm_up + timed),
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


@torch.inference_mode()
def score_catalog(model, n_users, n_items, device):
    """All users times all items, a block of users at a time, the scores brought to the host; the best batch size."""
    model.eval()
    catalog = torch.arange(n_items, device=device)

    def score(first, last):
        users = torch.arange(first, last).to(device)
        pairs = users.repeat_interleave(n_items), catalog.repeat(last - first)
        return model(*pairs).view(last - first, n_items).cpu()

    def pairs_per_second(pairs_at_once, n_scored):
        n = max(1, pairs_at_once // n_items)
        score(0, min(n, n_users))
        start = time.perf_counter()
        for first in range(0, n_scored, n):
            score(first, min(first + n, n_scored))
        return n_scored * n_items / (time.perf_counter() - start)

    few = min(n_users, max(1, SCORED_AT_ONCE[-1] // n_items))
    best = max(SCORED_AT_ONCE, key=lambda pairs: pairs_per_second(pairs, few))
    return {"pairs_at_once": best, "pairs_per_second": pairs_per_second(best, n_users)}


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
    parser.add_argument("--steps", type=int, help="timed; default: the rest of an epoch after the warm-up")
    parser.add_argument("--warmup", type=int, default=20, help="steps before the clock starts")
    parser.add_argument("--sampling", choices=["inline", "worker", "device"], default="inline",
                        help="draw on the training thread, in a DataLoader's worker, or on the device")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, help="default: one per core")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--score-catalog", action="store_true", help="also time scoring all items for all users")
    parser.add_argument("--profile", action="store_true", help="also print where a block's time goes, on stderr")
    args = parser.parse_args()
    args.layers = [int(width) for width in args.layers.split(",")] if args.layers else [
        4 * args.dim, 2 * args.dim, args.dim,
    ]
    if len(args.layers) < 2 or args.layers[0] % 2:
        fail(f"--layers: found {args.layers}, expected at least 2 widths, the first of them even")
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
    sparse = args.optimizer == "sparseadam"
    if args.model == "mf":
        model = Mf(problem.n_users, problem.n_items, args.dim, -math.log(args.negatives), sparse)
    else:
        model = Ncf(args.model, problem.n_users, problem.n_items, args.dim, args.layers, sparse)
    model = model.to(device)
    data = Batches(
        problem, max(1, args.batch_size // (1 + args.negatives)), args.negatives,
        device if args.sampling == "device" else torch.device("cpu"), args.seed,
    )
    if args.steps is None:
        args.steps = max(1, data.steps_per_epoch() - args.warmup)
    note(f"{len(problem.users)} ratings, {problem.n_users} users, {problem.n_items} items; "
         f"{args.warmup} and {args.steps} steps, {data.steps_per_epoch()} an epoch")
    on_host = args.device == "cuda" and args.sampling != "device"
    loader = DataLoader(data, batch_size=None, num_workers=int(args.sampling == "worker"), pin_memory=on_host)
    record = {
        "peer": "pytorch",
        "config": {**vars(args), "n_users": problem.n_users, "n_items": problem.n_items},
        "ratings": len(problem.users),
        **train(model, iter(loader), args, device),
        "optimizer": args.optimizer,
        "device": torch.cuda.get_device_name() if args.device == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "versions": versions("torch", "numpy"),
        "machine": machine(),
    }
    if args.score_catalog:
        record["catalog"] = score_catalog(model, problem.n_users, problem.n_items, device)
    emit(record)


if __name__ == "__main__":
    main()
