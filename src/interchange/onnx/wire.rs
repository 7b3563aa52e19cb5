//! The wire format of protobuf (<https://protobuf.dev/programming-guides/encoding/>), as far as the messages of ONNX need it:
//! integers as varints, everything else with its length before it. A derived encoder would bring a procedural macro, with
//! which all crates that Burn's macros are built from are built once more.

/// A value of a field.
pub trait Field {
    /// Returns the bytes that the field takes, its key included.
    fn length(&self, tag: u32) -> usize;

    /// Appends the field.
    fn write(&self, tag: u32, out: &mut Vec<u8>);
}

const VARINT: u32 = 0;
const BYTES: u32 = 2;

fn key(tag: u32, kind: u32) -> u64 {
    u64::from(tag << 3 | kind)
}

fn varint_length(value: u64) -> usize {
    (64 - (value | 1).leading_zeros()).div_ceil(7) as usize
}

fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Returns the bytes of a field of so many.
pub fn field_length(tag: u32, length: usize) -> usize {
    varint_length(key(tag, BYTES)) + varint_length(length as u64) + length
}

/// Appends what stands before the bytes of a field of so many.
pub fn write_head(tag: u32, length: usize, out: &mut Vec<u8>) {
    write_varint(key(tag, BYTES), out);
    write_varint(length as u64, out);
}

impl Field for i64 {
    fn length(&self, tag: u32) -> usize {
        varint_length(key(tag, VARINT)) + varint_length(*self as u64)
    }

    fn write(&self, tag: u32, out: &mut Vec<u8>) {
        write_varint(key(tag, VARINT), out);
        write_varint(*self as u64, out);
    }
}

impl Field for Vec<u8> {
    fn length(&self, tag: u32) -> usize {
        field_length(tag, self.len())
    }

    fn write(&self, tag: u32, out: &mut Vec<u8>) {
        write_head(tag, self.len(), out);
        out.extend_from_slice(self);
    }
}

impl Field for String {
    fn length(&self, tag: u32) -> usize {
        field_length(tag, self.len())
    }

    fn write(&self, tag: u32, out: &mut Vec<u8>) {
        write_head(tag, self.len(), out);
        out.extend_from_slice(self.as_bytes());
    }
}

impl<T: Field> Field for Option<T> {
    fn length(&self, tag: u32) -> usize {
        self.iter().map(|value| value.length(tag)).sum()
    }

    fn write(&self, tag: u32, out: &mut Vec<u8>) {
        self.iter().for_each(|value| value.write(tag, out));
    }
}

/// A repeated field.
impl<T: Field> Field for Vec<T> {
    fn length(&self, tag: u32) -> usize {
        self.iter().map(|value| value.length(tag)).sum()
    }

    fn write(&self, tag: u32, out: &mut Vec<u8>) {
        self.iter().for_each(|value| value.write(tag, out));
    }
}
