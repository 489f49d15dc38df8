//! JSON read field by field, as Marathon's Play-JSON reads it: every fault is noted with its path, not the first alone.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value, json};

use super::Refusal;

/// What is wrong at which place; a place's errors are gathered.
#[derive(Debug, Default)]
pub(super) struct Details(BTreeMap<String, Vec<String>>);

impl Details {
    /// Nobody reads more, and a body of millions of faults is not answered with as many.
    const MOST: usize = 1000;

    pub(super) fn add(&mut self, path: impl Into<String>, error: impl Into<String>) {
        if self.0.len() >= Self::MOST {
            return;
        }
        let (errors, error) = (self.0.entry(path.into()).or_default(), error.into());
        if !errors.contains(&error) {
            errors.push(error);
        }
    }
    /// Notes the error unless `holds`.
    pub(super) fn require(&mut self, holds: bool, path: &str, error: &str) {
        if !holds {
            self.add(path, error);
        }
    }
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    fn into_refusal(self, message: &str) -> Refusal {
        let details: Vec<Value> =
            self.0.into_iter().map(|(path, errors)| json!({ "path": path, "errors": errors })).collect();
        Refusal { status: 422, body: json!({ "message": message, "details": details }) }
    }
    /// The refusal of a request of the wrong shape.
    pub(super) fn of_shape(self) -> Refusal {
        self.into_refusal("Invalid JSON")
    }
    /// The value, unless a semantic rule is broken.
    pub(super) fn or_valid<T>(self, value: T) -> Result<T, Refusal> {
        if self.is_empty() { Ok(value) } else { Err(self.into_refusal("Object is not valid")) }
    }
    /// The refusal of a request that breaks one rule.
    pub(super) fn rule(path: &str, error: &str) -> Refusal {
        let mut details = Self::default();
        details.add(path, error);
        details.into_refusal("Object is not valid")
    }
}

/// The JSON of a request's body; 400 when there is none.
pub(super) fn parse(body: &[u8]) -> Result<Value, Refusal> {
    if body.iter().all(u8::is_ascii_whitespace) {
        let details = "No content to map due to end-of-input";
        return Err(Refusal {
            status: 400,
            body: json!({ "message": "Please specify data in JSON format", "details": details }),
        });
    }
    serde_json::from_slice(body).map_err(|error| Refusal {
        status: 400,
        body: json!({ "message": "Invalid JSON", "details": error.to_string() }),
    })
}

/// Reads the whole of a body; what `read` notes is the refusal.
pub(super) fn read_whole<T>(value: &Value, read: impl FnOnce(&Place) -> Option<T>) -> Result<T, Refusal> {
    let details = RefCell::default();
    let read = read(&Place { value, path: String::new(), details: &details });
    let details = details.into_inner();
    match read {
        Some(value) if details.is_empty() => Ok(value),
        _ => Err(details.of_shape()),
    }
}

/// A value and where it stands. A reading gives none when it has noted why.
pub(super) struct Place<'a> {
    value: &'a Value,
    path: String,
    details: &'a RefCell<Details>,
}

