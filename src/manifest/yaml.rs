//! Reading YAML so that whatever is wrong is found at its line and column.
//!
//! A scalar is read as the text that stands in the file (`1.10` stays `1.10`), then by its own type's rules. A value that
//! is missing or `null` says nothing. Text that nests too deeply the YAML parser refuses, and text that grows through
//! aliases is weighed before it is read.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

mod weight;

use super::ManifestError;
use weight::Weight;

/// Longest text that a message quotes, in characters; git's ref line is one line.
const MAX_QUOTED: usize = 60;
/// Longest message about the text, in characters.
const MAX_REASON: usize = 300;

/// A map whose keys are known.
pub(super) trait Section: Default {
    /// For the reader, such as `a process`.
    const WHAT: &'static str;
    const KEYS: &'static [&'static str];

    /// Takes the value of `key`, which is one of [`Self::KEYS`].
    fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, values: &mut A) -> Result<(), A::Error>;
}

/// How a text becomes a value, or why not.
pub(super) type Rule<T> = fn(&str) -> Result<T, String>;

/// Reads a document; an empty one says nothing.
pub(super) fn read<S: Section>(text: &str) -> Result<S, ManifestError> {
    if says_nothing(text) {
        return Ok(S::default());
    }
    if let Some(reason) = takes_long(text) {
        return Err(ManifestError::Wrong { place: None, reason: reason.to_owned() });
    }
    Weight::check(text).map_err(|error| wrong(&error))?;
    let read: Option<Read<S>> = serde_yaml::from_str(text).map_err(|error| wrong(&error))?;
    Ok(read.map_or_else(S::default, |read| read.0))
}

/// What the YAML scanner would be busy with for minutes: it looks at every open `[` and `{` again for each word that
/// follows, and at every `%TAG` for each other one. Brackets are no matter in texts of up to 16 KiB.
fn takes_long(text: &str) -> Option<&'static str> {
    let open = text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
    if open.saturating_mul(text.len()) > 1 << 28 {
        return Some("there are too many `[` and `{` for a text so long");
    }
    let tags = text.lines().filter(|line| line.starts_with("%TAG")).count();
    (tags > 100).then_some("there are too many `%TAG` lines")
}

fn says_nothing(text: &str) -> bool {
    text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#'))
}

fn wrong(error: &serde_yaml::Error) -> ManifestError {
    let whole = error.to_string();
    let place = error.location().map(|at| (at.line(), at.column()));
    // The place is said in front, so that it is not said twice. A parser's own error may name a second place.
    let end = place.map(|(line, column)| format!(" at line {line} column {column}")).unwrap_or_default();
    let reason = whole.strip_suffix(&end).unwrap_or_else(|| whole.split(" at line ").next().unwrap_or(&whole));
    let reason = reason
        .replace("invalid type: ", "this is a wrong type of value: ")
        .replace("repetition limit exceeded", "its aliases are followed too often");
    ManifestError::Wrong { place, reason: quoted(&reason, MAX_REASON) }
}

/// A text of others as it may stand in a message: cut, and on one line without terminal escapes.
pub(super) fn quoted(text: &str, most: usize) -> String {
    let shown: String = text.chars().take(most).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(most).is_some() { shown + "…" } else { shown }
}

