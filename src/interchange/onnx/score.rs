//! The graph of scores of pairs, built from the form of score that the kernels of networks compute, or from factors.

use std::collections::BTreeMap;

use burnrec_models::nn::pair_score::{DotProduct, OutputLayer, PairScore, PairTower};
use burnrec_models::{Error as ModelError, Recommender};

use super::add_score;
use super::graph::Graph;
use crate::Result;
use crate::interchange::factors::KnownFactors;

/// Returns the graph.
///
/// # Errors
/// When the model's score has neither form.
pub fn graph(run: &Recommender) -> Result<Graph> {
    let mut graph = Graph::new("burnrec_score");
    let user = graph.input("user", Some("n"), "positions in burnrec.users");
    let item = graph.input("item", Some("n"), "positions in burnrec.items");
    let logit = match run.model.pair_score() {
        Some(score) => {
            let weights = Weights::of(run);
            Pairs { graph: &mut graph, weights, user, item }.score(&score)
        }
        None => {
            let factors = KnownFactors::of(run).map_err(|_| ModelError::Unable {
                kind: run.kind(),
                lacks: "score that a graph can compute: no factors, and no network over a user's and an item's vectors",
            })?;
            dots(&mut graph, factors.exact(), &user, &item)
        }
    };
    add_score(&mut graph, run, &logit, &["n"]);
    Ok(graph)
}

/// Adds the dot products of factors; returns their name.
fn dots(graph: &mut Graph, factors: KnownFactors, user: &str, item: &str) -> String {
    let KnownFactors { users, items, dim, .. } = factors;
    let users = graph.stored("user_factors", &[users.rows.len(), dim], &users.factors);
    let items = graph.stored("item_factors", &[items.rows.len(), dim], &items.factors);
    let p = graph.node("Gather", &[&users, user], "user_vectors", &[("axis", 0)]); // [n, dim]
    let q = graph.node("Gather", &[&items, item], "item_vectors", &[("axis", 0)]); // [n, dim]
    let products = graph.node("Mul", &[&p, &q], "products", &[]); // [n, dim]
    let axes = graph.stored_ints("last_axis", &[1]);
    graph.node("ReduceSum", &[&products, &axes], "logit", &[("keepdims", 0)]) // [n]
}

/// The weights of a run by name, and the rows of its tables that learned.
struct Weights {
    values: BTreeMap<String, Vec<f32>>,
    users: Vec<usize>,
    items: Vec<usize>,
}

impl Weights {
    fn of(run: &Recommender) -> Self {
        let values = run.model.weights().into_iter();
        let values = values.filter_map(|(name, weight)| Some((name, weight.values::<f32>()?))).collect();
        let trained = run.trained();
        let users = trained.users().iter().map(|user| user.at()).collect();
        Self { values, users, items: trained.items().iter().map(|item| item.at()).collect() }
    }

    fn get(&self, name: &str) -> &[f32] {
        self.values.get(name).expect("a score names the weights of its model")
    }
}

/// The graph of a network over pairs in the making.
struct Pairs<'a> {
    graph: &'a mut Graph,
    weights: Weights,
    user: String,
    item: String,
}

