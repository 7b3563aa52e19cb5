//! The graph of the best items: a product of two matrices, and the operator `TopK`.

use burnrec_models::Recommender;

use super::add_score;
use super::graph::Graph;
use crate::Result;
use crate::interchange::factors::KnownFactors;

/// Returns the graph.
///
/// # Errors
/// When the model has no factors.
pub fn graph(run: &Recommender) -> Result<Graph> {
    let KnownFactors { users, items, dim, .. } = KnownFactors::of(run)?.exact();
    let mut graph = Graph::new("burnrec_top_k");
    let user = graph.input("user", Some("n"), "positions in burnrec.users");
    let k = graph.input("k", None, "how many items of each user, at most as many as there are");
    let user_factors = graph.stored("user_factors", &[users.rows.len(), dim], &users.factors);
    // [dim, items], so that no transposition is left to run.
    let n_items = items.rows.len();
    let by_column: Vec<f32> =
        (0..dim).flat_map(|at| items.factors.iter().skip(at).step_by(dim).copied()).collect();
    let item_factors = graph.stored("item_factors_transposed", &[dim, n_items], &by_column);
    let vectors = graph.node("Gather", &[&user_factors, &user], "user_vectors", &[("axis", 0)]); // [n, dim]
    let logits = graph.node("MatMul", &[&vectors, &item_factors], "logits", &[]); // [n, items]
    // Of equal values the lower position comes first, as in `models::topk`.
    let options = [("axis", -1), ("largest", 1), ("sorted", 1)];
    graph.node_of("TopK", &[&logits, &k], &["logit", "item"], &options); // [n, k]
    graph.output_ints("item", &["n", "k"], "positions in burnrec.items, best first");
    add_score(&mut graph, run, "logit", &["n", "k"]);
    Ok(graph)
}
