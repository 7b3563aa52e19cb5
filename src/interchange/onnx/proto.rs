//! The messages of `onnx.proto` (ONNX 1.12, IR version 8) that the graphs here need, with its field numbers.

use super::wire::{Field, field_length, write_head};

/// `TensorProto.DataType`: FLOAT.
pub const FLOAT: i64 = 1;
/// `TensorProto.DataType`: INT64.
pub const INT64: i64 = 7;
/// `AttributeProto.AttributeType`: INT.
pub const INT: i64 = 2;

/// A message of protobuf.
pub trait Message: Default {
    /// Returns the bytes that the message takes.
    fn length(&self) -> usize;

    /// Appends the fields.
    fn write_fields(&self, out: &mut Vec<u8>);

    /// Returns the message as a file holds it.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.length());
        self.write_fields(&mut out);
        out
    }
}

/// Declares messages; each field with its number.
macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $tag:literal $field:ident: $kind:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name {
            $($(#[$of])* pub $field: $kind,)*
        }

        impl Message for $name {
            fn length(&self) -> usize {
                [$(Field::length(&self.$field, $tag)),*].iter().sum()
            }

            fn write_fields(&self, out: &mut Vec<u8>) {
                $(self.$field.write($tag, out);)*
            }
        }

        impl Field for $name {
            fn length(&self, tag: u32) -> usize {
                field_length(tag, Message::length(self))
            }

            fn write(&self, tag: u32, out: &mut Vec<u8>) {
                write_head(tag, Message::length(self), out);
                self.write_fields(out);
            }
        }
    )*};
}

messages! {
    /// A file.
    ModelProto {
        1 ir_version: i64,
        2 producer_name: String,
        3 producer_version: String,
        6 doc_string: String,
        7 graph: Option<GraphProto>,
        8 opset_import: Vec<OperatorSetIdProto>,
        14 metadata_props: Vec<StringStringEntryProto>,
    }

    /// A version of a set of operators.
    OperatorSetIdProto {
        /// Empty: the operators of ONNX itself.
        1 domain: String,
        2 version: i64,
    }

    /// A text by name.
    StringStringEntryProto {
        1 key: String,
        2 value: String,
    }

    /// Nodes in an order in which they can be computed, and the arrays that they read.
    GraphProto {
        1 node: Vec<NodeProto>,
        2 name: String,
        5 initializer: Vec<TensorProto>,
        11 input: Vec<ValueInfoProto>,
        12 output: Vec<ValueInfoProto>,
    }

    /// An operator with the names of what it reads and writes.
    NodeProto {
        1 input: Vec<String>,
        2 output: Vec<String>,
        3 name: String,
        4 op_type: String,
        5 attribute: Vec<AttributeProto>,
    }

    /// An attribute that is an integer, as all here are.
    AttributeProto {
        1 name: String,
        3 i: i64,
        /// [`INT`]
        20 kind: i64,
    }

    /// An array.
    TensorProto {
        1 dims: Vec<i64>,
        /// [`FLOAT`] or [`INT64`]
        2 data_type: i64,
        8 name: String,
        /// Little-endian, row-major.
        9 raw_data: Vec<u8>,
    }

    /// An input or an output.
    ValueInfoProto {
        1 name: String,
        2 of_type: Option<TypeProto>,
        3 doc_string: String,
    }

    /// The type of a tensor, the only one here.
    TypeProto {
        1 tensor_type: Option<TensorTypeProto>,
    }

    /// `TypeProto.Tensor`.
    TensorTypeProto {
        1 elem_type: i64,
        2 shape: Option<TensorShapeProto>,
    }

    /// The lengths of a tensor's axes.
    TensorShapeProto {
        1 dim: Vec<DimensionProto>,
    }

    /// `TensorShapeProto.Dimension`: a number, or the name of one that the caller chooses.
    DimensionProto {
        1 dim_value: Option<i64>,
        2 dim_param: Option<String>,
    }
}