impl Pairs<'_> {
    /// Adds the score; returns its name, `logit`, `[n]`.
    fn score(mut self, score: &PairScore) -> String {
        let PairScore { constant, dot, biases, tower, output, .. } = score;
        let products = dot.as_ref().map(|dot| self.products(dot));
        let last = tower.as_ref().map(|tower| self.tower(tower));
        let parts: Vec<&str> = products.iter().chain(&last).map(String::as_str).collect();
        let sums = match output {
            Some(output) => self.output(&parts, output),
            None => {
                let axes = self.graph.stored_ints("last_axis", &[1]);
                let parts = self.joined(&parts, "parts");
                self.graph.node("ReduceSum", &[&parts, &axes], "sums", &[("keepdims", 1)])
            }
        }; // [n, 1]
        let mut sums = sums;
        if *constant != 0.0 {
            let constant = self.graph.stored("constant", &[1], &[*constant]);
            sums = self.graph.node("Add", &[&sums, &constant], "sums_and_constant", &[]);
        }
        if let Some(tables) = biases {
            let [users, items] = self.rows(tables, [1, 1]); // [n, 1]
            let with_users = self.graph.node("Add", &[&sums, &users], "sums_and_user_biases", &[]);
            sums = self.graph.node("Add", &[&with_users, &items], "sums_and_biases", &[]);
        }
        let axes = self.graph.stored_ints("axis_of_one", &[1]);
        self.graph.node("Squeeze", &[&sums, &axes], "logit", &[])
    }

    /// Adds the products of a user's and an item's vectors, `[n, dim]`.
    fn products(&mut self, dot: &DotProduct) -> String {
        let [users, items] = self.rows(&dot.tables, [dot.dim, dot.dim]);
        self.graph.node("Mul", &[&users, &items], "products", &[])
    }

    /// Adds dense layers over the embeddings side by side; returns the last, `[n, width]`.
    fn tower(&mut self, tower: &PairTower) -> String {
        let [users, items] = self.rows(&tower.tables, tower.widths);
        let mut layer = self.graph.node("Concat", &[&users, &items], "embeddings", &[("axis", 1)]);
        let mut width = tower.widths.iter().sum();
        for &(weight, bias, next) in &tower.layers {
            let names = [self.stored(weight, &[width, next]), self.stored(bias, &[next])];
            let product =
                self.graph.node("Gemm", &[&layer, &names[0], &names[1]], &format!("{weight}_product"), &[]);
            layer = self.graph.node("Relu", &[&product], &format!("{weight}_output"), &[]);
            width = next;
        }
        layer
    }

    /// Adds the output layer over the parts side by side, `[n, 1]`. Of two classes the difference of the weights, second less
    /// first, gives the difference of the outputs.
    fn output(&mut self, parts: &[&str], output: &OutputLayer) -> String {
        let of = |values: &[f32]| -> Vec<f32> {
            match output.classes {
                1 => values.to_vec(),
                classes => values.chunks_exact(classes).map(|row| row[1] - row[0]).collect(),
            }
        };
        let (weight, bias) = (of(self.weights.get(output.weight)), of(self.weights.get(output.bias)));
        let weight = self.graph.stored(output.weight, &[weight.len(), 1], &weight);
        let bias = self.graph.stored(output.bias, &[1], &bias);
        let joined = self.joined(parts, "parts");
        self.graph.node("Gemm", &[&joined, &weight, &bias], "outputs", &[])
    }

    /// Returns the parts side by side.
    fn joined(&mut self, parts: &[&str], name: &str) -> String {
        match parts {
            [part] => (*part).to_owned(),
            parts => self.graph.node("Concat", parts, name, &[("axis", 1)]),
        }
    }

    /// Adds the rows of two tables that the inputs ask for, `[n, width]` each.
    fn rows(&mut self, tables: &[&'static str; 2], widths: [usize; 2]) -> [String; 2] {
        let learned = [self.weights.users.clone(), self.weights.items.clone()];
        let inputs = [self.user.clone(), self.item.clone()];
        std::array::from_fn(|side| {
            let (name, width) = (tables[side], widths[side]);
            let all = self.weights.get(name);
            let row = |&row: &usize| &all[row * width..(row + 1) * width];
            let kept: Vec<f32> = learned[side].iter().flat_map(row).copied().collect();
            let table = self.graph.stored(name, &[learned[side].len(), width], &kept);
            self.graph.node("Gather", &[&table, &inputs[side]], &format!("{name}_rows"), &[("axis", 0)])
        })
    }

    fn stored(&mut self, name: &str, shape: &[usize]) -> String {
        self.graph.stored(name, shape, self.weights.get(name))
    }
}
