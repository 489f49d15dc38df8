//! The `Procfile`: one process type a line, `name: command`.

use std::collections::BTreeMap;

use super::MAX_BYTES;
use super::yaml::quoted;
use crate::model::{InvalidName, ProcessType};

/// The commands by which process types run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Procfile {
    pub commands: BTreeMap<ProcessType, String>,
}

/// Why a text is no `Procfile`. One line, fit for git's ref line; lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProcfileError {
    #[error("the Procfile is too large: {bytes} bytes, at most {MAX_BYTES}")]
    TooLarge { bytes: usize },
    #[error("the Procfile is no UTF-8 text")]
    NotText,
    #[error("Procfile line {line}: `{text}` has no colon; a line looks like `web: ./serve --port $PORT`")]
    NoColon { line: usize, text: String },
    #[error("Procfile line {line}: {reason}")]
    BadName { line: usize, reason: InvalidName },
    #[error("Procfile line {line}: `{process}` has no command")]
    NoCommand { line: usize, process: ProcessType },
    #[error("Procfile line {line}: `{process}` has a command already, in line {first}")]
    Twice { line: usize, first: usize, process: ProcessType },
    #[error("Procfile line {line}: a NUL may not stand in a command")]
    Nul { line: usize },
}

impl Procfile {
    /// Reads the file as it is in the repository.
    pub fn read(bytes: &[u8]) -> Result<Self, ProcfileError> {
        if bytes.len() > MAX_BYTES {
            return Err(ProcfileError::TooLarge { bytes: bytes.len() });
        }
        Self::parse(std::str::from_utf8(bytes).map_err(|_| ProcfileError::NotText)?)
    }

    pub fn parse(text: &str) -> Result<Self, ProcfileError> {
        if text.len() > MAX_BYTES {
            return Err(ProcfileError::TooLarge { bytes: text.len() });
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut commands: BTreeMap<ProcessType, (usize, String)> = BTreeMap::new();
        for (line, text) in (1..).zip(text.lines()) {
            let Some((process, command)) = entry(line, text.trim())? else { continue };
            if let Some((first, _)) = commands.get(&process) {
                return Err(ProcfileError::Twice { line, first: *first, process });
            }
            commands.insert(process, (line, command));
        }
        Ok(Self { commands: commands.into_iter().map(|(process, (_, command))| (process, command)).collect() })
    }
}

/// What a line says, if anything.
fn entry(line: usize, text: &str) -> Result<Option<(ProcessType, String)>, ProcfileError> {
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    let Some((name, command)) = text.split_once(':') else {
        return Err(ProcfileError::NoColon { line, text: quoted(text, 60) });
    };
    let process: ProcessType = name.trim_end().parse().map_err(|reason| ProcfileError::BadName { line, reason })?;
    match command.trim() {
        "" => Err(ProcfileError::NoCommand { line, process }),
        command if command.contains('\0') => Err(ProcfileError::Nul { line }),
        command => Ok(Some((process, command.to_owned()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(text: &str) -> String {
        Procfile::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn each_line_names_a_process_type_and_its_command() {
        let text =
            "\u{feff}# ours\nweb: ./serve --port $PORT # not a comment\r\n\n  worker :./work \"a: b\"; rm -rf /\n";
        let commands = Procfile::parse(text).unwrap().commands;
        let read: Vec<_> = commands.iter().map(|(name, command)| (name.as_str(), command.as_str())).collect();
        assert_eq!(read, [("web", "./serve --port $PORT # not a comment"), ("worker", "./work \"a: b\"; rm -rf /")]);
        assert_eq!(Procfile::parse("").unwrap(), Procfile::default());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        assert_eq!(
            message("web: a\n\n./serve now\n"),
            "Procfile line 3: `./serve now` has no colon; a line looks like `web: ./serve --port $PORT`"
        );
        assert_eq!(message("web:\n"), "Procfile line 1: `web` has no command");
        assert_eq!(message("web: a\nx: b\nweb: c"), "Procfile line 3: `web` has a command already, in line 1");
        assert!(message("Web_1: a").starts_with("Procfile line 1: `Web_1` is no process type name"));
        assert!(message(": a").starts_with("Procfile line 1: a process type name is empty"));
        assert!(message("web: a\0b").contains("NUL"));
    }

    #[test]
    fn a_hostile_text_is_cut_and_cannot_reach_a_terminal() {
        let text = message(&format!("\u{1b}[2J{}", "x".repeat(1 << 19)));
        assert!(!text.contains('\u{1b}') && text.len() < 300, "{text}");
        assert!(message(&"x".repeat(MAX_BYTES + 1)).contains("too large"));
        assert_eq!(Procfile::read(b"web: \xff"), Err(ProcfileError::NotText));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_in_one_line(text in "(?s).{0,80}") {
            if let Err(error) = Procfile::parse(&text) {
                prop_assert!(!error.to_string().contains('\n'));
            }
        }
    }
}