impl<'a> Place<'a> {
    pub(super) fn fail<T>(&self, error: &str) -> Option<T> {
        self.details.borrow_mut().add(self.path.clone(), error);
        None
    }
    pub(super) fn value(&self) -> &'a Value {
        self.value
    }
    pub(super) fn text(&self) -> Option<String> {
        match self.value {
            Value::String(text) => Some(text.clone()),
            _ => self.fail("error.expected.jsstring"),
        }
    }
    /// A text that is not empty.
    pub(super) fn filled(&self) -> Option<String> {
        let text = self.text()?;
        if text.is_empty() { self.fail("error.minLength") } else { Some(text) }
    }
    /// A text of 1 to 1024 characters.
    pub(super) fn limited(&self) -> Option<String> {
        let text = self.filled()?;
        if text.chars().count() > 1024 { self.fail("error.maxLength") } else { Some(text) }
    }
    /// A text that is not empty and of a pattern.
    pub(super) fn matching(&self, pattern: impl FnOnce(&str) -> bool) -> Option<String> {
        let text = self.filled()?;
        if pattern(&text) { Some(text) } else { self.fail("error.pattern") }
    }
    /// One of these words, whatever the case, in the spelling given here.
    pub(super) fn word(&self, words: &[&'static str]) -> Option<&'static str> {
        let text = self.text()?;
        let known = words.iter().find(|word| word.eq_ignore_ascii_case(&text));
        known.copied().or_else(|| self.fail("error.unknown.enum.literal"))
    }
    pub(super) fn boolean(&self) -> Option<bool> {
        self.value.as_bool().or_else(|| self.fail("error.expected.jsboolean"))
    }
    pub(super) fn number(&self, min: f64, max: f64) -> Option<f64> {
        let Some(number) = self.value.as_f64() else { return self.fail("error.expected.jsnumber") };
        if number < min {
            return self.fail("error.min");
        }
        if number > max { self.fail("error.max") } else { Some(number) }
    }
    /// A whole number; `1.0` is one.
    pub(super) fn whole<T: TryFrom<i64>>(&self, min: i64, max: i64) -> Option<T> {
        let Value::Number(number) = self.value else { return self.fail("error.expected.jsnumber") };
        let Some(whole) = number.as_i64().or_else(|| number.as_f64().and_then(whole_float)) else {
            return self.fail("error.expected.int");
        };
        if whole < min {
            return self.fail("error.min");
        }
        T::try_from(whole).ok().filter(|_| whole <= max).or_else(|| self.fail("error.max"))
    }
    /// A whole number from 0 to the largest of Marathon's integers.
    pub(super) fn count<T: TryFrom<i64>>(&self) -> Option<T> {
        self.whole(0, i64::from(i32::MAX))
    }
    pub(super) fn port(&self) -> Option<u16> {
        self.whole(0, i64::from(u16::MAX))
    }
    pub(super) fn list<T>(&self, read: impl Fn(&Self) -> Option<T>) -> Option<Vec<T>> {
        let Value::Array(items) = self.value else { return self.fail("error.expected.jsarray") };
        let place = |(index, value)| Place { value, path: format!("{}({index})", self.path), details: self.details };
        let read: Vec<Option<T>> = items.iter().enumerate().map(place).map(|item| read(&item)).collect();
        read.into_iter().collect()
    }
    /// A list that stands for a set: what is said twice counts once. Items are the same that print the same.
    pub(super) fn set<T: std::fmt::Debug>(&self, read: impl Fn(&Self) -> Option<T>) -> Option<Vec<T>> {
        let mut seen = HashSet::new();
        let items = self.list(read)?.into_iter();
        Some(items.filter(|item| seen.insert(format!("{item:?}"))).collect())
    }
    pub(super) fn map<T>(&self, read: impl Fn(&Self) -> Option<T>) -> Option<BTreeMap<String, T>> {
        let Value::Object(fields) = self.value else { return self.fail("error.expected.jsobject") };
        let place = |key: &str, value| Place { value, path: format!("{}/{key}", self.path), details: self.details };
        let read: Vec<Option<(String, T)>> =
            fields.iter().map(|(key, value)| Some((key.clone(), read(&place(key, value))?))).collect();
        read.into_iter().collect()
    }
    pub(super) fn labels(&self) -> Option<BTreeMap<String, String>> {
        self.map(Self::text)
    }
    pub(super) fn object(&self) -> Option<Object<'a>> {
        match self.value {
            Value::Object(fields) => {
                Some(Object { fields, whole: self.value, path: self.path.clone(), details: self.details })
            }
            _ => self.fail("error.expected.jsobject"),
        }
    }
    /// An object one of whose fields must be there: Marathon looks for that field in whatever is sent.
    pub(super) fn object_with(&self, field: &str) -> Option<Object<'a>> {
        if !self.value.is_object() {
            let error = format!("{} is not an object", self.value);
            self.details.borrow_mut().add(format!("{}/{field}", self.path), error);
            return None;
        }
        self.object()
    }
}

/// The integer that a float such as `1.0` is.
fn whole_float(number: f64) -> Option<i64> {
    // 2^53: beyond it a float does not say which integer is meant.
    let exact = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "the number is whole and below 2^53")]
    exact.then_some(number as i64)
}

/// An object's fields; `null` in one that is not required is the same as nothing.
pub(super) struct Object<'a> {
    fields: &'a Map<String, Value>,
    whole: &'a Value,
    path: String,
    details: &'a RefCell<Details>,
}

