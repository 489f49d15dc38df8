//! What was measured, and which limits it broke.

use std::process::ExitCode;
use std::time::Duration;

use crate::support::figures::figure;
use crate::support::times::ms;

/// A part of what is measured.
pub type Part = fn(&mut Report);

/// Measures all parts, or those that the command line names, and says how the program ends.
pub fn measure(parts: &[(&str, Part)]) -> ExitCode {
    let named: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let mut report = Report::default();
    for (_, part) in parts.iter().filter(|(name, _)| named.is_empty() || named.iter().any(|named| named == name)) {
        part(&mut report);
    }
    report.end()
}

/// The limits that were broken, by what was measured.
#[derive(Default)]
pub struct Report {
    broken: Vec<String>,
}

impl Report {
    pub fn time(&mut self, what: &str, found: Duration, limit: Duration) {
        self.note(what, &ms(found), &ms(limit), found <= limit);
    }

    pub fn memory(&mut self, what: &str, kibibytes: u64, limit: u64) {
        self.note(what, &mebibytes(kibibytes), &mebibytes(limit), kibibytes < limit);
    }

    /// Shows a figure beside its limit, in whatever units they were written.
    pub fn note(&mut self, what: &str, found: &str, limit: &str, holds: bool) {
        let verdict = if holds { "" } else { "  BROKEN" };
        figure(&format!("{what}: {found} (limit {limit}){verdict}"));
        if !holds {
            self.broken.push(what.to_owned());
        }
    }

    /// How the program ends: a broken limit is a failure.
    pub fn end(self) -> ExitCode {
        if self.broken.is_empty() {
            return ExitCode::SUCCESS;
        }
        eprintln!("error: limits are broken:\n  {}", self.broken.join("\n  "));
        ExitCode::FAILURE
    }
}

fn mebibytes(kibibytes: u64) -> String {
    format!("{}.{} MiB", kibibytes / 1024, kibibytes % 1024 * 10 / 1024)
}
