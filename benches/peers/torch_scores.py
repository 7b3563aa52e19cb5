"""Scores of a PyTorch model under `torch.inference_mode`: whole catalogues, drawn pairs, the best items; their pace.

A catalogue is scored by the forward pass as in training, a block of users at a time, at the best of five block sizes.
"""

import time

import numpy as np
import scipy.sparse as sp
import torch
from peer_io import draw_pairs, least_seconds

SCORED_AT_ONCE = [1 << power for power in range(12, 21, 2)]  # pairs; the best of them scores the catalogue
PAIRS = 1_000_000  # to time scoring by


class Catalog:
    """All items for given users."""

    def __init__(self, model, n_items, device):
        self.model, self.n_items, self.device = model.eval(), n_items, device
        self.items = torch.arange(n_items, device=device)
        self.pairs_at_once = None

    def block(self, users):
        """Scores [users, items] of a tensor of users, where the model is."""
        users = users.to(self.device)
        pairs = users.repeat_interleave(self.n_items), self.items.repeat(len(users))
        return self.model(*pairs).view(len(users), self.n_items)

    def blocks(self, users, pairs_at_once=None):
        """(position of the first user, scores) of one block after the other."""
        at_once = max(1, (pairs_at_once or self.pairs_at_once) // self.n_items)
        for first in range(0, len(users), at_once):
            yield first, self.block(users[first : first + at_once])

    @torch.inference_mode()
    def pace(self, users, pairs_at_once):
        """Pairs a second, the scores brought to the host."""
        self.block(users[: max(1, pairs_at_once // self.n_items)]).cpu()
        start = time.perf_counter()
        for _, scores in self.blocks(users, pairs_at_once):
            scores.cpu()
        return len(users) * self.n_items / (time.perf_counter() - start)

    def choose(self, users):
        """Takes the fastest block size, found on a few of these users."""
        few = users[: max(1, SCORED_AT_ONCE[-1] // self.n_items)]
        self.pairs_at_once = max(SCORED_AT_ONCE, key=lambda pairs: self.pace(few, pairs))

    @torch.inference_mode()
    def scores(self, users):
        """[users, items], f32, on the host."""
        table = np.empty((len(users), self.n_items), dtype=np.float32)
        for first, scores in self.blocks(users):
            table[first : first + len(scores)] = scores.cpu().numpy()
        return table

    @torch.inference_mode()
    def best(self, users, seen, k):
        """The k best items [users, k] of each user, without the seen ones; `seen` has a row for each of the users."""
        lists = []
        for first, scores in self.blocks(users):
            mine = seen[first : first + len(scores)]
            rows = np.repeat(np.arange(len(scores)), np.diff(mine.indptr))
            at = torch.from_numpy(rows).to(self.device), torch.from_numpy(mine.indices).long().to(self.device)
            scores[at] = -torch.inf
            lists.append(scores.topk(k).indices.cpu())
        return torch.cat(lists)


def score_catalog(model, n_users, n_items, device):
    """The pace of all users times all items."""
    catalog, everyone = Catalog(model, n_items, device), torch.arange(n_users)
    catalog.choose(everyone)
    return {"pairs_at_once": catalog.pairs_at_once, "pairs_per_second": catalog.pace(everyone, catalog.pairs_at_once)}


def inference(catalog, problem, users):
    """Drawn pairs a second, and users a second given their ten best unseen items."""
    pairs = [torch.from_numpy(rows).to(catalog.device) for rows in draw_pairs(PAIRS, problem.n_users, problem.n_items)]

    @torch.inference_mode()
    def score():
        for part in zip(*(rows.split(catalog.pairs_at_once) for rows in pairs)):
            catalog.model(*part).cpu()

    seen = sp.csr_matrix((np.ones(len(problem.users)), (problem.users, problem.items)),
                         shape=(problem.n_users, problem.n_items))[users.numpy()]
    score()
    return {
        "pairs_per_second": PAIRS / least_seconds(score),
        "recommend_users_per_second": len(users) / least_seconds(lambda: catalog.best(users, seen, 10)),
    }
