//! How large a document is once its aliases are followed.
//!
//! The parser limits how often aliases are followed, not how much each brings: a megabyte of text could stand for many
//! gigabytes of values. This reads it once and keeps nothing.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use crate::manifest::MAX_BYTES;

/// What may come of a text: four times what a text may have.
const MOST: usize = 4 * MAX_BYTES;

/// What is left of [`MOST`].
#[derive(Clone, Copy)]
pub(super) struct Weight<'a>(&'a Cell<usize>);

impl Weight<'_> {
    /// Fails as well where the text is no YAML.
    pub(super) fn check(text: &str) -> Result<(), serde_yaml::Error> {
        let left = Cell::new(MOST);
        Weight(&left).deserialize(serde_yaml::Deserializer::from_str(text))
    }

    /// Each value weighs one byte more than its text, so that empty ones count too.
    fn add<E: Error>(self, bytes: usize) -> Result<(), E> {
        match self.0.get().checked_sub(bytes.saturating_add(1)) {
            Some(left) => {
                self.0.set(left);
                Ok(())
            }
            None => Err(E::custom(format!("its aliases make it too large: more than {MOST} bytes"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Weight<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Weight<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.add(text.len())
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.add(0)
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.add(4)
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.add(8)
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.add(8)
    }
    fn visit_u128<E: Error>(self, _: u128) -> Result<(), E> {
        self.add(16)
    }
    fn visit_i128<E: Error>(self, _: i128) -> Result<(), E> {
        self.add(16)
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.add(8)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        self.add(0)?;
        while values.next_element_seed(self)?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        self.add(0)?;
        while entries.next_key_seed(self)?.is_some() {
            entries.next_value_seed(self)?;
        }
        Ok(())
    }
    /// A value with a tag.
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<(), A::Error> {
        let (IgnoredAny, value) = tagged.variant()?;
        value.newtype_variant_seed(self)
    }
}
