//! Graphs of ONNX (opset 17, IR version 8) that score as a run does.
//!
//! | [`OnnxGraph`] | inputs | outputs |
//! |---|---|---|
//! | `Score` | `user` `[n]`, `item` `[n]`: positions in the lists of ids, int64 | `logit` `[n]`, which ranks; `score` `[n]`, as `burnrec score` gives it |
//! | `TopK` | `user` `[n]`, `k` `[1]` | `item` `[n, k]`, best first; `logit` and `score` `[n, k]` |
//!
//! `metadata_props` hold the ids as JSON arrays, `burnrec.users` and `burnrec.items`, in the order of the positions; those of
//! users and items without training rows are left out, and so are their weights. What a user has had is not left out: the
//! graph does not know histories.

mod graph;
mod proto;
mod score;
mod top_k;
mod wire;

use std::path::Path;

use burnrec_data::write::write_file;
use burnrec_data::{Error as DataError, Vocab};
use burnrec_models::{Output, Recommender};

use crate::Result;
use graph::Graph;
use proto::{Message, ModelProto, OperatorSetIdProto, StringStringEntryProto};

/// The version of ONNX's operators.
pub const OPSET: i64 = 17;
/// The version of the file format.
pub const IR_VERSION: i64 = 8;
/// The most bytes that a message of protobuf may have.
const MOST_BYTES: usize = i32::MAX as usize;

/// What a graph computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnnxGraph {
    /// Scores of pairs: of models whose score is a dot product with biases, a tower, or both (`mf`, `gmf`, `mlp`, `neumf`), and
    /// of models with factors.
    Score,
    /// The best items of users: of models with factors.
    TopK,
}

/// Writes a run as a graph into the file `path`, and returns its bytes. The file appears whole or not at all.
///
/// # Errors
/// When the model's score has no such form, the graph would have 2 GiB or more, or the file cannot be written.
pub fn write_onnx(run: &Recommender, graph: OnnxGraph, path: impl AsRef<Path>) -> Result<u64> {
    let bytes = to_bytes(run, graph, path.as_ref())?;
    write_file(path.as_ref(), &bytes)?;
    Ok(bytes.len() as u64)
}

/// Returns the bytes of the file; `path` is for messages.
fn to_bytes(run: &Recommender, graph: OnnxGraph, path: &Path) -> Result<Vec<u8>> {
    let built = match graph {
        OnnxGraph::Score => score::graph(run)?,
        OnnxGraph::TopK => top_k::graph(run)?,
    };
    let trained = run.trained();
    let users = trained.users().iter().map(|user| user.0);
    let items = trained.items().iter().map(|item| item.0);
    let properties = [
        ("burnrec.model", run.kind().to_owned()),
        ("burnrec.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("burnrec.score", run.output.name().to_owned()),
        ("burnrec.users", ids(run.users.vocab(), users)),
        ("burnrec.items", ids(run.items.vocab(), items)),
    ];
    let model = ModelProto {
        ir_version: IR_VERSION,
        producer_name: "burnrec".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        doc_string: "https://github.com/burnrec/burnrec: docs/interchange.md".to_owned(),
        graph: Some(built.finish()),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        metadata_props: properties
            .map(|(key, value)| StringStringEntryProto { key: key.to_owned(), value })
            .into(),
    };
    let length = model.length();
    if length > MOST_BYTES {
        let expected = format!("at most {MOST_BYTES}: a file of ONNX is one message of protobuf");
        return Err(DataError::malformed(path, format!("a graph of {length} bytes"), expected).into());
    }
    Ok(model.to_bytes())
}

/// Returns the ids of some rows as a JSON array.
fn ids(vocab: &Vocab, rows: impl Iterator<Item = u32>) -> String {
    let ids: Vec<_> = rows.map(|row| vocab.id(row)).collect();
    serde_json::to_string(&ids).expect("ids are integers or texts")
}

/// Adds `score`, which users see, from the logits.
fn add_score(graph: &mut Graph, run: &Recommender, logit: &str, axes: &[&str]) {
    match (run.output, run.trained().values().filter(|_| run.model.config().clips())) {
        (Output::Probability, _) => graph.node("Sigmoid", &[logit], "score", &[]),
        (_, Some((least, most))) => {
            let least = graph.stored("least_rating", &[], &[least]);
            let most = graph.stored("greatest_rating", &[], &[most]);
            graph.node("Clip", &[logit, &least, &most], "score", &[])
        }
        _ => graph.node("Identity", &[logit], "score", &[]),
    };
    graph.output(logit, axes, "what ranks the items of a user");
    graph.output("score", axes, run.output.name());
}
