//! Graphs are decoded again and evaluated on all pairs.

use burnrec::interchange::onnx::{OnnxGraph, write_onnx};
use burnrec::{ItemIx, Query, Recommender, UserIx};

use crate::evaluate::{Value, evaluate};
use crate::protobuf::Message;
use crate::small;

fn decoded(run: &Recommender, graph: OnnxGraph) -> Message {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.onnx");
    let n_bytes = write_onnx(run, graph, &path).expect("a graph");
    let bytes = std::fs::read(&path).expect("a file");
    assert_eq!(bytes.len() as u64, n_bytes);
    Message::of(&bytes)
}

fn graph_of(model: &Message) -> Message {
    model.messages(7).remove(0)
}

fn ids(model: &Message, key: &str) -> Vec<String> {
    let entry = model.messages(14).into_iter().find(|entry| entry.text(1) == key).expect("a list of ids");
    let ids: Vec<serde_json::Value> = serde_json::from_str(&entry.text(2)).expect("an array");
    ids.iter().map(ToString::to_string).collect()
}

/// Returns all pairs of positions.
fn pairs(n_users: usize, n_items: usize) -> (Vec<f32>, Vec<f32>) {
    let all = (0..n_users).flat_map(|user| (0..n_items).map(move |item| (user as f32, item as f32)));
    all.unzip()
}

fn close(a: f32, b: f32) -> bool {
    (a - b).abs() <= 1e-5 * b.abs().max(1.0)
}

/// Checks the graph of scores against the model and what users see.
fn scores_as(run: &Recommender) -> Message {
    let model = decoded(run, OnnxGraph::Score);
    assert_eq!((model.ints(1), model.messages(8)[0].ints(2)), (vec![8], vec![17]));
    let (users, items) = (ids(&model, "burnrec.users"), ids(&model, "burnrec.items"));
    let (user, item) = pairs(users.len(), items.len());
    let graph = graph_of(&model);
    let input = |values: &[f32]| Value::of(&[values.len()], values);
    let values = evaluate(&graph, &[("user", input(&user)), ("item", input(&item))]);
    let asked: Vec<(&String, &String)> =
        user.iter().zip(&item).map(|(&user, &item)| (&users[user as usize], &items[item as usize])).collect();
    let rows: Vec<UserIx> = asked.iter().map(|(user, _)| run.user(user).expect("known")).collect();
    let cols: Vec<ItemIx> = asked.iter().map(|(_, item)| run.item(item).expect("known")).collect();
    let mut logits = vec![0.0; rows.len()];
    run.model.score_pairs(&rows, &cols, &mut logits);
    assert_eq!(values["logit"].shape, [logits.len()]);
    for (at, (expected, shown)) in logits.iter().zip(run.score(&asked)).enumerate() {
        assert!(close(values["logit"].data[at], *expected), "{} and {expected}", values["logit"].data[at]);
        let (score, shown) = (values["score"].data[at], shown.expect("a score"));
        assert!(close(score, shown), "{score} and {shown}");
    }
    graph
}

#[test]
fn networks_score_as_their_runs_do() {
    for (config, operators) in [
        (
            "model = 'mf'\ndim = 4\nepochs = 1",
            vec!["Gather", "Mul", "ReduceSum", "Add", "Squeeze", "Sigmoid"],
        ),
        (
            "model = 'mf'\ndim = 4\nepochs = 1\nloss = 'mse'",
            vec!["Gather", "Mul", "ReduceSum", "Add", "Clip"],
        ),
        ("model = 'gmf'\ndim = 4\nepochs = 1", vec!["Gather", "Mul", "Gemm", "Sigmoid"]),
        (
            "model = 'mlp'\ndim = 4\nepochs = 1\nuser_dim = 5\nclasses = 2",
            vec!["Gather", "Concat", "Gemm", "Relu"],
        ),
        ("model = 'neumf'\ndim = 4\nepochs = 1", vec!["Gather", "Mul", "Concat", "Gemm", "Relu", "Sigmoid"]),
    ] {
        let graph = scores_as(&small(config));
        for operator in operators {
            assert!(graph.messages(1).iter().any(|node| node.text(4) == operator), "{config}: {operator}");
        }
    }
}

#[test]
fn models_with_factors_score_as_their_runs_do() {
    scores_as(&small("model = 'als'\ndim = 4\nepochs = 2"));
    scores_as(&small("model = 'als'\ndim = 4\nepochs = 2\nfeedback = 'explicit'\nbiases = true"));
}

#[test]
fn the_best_items_are_those_that_the_run_recommends() {
    for config in [
        "model = 'als'\ndim = 4\nepochs = 2",
        "model = 'mf'\ndim = 4\nepochs = 2",
        "model = 'als'\ndim = 4\nepochs = 2\nfeedback = 'explicit'\nbiases = true",
    ] {
        let run = small(config);
        let model = decoded(&run, OnnxGraph::TopK);
        let (users, items) = (ids(&model, "burnrec.users"), ids(&model, "burnrec.items"));
        let all: Vec<f32> = (0..users.len()).map(|user| user as f32).collect();
        let inputs = [("user", Value::of(&[all.len()], &all)), ("k", Value::of(&[1], &[7.0]))];
        let values = evaluate(&graph_of(&model), &inputs);
        assert_eq!(values["item"].shape, [users.len(), 7]);
        let (mut same, n) = (0, users.len() * 7);
        for (at, user) in users.iter().enumerate() {
            let expected = run.recommend(user, Query::top(7).include_seen()).expect("items");
            for (place, expected) in expected.iter().enumerate() {
                let item = &items[values["item"].data[at * 7 + place] as usize];
                let score = values["score"].data[at * 7 + place];
                assert!(close(score, expected.score), "{score} and {}", expected.score);
                same += usize::from(item == &expected.id);
            }
        }
        assert!(same * 1000 >= n * 995, "{config}: {same} of {n} items are in the same place");
    }
}

#[test]
fn a_model_of_another_form_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.onnx");
    let neumf = small("model = 'neumf'\ndim = 2\nepochs = 1");
    let error = write_onnx(&neumf, OnnxGraph::TopK, &path).expect_err("no factors").to_string();
    assert_eq!(error, "neumf has no factors to export");
    let ease = small("model = 'ease'");
    let error = write_onnx(&ease, OnnxGraph::Score, &path).expect_err("an item-item matrix").to_string();
    assert!(error.starts_with("ease has no score that a graph can compute"), "{error}");
    assert!(!path.exists());
}