/// The known name that `given` was probably meant to be: at least three letters in five alike.
fn nearest(given: &str, known: &[&'static str]) -> Option<&'static str> {
    let likeness = |name: &&str| strsim::normalized_damerau_levenshtein(given, name);
    let best = known.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(&best) >= 0.6).then_some(best)
}

/// Says of a text that it is none of the `known`.
pub(super) fn none_of(what: &str, given: &str, known: &[&'static str]) -> String {
    let given = quoted(given, MAX_QUOTED);
    match nearest(&given, known) {
        Some(name) => format!("{what} `{given}`; did you mean `{name}`?"),
        None => format!("{what} `{given}`; known are {}", known.join(", ")),
    }
}

/// The next value, if it says anything.
pub(super) fn scalar<'de, T, A: MapAccess<'de>>(values: &mut A, rule: Rule<T>) -> Result<Option<T>, A::Error> {
    values.next_value_seed(Optional(Scalar(rule)))
}

/// The next value, a list of scalars, if it says anything.
pub(super) fn list<'de, T, A: MapAccess<'de>>(values: &mut A, rule: Rule<T>) -> Result<Option<Vec<T>>, A::Error> {
    values.next_value_seed(Optional(List(Scalar(rule))))
}

/// The next value, a list of lists of scalars.
pub(super) fn rows<'de, A: MapAccess<'de>>(values: &mut A) -> Result<Option<Vec<Vec<String>>>, A::Error> {
    values.next_value_seed(Optional(List(List(Scalar(|text| Ok(text.to_owned()))))))
}

/// The next value, a map from names to scalars; one that says nothing is empty.
pub(super) fn pairs<'de, A: MapAccess<'de>>(
    values: &mut A,
    name: Rule<String>,
    rule: Rule<String>,
) -> Result<BTreeMap<String, String>, A::Error> {
    let map = values.next_value_seed(Optional(Map { key: name, value: Optional(Scalar(rule)) }))?;
    Ok(map.unwrap_or_default().into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect())
}

/// The next value, a section.
pub(super) fn section<'de, S: Section, A: MapAccess<'de>>(values: &mut A) -> Result<Option<S>, A::Error> {
    Ok(values.next_value::<Option<Read<S>>>()?.map(|read| read.0))
}

/// The next value, a map from names to sections.
pub(super) fn sections<'de, K: Ord, S: Section, A: MapAccess<'de>>(
    values: &mut A,
    name: Rule<K>,
) -> Result<BTreeMap<K, S>, A::Error> {
    let map = values.next_value_seed(Optional(Map { key: name, value: PhantomData::<Option<Read<S>>> }))?;
    let named = map.unwrap_or_default().into_iter();
    Ok(named.map(|(name, read)| (name, read.map_or_else(S::default, |read| read.0))).collect())
}

/// A section that was read.
struct Read<S>(S);

impl<'de, S: Section> Deserialize<'de> for Read<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys<S>(PhantomData<S>);
        impl<'de, S: Section> Visitor<'de> for Keys<S> {
            type Value = Read<S>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} as a map with keys such as `{}`", S::WHAT, S::KEYS[0])
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Read<S>, A::Error> {
                let (mut section, mut seen) = (S::default(), Vec::new());
                while let Some(key) = map.next_key_seed(Known { keys: S::KEYS, seen: &seen })? {
                    match key {
                        Some(key) => {
                            section.take(key, &mut map)?;
                            seen.push(key);
                        }
                        None => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(Read(section))
            }
        }
        deserializer.deserialize_map(Keys(PhantomData))
    }
}

/// A key of a section; nothing for a free `x-` key.
struct Known<'a> {
    keys: &'static [&'static str],
    seen: &'a [&'static str],
}

impl<'de> DeserializeSeed<'de> for Known<'_> {
    type Value = Option<&'static str>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Known<'_> {
    type Value = Option<&'static str>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        if key.starts_with("x-") {
            return Ok(None);
        }
        match self.keys.iter().find(|known| **known == key) {
            None => Err(E::custom(none_of("unknown key", key, self.keys))),
            Some(key) if self.seen.contains(key) => Err(E::custom(format!("the key `{key}` stands there twice"))),
            Some(key) => Ok(Some(key)),
        }
    }
}

/// A scalar's text, read by a rule.
struct Scalar<T>(Rule<T>);

impl<T> Clone for Scalar<T> {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}
impl<'de, T> DeserializeSeed<'de> for Scalar<T> {
    type Value = T;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_str(self)
    }
}
impl<T> Visitor<'_> for Scalar<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a single value")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).map_err(E::custom)
    }
}

/// A value that may be missing or `null`.
#[derive(Clone)]
struct Optional<S>(S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Optional<S> {
    type Value = Option<S::Value>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}
impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for Optional<S> {
    type Value = Option<S::Value>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or nothing")
    }
    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        self.0.deserialize(deserializer).map(Some)
    }
}

#[derive(Clone)]
struct List<S>(S);

impl<'de, S: DeserializeSeed<'de> + Clone> DeserializeSeed<'de> for List<S> {
    type Value = Vec<S::Value>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}
impl<'de, S: DeserializeSeed<'de> + Clone> Visitor<'de> for List<S> {
    type Value = Vec<S::Value>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list such as [a, b]")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = values.next_element_seed(self.0.clone())? {
            list.push(value);
        }
        Ok(list)
    }
}

struct Map<K, S> {
    key: Rule<K>,
    value: S,
}

impl<'de, K: Ord, S: DeserializeSeed<'de> + Clone> DeserializeSeed<'de> for Map<K, S> {
    type Value = BTreeMap<K, S::Value>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}
impl<'de, K: Ord, S: DeserializeSeed<'de> + Clone> Visitor<'de> for Map<K, S> {
    type Value = BTreeMap<K, S::Value>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map such as {name: value}")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some(key) = entries.next_key_seed(NewKey { rule: self.key, map: &map })? {
            let value = entries.next_value_seed(self.value.clone())?;
            map.insert(key, value);
        }
        Ok(map)
    }
}

/// A key that the map does not have yet.
struct NewKey<'a, K, V> {
    rule: Rule<K>,
    map: &'a BTreeMap<K, V>,
}

impl<'de, K: Ord, V> DeserializeSeed<'de> for NewKey<'_, K, V> {
    type Value = K;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<K, D::Error> {
        deserializer.deserialize_str(self)
    }
}
impl<K: Ord, V> Visitor<'_> for NewKey<'_, K, V> {
    type Value = K;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<K, E> {
        let key = (self.rule)(text).map_err(E::custom)?;
        if self.map.contains_key(&key) {
            return Err(E::custom(format!("`{}` stands there twice", quoted(text, MAX_QUOTED))));
        }
        Ok(key)
    }
}
