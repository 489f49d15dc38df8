//! Constraints on where an app's instances may run, judged for the one host there is.
//!
//! A host that lacks the attribute a constraint is about fails it, but for `UNLIKE`. This host has no attributes, no region
//! and no zone, only its name.

use regex_lite::Regex;

use crate::marathon::{App, Constraint};

/// Whether one more instance may run on `host`, where `beside` of the app's run already.
pub fn allow(app: &App, beside: usize, host: &str) -> bool {
    app.constraints.iter().all(|constraint| allows(constraint, beside, host))
}

fn allows(constraint: &Constraint, beside: usize, host: &str) -> bool {
    let [field, operator, rest @ ..] = constraint.as_slice() else { return true };
    let value = rest.first().map_or("", String::as_str);
    if !matches!(field.as_str(), "hostname" | "@hostname") {
        return operator == "UNLIKE";
    }
    match operator.as_str() {
        "UNIQUE" => beside == 0,
        "CLUSTER" => value.is_empty() || value == host,
        "IS" => value == host,
        "MAX_PER" => value.parse::<usize>().is_ok_and(|most| beside < most),
        // The least loaded of at least so many groups, and a group of its own while there are fewer.
        "GROUP_BY" => beside == 0 || value.parse::<usize>().unwrap_or(1) <= 1,
        "LIKE" => whole(value).is_some_and(|pattern| pattern.is_match(host)),
        "UNLIKE" => whole(value).is_some_and(|pattern| !pattern.is_match(host)),
        _ => true,
    }
}

/// The pattern, which must fit the whole of a value.
fn whole(pattern: &str) -> Option<Regex> {
    Regex::new(&format!("^(?:{pattern})$")).ok()
}

/// Whether this engine can judge the constraint: Java's patterns know what ours do not, such as looking ahead.
pub fn is_known(constraint: &Constraint) -> bool {
    match constraint.as_slice() {
        [_, operator, pattern] if matches!(operator.as_str(), "LIKE" | "UNLIKE") => whole(pattern).is_some(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn constraint(fields: &[&str]) -> Constraint {
        fields.iter().map(|field| (*field).to_owned()).collect()
    }

    #[test]
    fn each_operator_is_judged_by_the_hosts_name_and_what_runs_beside() {
        for (fields, beside, allowed) in [
            (&["hostname", "UNIQUE"][..], 0, true),
            (&["@hostname", "UNIQUE"], 1, false),
            (&["hostname", "CLUSTER"], 5, true),
            (&["hostname", "CLUSTER", "10.0.0.1"], 0, true),
            (&["hostname", "CLUSTER", "10.0.0.2"], 0, false),
            (&["hostname", "IS", "10.0.0.1"], 3, true),
            (&["hostname", "IS", "10.0.0.11"], 0, false),
            (&["hostname", "MAX_PER", "2"], 1, true),
            (&["hostname", "MAX_PER", "2"], 2, false),
            (&["hostname", "GROUP_BY"], 7, true),
            (&["hostname", "GROUP_BY", "2"], 0, true),
            (&["hostname", "GROUP_BY", "2"], 1, false),
            (&["hostname", "LIKE", "10\\..*"], 0, true),
            (&["hostname", "LIKE", "10"], 0, false),
            (&["hostname", "LIKE", "10|10.0.0.1"], 0, true),
            (&["hostname", "UNLIKE", "10.*"], 0, false),
            (&["hostname", "UNLIKE", "192.*"], 0, true),
            (&["rack", "UNIQUE"], 0, false),
            (&["rack", "LIKE", ".*"], 0, false),
            (&["rack", "UNLIKE", "r1"], 0, true),
            (&["@zone", "GROUP_BY"], 0, false),
        ] {
            assert_eq!(allows(&constraint(fields), beside, "10.0.0.1"), allowed, "{fields:?} beside {beside}");
        }
    }

    #[test]
    fn a_pattern_that_only_java_knows_is_not_known() {
        assert!(is_known(&constraint(&["hostname", "LIKE", "a[0-9]+"])));
        assert!(!is_known(&constraint(&["hostname", "LIKE", "(?=a)b"])));
    }
}