impl<'a> Object<'a> {
    fn place(&self, field: &str, value: &'a Value) -> Place<'a> {
        Place { value, path: format!("{}/{field}", self.path), details: self.details }
    }
    pub(super) fn optional<T>(&self, field: &str, read: impl FnOnce(&Place<'a>) -> Option<T>) -> Option<T> {
        let value = self.fields.get(field).filter(|value| !value.is_null())?;
        read(&self.place(field, value))
    }
    pub(super) fn required<T>(&self, field: &str, read: impl FnOnce(&Place<'a>) -> Option<T>) -> Option<T> {
        self.required_or(field, &format!("'{field}' is undefined on object: {}", self.whole), read)
    }
    /// A required field whose absence Marathon reports in its own words.
    pub(super) fn required_or<T>(
        &self,
        field: &str,
        missing: &str,
        read: impl FnOnce(&Place<'a>) -> Option<T>,
    ) -> Option<T> {
        match self.fields.get(field) {
            Some(value) => read(&self.place(field, value)),
            None => self.place(field, &Value::Null).fail(missing),
        }
    }
    pub(super) fn has(&self, field: &str) -> bool {
        self.fields.get(field).is_some_and(|value| !value.is_null())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused<T: std::fmt::Debug>(value: &Value, read: impl FnOnce(&Place) -> Option<T>) -> Value {
        let refusal = read_whole(value, read).unwrap_err();
        assert_eq!((refusal.status, &refusal.body["message"]), (422, &json!("Invalid JSON")));
        refusal.body["details"].clone()
    }

    #[test]
    fn every_fault_is_noted_with_its_path() {
        let value = json!({"a": [1, "x", -1], "b": {"c": 1}});
        let details = refused(&value, |place| {
            let object = place.object()?;
            let a = object.required("a", |a| a.list(Place::count::<u32>));
            let b = object.required("b", Place::labels);
            Some((a?, b?))
        });
        assert_eq!(
            details,
            json!([
                {"path": "/a(1)", "errors": ["error.expected.jsnumber"]},
                {"path": "/a(2)", "errors": ["error.min"]},
                {"path": "/b/c", "errors": ["error.expected.jsstring"]}
            ])
        );
    }

    fn count(place: &Place) -> Option<u32> {
        place.count()
    }

    #[test]
    fn a_whole_number_may_be_written_with_a_point() {
        assert_eq!(read_whole(&json!(2.0), count), Ok(2));
        for (value, error) in [
            (json!(1.5), "error.expected.int"),
            (json!(-1), "error.min"),
            (json!(3_000_000_000_u32), "error.max"),
            (json!("1"), "error.expected.jsnumber"),
            (json!(1e300), "error.expected.int"),
        ] {
            assert_eq!(refused(&value, count)[0]["errors"], json!([error]), "{value}");
        }
    }

    #[test]
    fn null_is_nothing_unless_the_field_must_be_there() {
        let value = json!({"a": null});
        assert_eq!(read_whole(&value, |p| Some(p.object()?.optional("a", Place::text))), Ok(None));
        assert_eq!(refused(&value, |p| p.object()?.required("a", Place::text))[0]["path"], "/a");
    }

    #[test]
    fn of_millions_of_faults_the_first_thousand_are_told() {
        let value = Value::Array(vec![json!(1); 5000]);
        let details = refused(&value, |place| place.list(Place::text));
        assert_eq!(details.as_array().unwrap().len(), Details::MOST);
    }

    #[test]
    fn a_set_has_each_item_once_in_the_order_of_its_first_mention() {
        let value = json!(["b", "a", "b"]);
        assert_eq!(read_whole(&value, |place| place.set(Place::text)), Ok(vec!["b".to_owned(), "a".to_owned()]));
    }

    #[test]
    fn what_is_nested_without_end_or_no_text_is_no_json() {
        let deep = "[".repeat(1_000_000);
        assert_eq!(parse(deep.as_bytes()).unwrap_err().status, 400);
        assert_eq!(parse(b"{\"id\": \"\xff\"}").unwrap_err().status, 400);
    }

    #[test]
    fn of_a_field_that_is_there_twice_the_last_counts() {
        assert_eq!(parse(br#"{"a": 1, "a": 2}"#), Ok(json!({"a": 2})));
    }

    #[test]
    fn no_json_is_400() {
        assert_eq!(parse(b" \n").unwrap_err().text(), "Please specify data in JSON format");
        let refusal = parse(b"{").unwrap_err();
        assert_eq!((refusal.status, refusal.text()), (400, "Invalid JSON"));
        assert!(refusal.body["details"].is_string());
    }
}
