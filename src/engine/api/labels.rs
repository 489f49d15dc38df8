//! Label selectors: `k`, `k==v`, `k!=v`, `k in (a,b)`, `k notin (a,b)`, joined by commas.

use std::collections::BTreeMap;

/// Conditions that all have to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selector(Vec<Condition>);

/// The text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Can not parse label selector {0}. Reason: end of input expected")]
pub(super) struct InvalidSelector(String);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Exists,
    In(Vec<String>),
    NotIn(Vec<String>),
}

impl Selector {
    pub(super) fn parse(text: &str) -> Result<Self, InvalidSelector> {
        let mut reader = Reader { rest: text };
        let conditions = reader.conditions().filter(|_| reader.rest.trim().is_empty());
        conditions.map(Self).ok_or_else(|| InvalidSelector(text.chars().take(200).collect()))
    }
    /// A key must be there, also for what it may not be.
    pub(super) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|condition| match (labels.get(&condition.key), &condition.test) {
            (None, _) => false,
            (Some(_), Test::Exists) => true,
            (Some(value), Test::In(values)) => values.contains(value),
            (Some(value), Test::NotIn(values)) => !values.contains(value),
        })
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    /// None at all is a selector too: it lets everything pass.
    fn conditions(&mut self) -> Option<Vec<Condition>> {
        let mut found = Vec::new();
        if self.rest.trim_start().is_empty() {
            return Some(found);
        }
        found.push(self.condition()?);
        while self.eat(",") {
            found.push(self.condition()?);
        }
        Some(found)
    }
    fn condition(&mut self) -> Option<Condition> {
        let key = self.word()?;
        let test = if self.eat("==") {
            Test::In(vec![self.word()?])
        } else if self.eat("!=") {
            Test::NotIn(vec![self.word()?])
        } else if self.eat_word("notin") {
            Test::NotIn(self.list()?)
        } else if self.eat_word("in") {
            Test::In(self.list()?)
        } else {
            Test::Exists
        };
        Some(Condition { key, test })
    }
    fn list(&mut self) -> Option<Vec<String>> {
        if !self.eat("(") {
            return None;
        }
        if self.eat(")") {
            return Some(Vec::new());
        }
        let mut found = vec![self.word()?];
        while self.eat(",") {
            found.push(self.word()?);
        }
        self.eat(")").then_some(found)
    }
    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest.trim_start().strip_prefix(token);
        if let Some(rest) = found {
            self.rest = rest;
        }
        found.is_some()
    }
    fn eat_word(&mut self, word: &str) -> bool {
        let Some(rest) = self.rest.trim_start().strip_prefix(word) else { return false };
        let ends = rest.trim_start().starts_with('(');
        if ends {
            self.rest = rest;
        }
        ends
    }
    /// Letters, digits, `-`, `_` and `.`; anything else after a backslash.
    fn word(&mut self) -> Option<String> {
        let text = self.rest.trim_start();
        let mut word = String::new();
        let mut chars = text.char_indices();
        let mut end = text.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => word.push(chars.next()?.1),
                c if c.is_ascii_alphanumeric() || "-_.".contains(c) => word.push(c),
                _ => {
                    end = at;
                    break;
                }
            }
        }
        self.rest = &text[end..];
        (!word.is_empty()).then_some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str) -> bool {
        let labels = [("tier", "back"), ("x", "1"), ("a b", "c=d")];
        let labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Selector::parse(selector).unwrap().matches(&labels)
    }

    #[test]
    fn selectors_hold_as_marathons_do() {
        for good in [
            "tier",
            "tier==back",
            "tier == back",
            "tier!=front",
            "tier in (front,back),x",
            "tier notin (front)",
            "a\\ b==c\\=d",
            "x,tier",
            "tier notin(front)",
            "tier notin ()",
            " tier\tin ( front , back ) ",
            "",
        ] {
            assert!(matches(good), "{good}");
        }
        for bad in [
            "nope",
            "tier==front",
            "tier!=back",
            "nope!=x",
            "nope notin (x)",
            "tier in (front)",
            "tier in ()",
            "x,nope",
        ] {
            assert!(!matches(bad), "{bad}");
        }
    }

    #[test]
    fn what_is_no_selector_is_said_to_be_none() {
        let said = |text: &str| Selector::parse(text).unwrap_err().to_string();
        assert_eq!(said("=="), "Can not parse label selector ==. Reason: end of input expected");
        assert_eq!(said("a b"), "Can not parse label selector a b. Reason: end of input expected");
        for bad in ["a in (b", "a in b", "a==", ",a", "a,", "a=b", "a===b", "a\\", "a==b c", "ä"] {
            assert!(Selector::parse(bad).is_err(), "{bad}");
        }
    }
}
