"""The networks of He et al. 2017 and matrix factorisation in PyTorch, started as burnrec's, and their optimisers.

Embeddings start normal, dense layers uniform (Glorot), the output layer uniform (LeCun), MF's mean at the log-odds of a
positive; so the losses of both sides go down the same way.
"""

import itertools
import math

import torch
from torch import nn


def embedding(rows, dim, std, sparse):
    table = nn.Embedding(rows, dim, sparse=sparse)
    nn.init.normal_(table.weight, std=std) if std else nn.init.zeros_(table.weight)
    return table


class Ncf(nn.Module):
    """NeuMF, or its GMF or MLP part alone with an output layer of its own."""

    def __init__(self, model, n_users, n_items, dim, layers, std, sparse):
        super().__init__()
        self.has_gmf, self.has_mlp = model in ("neumf", "gmf"), model in ("neumf", "mlp")
        if self.has_gmf:
            self.user_gmf = embedding(n_users, dim, std, sparse)
            self.item_gmf = embedding(n_items, dim, std, sparse)
        if self.has_mlp:
            self.user_mlp = embedding(n_users, layers[0] // 2, std, sparse)
            self.item_mlp = embedding(n_items, layers[0] // 2, std, sparse)
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

    def __init__(self, n_users, n_items, dim, mean, std, sparse):
        super().__init__()
        self.user, self.item = embedding(n_users, dim, std, sparse), embedding(n_items, dim, std, sparse)
        self.user_bias, self.item_bias = embedding(n_users, 1, 0, sparse), embedding(n_items, 1, 0, sparse)
        self.mean = mean

    def forward(self, users, items):
        return self.with_squares(users, items)[0]

    def with_squares(self, users, items):
        """Scores, and the squared norms of all vectors and biases that they took, summed."""
        user, item = self.user(users), self.item(items)
        user_bias, item_bias = self.user_bias(users), self.item_bias(items)
        scores = (user * item).sum(1) + user_bias.squeeze(1) + item_bias.squeeze(1) + self.mean
        return scores, sum(rows.square().sum() for rows in (user, item, user_bias, item_bias))


def network(args, n_users, n_items):
    """The model that the options name."""
    sparse = args.optimizer == "sparseadam"
    if args.model == "mf":
        return Mf(n_users, n_items, args.dim, -math.log(args.negatives), args.init_std, sparse)
    return Ncf(args.model, n_users, n_items, args.dim, args.layers, args.init_std, sparse)


def optimizers(model, args):
    """Adam, with decoupled weight decay (AdamW) if there is any; for `sparseadam` the tables apart from the rest."""
    if args.weight_decay:
        rates = {"lr": args.learning_rate, "weight_decay": args.weight_decay}
        return [torch.optim.AdamW(model.parameters(), **rates, fused=args.optimizer == "fused")]
    if args.optimizer != "sparseadam":
        return [torch.optim.Adam(model.parameters(), lr=args.learning_rate, fused=args.optimizer == "fused")]
    tables = [module.weight for module in model.modules() if isinstance(module, nn.Embedding)]
    rest = [weight for weight in model.parameters() if not any(weight is table for table in tables)]
    dense = [torch.optim.Adam(rest, lr=args.learning_rate, fused=True)] if rest else []
    return [torch.optim.SparseAdam(tables, lr=args.learning_rate), *dense]
