//! Reads messages of protobuf field by field, as its specification says (<https://protobuf.dev/programming-guides/encoding/>).

/// What a message holds for a field.
#[derive(Clone, Debug)]
enum Found {
    Varint(u64),
    Bytes(Vec<u8>),
}

/// A message: its fields by number, in their order.
#[derive(Clone, Debug)]
pub struct Message(Vec<(u32, Found)>);

impl Message {
    pub fn of(mut bytes: &[u8]) -> Self {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let value = varint(&mut bytes);
            let found = match key & 7 {
                0 => Found::Varint(value),
                2 => {
                    let (found, rest) = bytes.split_at(value as usize);
                    bytes = rest;
                    Found::Bytes(found.to_vec())
                }
                kind => panic!("a field of kind {kind}"),
            };
            fields.push(((key >> 3) as u32, found));
        }
        Self(fields)
    }

    pub fn ints(&self, field: u32) -> Vec<i64> {
        let int = |(number, found): &(u32, Found)| match found {
            Found::Varint(value) if *number == field => Some(*value as i64),
            _ => None,
        };
        self.0.iter().filter_map(int).collect()
    }

    pub fn bytes(&self, field: u32) -> Vec<&[u8]> {
        let mut all = Vec::new();
        for (number, found) in &self.0 {
            if let (true, Found::Bytes(bytes)) = (*number == field, found) {
                all.push(bytes.as_slice());
            }
        }
        all
    }

    pub fn texts(&self, field: u32) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        self.bytes(field).into_iter().map(text).collect()
    }

    pub fn text(&self, field: u32) -> String {
        self.texts(field).pop().unwrap_or_default()
    }

    pub fn messages(&self, field: u32) -> Vec<Self> {
        self.bytes(field).into_iter().map(Self::of).collect()
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let n = bytes.iter().position(|byte| byte & 0x80 == 0).expect("a last byte") + 1;
    let value = bytes[..n].iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f));
    *bytes = &bytes[n..];
    value
}
