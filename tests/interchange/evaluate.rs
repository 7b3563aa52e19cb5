//! Evaluates a graph as ONNX's specification says, operator by operator: slow and plain. The numbers of fields are those of
//! `onnx.proto`.

use std::collections::BTreeMap;

use crate::protobuf::Message;

/// A value; integers are held as the f32 that they are below 2^24.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    pub shape: Vec<usize>,
    pub data: Vec<f32>,
}

impl Value {
    pub fn of(shape: &[usize], data: &[f32]) -> Self {
        Self { shape: shape.to_vec(), data: data.to_vec() }
    }
}

/// Returns all values of a graph by name.
pub fn evaluate(graph: &Message, inputs: &[(&str, Value)]) -> BTreeMap<String, Value> {
    let mut values: BTreeMap<String, Value> =
        inputs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    for stored in graph.messages(5) {
        let bytes = stored.bytes(9).concat();
        let data = match stored.ints(2)[..] {
            [1] => bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
            [7] => bytes.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes) as f32).collect(),
            ref other => panic!("an array of type {other:?}"),
        };
        let shape = stored.ints(1).iter().map(|&axis| axis as usize).collect();
        values.insert(stored.text(8), Value { shape, data });
    }
    for node in graph.messages(1) {
        let names = node.texts(1);
        let inputs: Vec<&Value> = names.iter().map(|name| &values[name]).collect();
        let outputs = run(&node, &inputs);
        values.extend(node.texts(2).into_iter().zip(outputs));
    }
    values
}

fn run(node: &Message, inputs: &[&Value]) -> Vec<Value> {
    let each = |of: &dyn Fn(f32) -> f32| {
        vec![Value { shape: inputs[0].shape.clone(), data: inputs[0].data.iter().map(|&x| of(x)).collect() }]
    };
    let attribute = |name: &str| {
        node.messages(5).iter().find(|other| other.text(1) == name).map(|found| found.ints(3)[0])
    };
    match node.text(4).as_str() {
        "Gather" => {
            let width: usize = inputs[0].shape[1..].iter().product();
            let row = |&at: &f32| &inputs[0].data[at as usize * width..][..width];
            let data: Vec<f32> = inputs[1].data.iter().flat_map(row).copied().collect();
            vec![Value { shape: [&inputs[1].shape, &inputs[0].shape[1..]].concat(), data }]
        }
        "Mul" => vec![pairwise(inputs[0], inputs[1], |a, b| a * b)],
        "Add" => vec![pairwise(inputs[0], inputs[1], |a, b| a + b)],
        "ReduceSum" => {
            assert_eq!(inputs[1].data, [1.0], "the axis");
            let data = inputs[0].data.chunks(inputs[0].shape[1]).map(|row| row.iter().sum()).collect();
            let n = inputs[0].shape[0];
            let shape = if attribute("keepdims") == Some(0) { vec![n] } else { vec![n, 1] };
            vec![Value { shape, data }]
        }
        "Concat" => {
            let n = inputs[0].shape[0];
            let data =
                (0..n).flat_map(|row| inputs.iter().flat_map(move |of| chunk(of, row).to_vec())).collect();
            vec![Value { shape: vec![n, inputs.iter().map(|of| of.shape[1]).sum()], data }]
        }
        "MatMul" => vec![product(inputs[0], inputs[1])],
        "Gemm" => vec![pairwise(&product(inputs[0], inputs[1]), inputs[2], |a, b| a + b)],
        "Relu" => each(&|x| x.max(0.0)),
        "Sigmoid" => each(&|x| 1.0 / (1.0 + (-x).exp())),
        "Identity" => each(&|x| x),
        "Clip" => each(&|x| x.clamp(inputs[1].data[0], inputs[2].data[0])),
        "Squeeze" => {
            assert_eq!((inputs[0].shape[1], inputs[1].data[0]), (1, 1.0), "an axis of one");
            vec![Value { shape: vec![inputs[0].shape[0]], data: inputs[0].data.clone() }]
        }
        "TopK" => {
            let (n, k) = (inputs[0].shape[0], inputs[1].data[0] as usize);
            let (mut best, mut at) = (Vec::new(), Vec::new());
            for row in 0..n {
                let mut order: Vec<(usize, f32)> =
                    chunk(inputs[0], row).iter().copied().enumerate().collect();
                order.sort_by(|a, b| b.1.total_cmp(&a.1));
                best.extend(order[..k].iter().map(|place| place.1));
                at.extend(order[..k].iter().map(|place| place.0 as f32));
            }
            vec![Value { shape: vec![n, k], data: best }, Value { shape: vec![n, k], data: at }]
        }
        other => panic!("the operator {other}"),
    }
}

fn chunk(value: &Value, row: usize) -> &[f32] {
    &value.data[row * value.shape[1]..(row + 1) * value.shape[1]]
}

/// Broadcasts the second value along the rows of the first.
fn pairwise(a: &Value, b: &Value, of: impl Fn(f32, f32) -> f32) -> Value {
    assert!(a.data.len().is_multiple_of(b.data.len()), "{:?} and {:?}", a.shape, b.shape);
    let data = a.data.iter().zip(b.data.iter().cycle()).map(|(&a, &b)| of(a, b)).collect();
    Value { shape: a.shape.clone(), data }
}

fn product(a: &Value, b: &Value) -> Value {
    let ([n, m], [same, width]) = ([a.shape[0], a.shape[1]], [b.shape[0], b.shape[1]]);
    assert_eq!(m, same, "inner axes");
    let cell =
        |row: usize, col: usize| (0..m).map(|at| a.data[row * m + at] * b.data[at * width + col]).sum();
    let data = (0..n).flat_map(|row| (0..width).map(move |col| cell(row, col))).collect();
    Value { shape: vec![n, width], data }
}
