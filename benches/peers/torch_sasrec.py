"""Trains SASRec (Kang and McAuley 2018) in PyTorch and prints one JSON object: rows/s in training and scoring, loss, versions.

Written as a good PyTorch user would: `scaled_dot_product_attention` with `is_causal`, `LayerNorm`, `Linear`, `cross_entropy`,
fused Adam; all in f32. The network, its first weights, its loss and the batches are burnrec's:

* Each history, its rows in the order of the file, is cut into sequences of at most `length` rows from its newest row
  backwards. A batch has at most `batch_rows` rows of sequences of similar length: windows of eight batches are sorted by
  length. Sequences are padded at their end to the longest of the batch, for attention as for everything up to the last norm;
  scores are computed for real rows alone.
* `softmax` is over all items; `sampled-softmax` over items drawn for the batch, each once, and the row's own target.
* Inside the timed region: batches from lists of items to tensors, draws, forward, backward, the optimiser's step.

Scoring is from histories: the newest `length` rows of all users, sorted by length, in batches of about `batch_rows` rows; the
state of each newest row times all items' embeddings, in `inference_mode`.
"""

import argparse
import itertools
import math
import statistics
import time

import numpy as np
import torch
from peer_io import emit, machine, note, peak_memory_bytes, read_problem, versions
from torch import nn
from torch.nn import functional as F

WINDOW = 8
BLOCKS = 5  # of timed steps; the median is reported


