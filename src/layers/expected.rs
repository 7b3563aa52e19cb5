//! Asks serde which keys of a config expect a text.

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor, value};

/// Returns whether a config of type `T` expects a text at the path, or takes a value of any type there.
pub fn expects_text<'de, T: Deserialize<'de>>(path: &[&'de str]) -> bool {
    let mut expects = false;
    // The result is always an error: nothing is read.
    let _ = T::deserialize(Probe { path, expects: &mut expects });
    expects
}

/// A deserializer that holds one key of each table on the way to a path. It notes whether a text is asked for there,
/// and fails.
struct Probe<'a, 'de> {
    path: &'a [&'de str],
    expects: &'a mut bool,
}

impl<'de> Probe<'_, 'de> {
    /// Enters the table that is here, if the path leads into it.
    fn enter<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, value::Error> {
        visitor.visit_map(self)
    }

    /// Notes that a text would be taken here.
    fn text<T>(self) -> Result<T, value::Error> {
        *self.expects = self.path.is_empty();
        Err(done())
    }
}

fn done() -> value::Error {
    value::Error::custom("only the types were asked for")
}

/// Types that are no text.
macro_rules! no_text {
    ($($name:ident)*) => {
        $(fn $name<V: Visitor<'de>>(self, _: V) -> Result<V::Value, value::Error> {
            Err(done())
        })*
    };
}

impl<'de> Deserializer<'de> for Probe<'_, 'de> {
    type Error = value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, value::Error> {
        if self.path.is_empty() { self.text() } else { self.enter(visitor) }
    }

    fn deserialize_str<V: Visitor<'de>>(self, _: V) -> Result<V::Value, value::Error> {
        self.text()
    }

    fn deserialize_string<V: Visitor<'de>>(self, _: V) -> Result<V::Value, value::Error> {
        self.text()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, value::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, value::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, value::Error> {
        self.enter(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, value::Error> {
        self.enter(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, value::Error> {
        Err(done())
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, value::Error> {
        Err(done())
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        _: V,
    ) -> Result<V::Value, value::Error> {
        Err(done())
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: V,
    ) -> Result<V::Value, value::Error> {
        Err(done())
    }

    no_text! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16
        deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64 deserialize_char deserialize_bytes
        deserialize_byte_buf deserialize_unit deserialize_seq deserialize_identifier deserialize_ignored_any
    }
}

impl<'de> MapAccess<'de> for Probe<'_, 'de> {
    type Error = value::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, value::Error> {
        let key = self.path.first().ok_or_else(done)?;
        seed.deserialize(value::BorrowedStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, value::Error> {
        seed.deserialize(Probe { path: &self.path[1..], expects: self.expects })
    }
}
