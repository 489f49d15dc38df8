//! An error with what led to it.

use std::error::Error;

/// The error and all its causes in one line. What a cause says that was said before is not said again.
pub fn in_full(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| {
        let said = cause.to_string();
        if text.contains(&said) { text } else { format!("{text}: {said}") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Link(&'static str, #[source] Option<Box<Link>>);

    #[test]
    fn each_cause_is_told_once() {
        let innermost = Link("no such file", None);
        let inner = Link("cannot read it: no such file", Some(Box::new(innermost)));
        let error = Link("cannot start", Some(Box::new(inner)));
        assert_eq!(in_full(&error), "cannot start: cannot read it: no such file");
    }
}