class Layer(nn.Module):
    def __init__(self, dim, heads, dropout):
        super().__init__()
        self.heads = heads
        self.attention_norm, self.hidden_norm = nn.LayerNorm(dim, eps=1e-8), nn.LayerNorm(dim, eps=1e-8)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.hidden, self.output = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        batch, length, dim = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(batch, length, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.dropout(out.transpose(1, 2).reshape(batch, length, dim))
        return x + self.dropout(self.output(F.relu(self.hidden(self.hidden_norm(x)))))


class Sasrec(nn.Module):
    def __init__(self, n_items, args):
        super().__init__()
        dim = args.dim
        self.length = args.length
        # one row more, for padding
        self.items = nn.Embedding(n_items + 1, dim)
        self.places = nn.Embedding(args.length + 1, dim)
        self.dropout = nn.Dropout(args.dropout)
        self.layers = nn.ModuleList(Layer(dim, args.heads, args.dropout) for _ in range(args.layers))
        self.norm = nn.LayerNorm(dim, eps=1e-8)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                bound = math.sqrt(3 / dim)
                nn.init.uniform_(module.weight, -bound, bound)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    def states(self, items, places):
        """States [sequences, longest, dim] of padded items and places."""
        x = self.dropout(self.items(items) * math.sqrt(self.items.embedding_dim) + self.places(places))
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


class Sequences:
    """All sequences of the training rows, in batches by length."""

    def __init__(self, problem, args):
        order = np.argsort(problem.users, kind="stable")
        users, items = problem.users[order], problem.items[order]
        self.histories = [part for part in np.split(items, np.flatnonzero(np.diff(users)) + 1)]
        self.n_items, self.args = problem.n_items, args
        self.spans = []
        for history in self.histories:
            end = len(history) - 1
            while end > 0:
                first = max(end - args.length, 0)
                self.spans.append((history[first:end], history[first + 1 : end + 1]))
                end = first
        self.n_rows = sum(len(items) for items, _ in self.spans)

    def batches(self, rng):
        """The batches of an epoch, lists of (items, targets)."""
        window, rows, batches = [], 0, []
        for number, at in enumerate(rng.permutation(len(self.spans))):
            window.append(self.spans[at])
            rows += len(self.spans[at][0])
            if rows >= WINDOW * self.args.batch_rows or number + 1 == len(self.spans):
                batches += cut(sorted(window, key=lambda span: len(span[0])), self.args.batch_rows)
                window, rows = [], 0
        rng.shuffle(batches)
        return batches

    def padded(self, lists):
        """Items and places, [sequences, longest], and which places are rows."""
        lengths = torch.tensor([len(items) for items in lists])
        longest = int(lengths.max())
        real = torch.arange(longest) < lengths[:, None]
        items = torch.full(real.shape, self.n_items)
        items[real] = torch.from_numpy(np.concatenate(lists))
        places = torch.arange(longest) + self.args.length - lengths[:, None]
        return items, places.where(real, torch.tensor(self.args.length)), real


def cut(window, batch_rows):
    batches, rows = [[]], 0
    for span in window:
        if batches[-1] and rows + len(span[0]) > batch_rows:
            batches.append([])
            rows = 0
        batches[-1].append(span)
        rows += len(span[0])
    return batches


class Trainer:
    def __init__(self, model, sequences, args):
        self.model, self.sequences, self.args = model, sequences, args
        self.optimizer = torch.optim.Adam(model.parameters(), lr=args.learning_rate, fused=True)
        self.rng = np.random.default_rng(args.seed)

    def endless(self):
        while True:
            yield from self.sequences.batches(self.rng)

    def step(self, batch):
        """One step; its loss summed over rows, and how many these are."""
        items, places, real = self.sequences.padded([items for items, _ in batch])
        targets = torch.from_numpy(np.concatenate([targets for _, targets in batch]))
        self.optimizer.zero_grad(set_to_none=True)
        states = self.model.states(items, places)[real]
        embedding = self.model.items.weight[: self.sequences.n_items]
        if self.args.loss == "softmax":
            loss = F.cross_entropy(states @ embedding.T, targets)
        else:
            loss = self.sampled(states, targets, embedding)
        loss.backward()
        self.optimizer.step()
        return loss.item() * len(targets), len(targets)

    def sampled(self, states, targets, embedding):
        """Against items drawn for the batch; a target among them is left out there, as it stands in a column of its own."""
        drawn = torch.from_numpy(self.rng.permutation(self.sequences.n_items)[: self.args.negatives])
        scores = states @ embedding[drawn].T
        scores = scores.masked_fill(drawn == targets[:, None], -torch.inf)
        own = (states * embedding[targets]).sum(1, keepdim=True)
        return F.cross_entropy(torch.cat([own, scores], 1), torch.zeros(len(targets), dtype=torch.long))

    def block(self, batches, n_steps):
        start, total, rows = time.perf_counter(), 0.0, 0
        for batch in itertools.islice(batches, n_steps):
            loss, n = self.step(batch)
            total, rows = total + loss, rows + n
        return time.perf_counter() - start, rows, total


def scoring(model, sequences, args):
    """Users a second, scored from their histories."""
    model.eval()
    lists = sorted((history[-args.length :] for history in sequences.histories), key=len)
    embedding = model.items.weight[: sequences.n_items]
    checksum, start = 0.0, time.perf_counter()
    with torch.inference_mode():
        for batch in cut([(items, None) for items in lists], args.batch_rows):
            items, places, real = sequences.padded([items for items, _ in batch])
            states = model.states(items, places)
            newest = states[torch.arange(len(states)), real.sum(1) - 1]
            checksum += float((newest @ embedding.T)[0, 0])
    seconds = time.perf_counter() - start
    return {"users": len(lists), "seconds": seconds, "users_per_second": len(lists) / seconds, "checksum": checksum}


def main():
    parser = argparse.ArgumentParser(description="SASRec in PyTorch on the CPU: the pace of training and of scoring.")
    parser.add_argument("--train", required=True, help="user,item,value as CSV; a user's rows from the oldest on")
    parser.add_argument("--n-users", type=int, help="default: largest row + 1")
    parser.add_argument("--n-items", type=int, help="default: largest row + 1")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--heads", type=int, default=1)
    parser.add_argument("--length", type=int, default=200)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--loss", choices=["softmax", "sampled-softmax"], default="softmax")
    parser.add_argument("--negatives", type=int, default=256)
    parser.add_argument("--batch-rows", type=int, default=16384)
    parser.add_argument("--learning-rate", type=float, default=0.001)
    parser.add_argument("--warmup", type=int, default=3, help="steps that are not timed")
    parser.add_argument("--steps", type=int, default=20, help="steps that are timed")
    parser.add_argument("--score", action="store_true", help="also time scoring")
    parser.add_argument("--threads", type=int, default=0, help="0: PyTorch's default")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    sequences = Sequences(read_problem(args.train, args.n_users, args.n_items), args)
    note(f"{sequences.n_rows} rows in {len(sequences.spans)} sequences, {torch.get_num_threads()} threads")
    model = Sasrec(sequences.n_items, args)
    trainer = Trainer(model, sequences, args)
    batches = trainer.endless()
    blocks = min(BLOCKS, args.steps)
    warm_up = [trainer.block(batches, args.warmup)] if args.warmup else []
    timed = [trainer.block(batches, args.steps // blocks) for _ in range(blocks)]
    done = warm_up + timed
    speeds = [rows / seconds for seconds, rows, _ in timed]
    emit({
        "samples_per_second": statistics.median(speeds),
        "samples_per_second_all": speeds,
        "loss": sum(total for _, _, total in done) / sum(rows for _, rows, _ in done),
        "scoring": scoring(model, sequences, args) if args.score else None,
        "peak_memory_bytes": peak_memory_bytes(),
        "threads": torch.get_num_threads(),
        "versions": versions("torch", "numpy"),
        "machine": machine(),
        "config": vars(args),
    })


if __name__ == "__main__":
    main()
