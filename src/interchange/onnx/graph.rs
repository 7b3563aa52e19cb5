//! Builds a graph node by node.

use super::proto::{
    AttributeProto, DimensionProto, FLOAT, GraphProto, INT, INT64, NodeProto, TensorProto, TensorShapeProto,
    TensorTypeProto, TypeProto, ValueInfoProto,
};

/// A graph in the making. Values are named; each name is that of one input, one stored array or one node's output.
#[derive(Default)]
pub struct Graph {
    proto: GraphProto,
}

impl Graph {
    pub fn new(name: &str) -> Self {
        Self { proto: GraphProto { name: name.to_owned(), ..GraphProto::default() } }
    }

    /// Adds an input of integers whose only axis has the length that `axis` names, or 1 where it is `None`.
    pub fn input(&mut self, name: &str, axis: Option<&str>, doc: &str) -> String {
        let axis = axis.map_or(dim_value(1), dim_param);
        self.proto.input.push(value_info(name, INT64, vec![axis], doc));
        name.to_owned()
    }

    /// Adds an array of numbers that the model stores.
    ///
    /// # Panics
    /// When the values do not fill the shape.
    pub fn stored(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "values fill the shape of {name}");
        let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.initializer(name, shape, FLOAT, raw_data)
    }

    /// Adds integers that the model stores, along one axis.
    pub fn stored_ints(&mut self, name: &str, values: &[i64]) -> String {
        let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.initializer(name, &[values.len()], INT64, raw_data)
    }

    fn initializer(&mut self, name: &str, shape: &[usize], data_type: i64, raw_data: Vec<u8>) -> String {
        let dims = shape.iter().map(|&axis| axis as i64).collect();
        self.proto.initializer.push(TensorProto { dims, data_type, name: name.to_owned(), raw_data });
        name.to_owned()
    }

    /// Adds a node with one output, and returns the output's name, `name`.
    pub fn node(&mut self, op: &str, inputs: &[&str], name: &str, attributes: &[(&str, i64)]) -> String {
        self.node_of(op, inputs, &[name], attributes);
        name.to_owned()
    }

    /// Adds a node with any number of outputs.
    pub fn node_of(&mut self, op: &str, inputs: &[&str], outputs: &[&str], attributes: &[(&str, i64)]) {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let attribute =
            |&(name, value): &(&str, i64)| AttributeProto { name: name.to_owned(), i: value, kind: INT };
        self.proto.node.push(NodeProto {
            input: owned(inputs),
            output: owned(outputs),
            name: format!("{op}_{}", outputs[0]),
            op_type: op.to_owned(),
            attribute: attributes.iter().map(attribute).collect(),
        });
    }

    /// Says that a value is an output of numbers, with axes whose lengths are named so.
    pub fn output(&mut self, name: &str, axes: &[&str], doc: &str) {
        let axes = axes.iter().map(|axis| dim_param(axis)).collect();
        self.proto.output.push(value_info(name, FLOAT, axes, doc));
    }

    /// Says that a value is an output of integers.
    pub fn output_ints(&mut self, name: &str, axes: &[&str], doc: &str) {
        let axes = axes.iter().map(|axis| dim_param(axis)).collect();
        self.proto.output.push(value_info(name, INT64, axes, doc));
    }

    pub fn finish(self) -> GraphProto {
        self.proto
    }
}

fn dim_value(length: i64) -> DimensionProto {
    DimensionProto { dim_value: Some(length), dim_param: None }
}

fn dim_param(name: &str) -> DimensionProto {
    DimensionProto { dim_value: None, dim_param: Some(name.to_owned()) }
}

fn value_info(name: &str, elem_type: i64, dim: Vec<DimensionProto>, doc: &str) -> ValueInfoProto {
    let shape = Some(TensorShapeProto { dim });
    let of_type = Some(TypeProto { tensor_type: Some(TensorTypeProto { elem_type, shape }) });
    ValueInfoProto { name: name.to_owned(), of_type, doc_string: doc.to_owned() }
}
