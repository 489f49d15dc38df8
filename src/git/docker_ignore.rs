//! What a `.dockerignore` leaves out. Docker's daemon does not read it for a tree that it is sent: whoever sends has to.

use std::borrow::Cow;

use regex_lite::Regex;

use super::tree::Entry;

/// As many as nobody writes by hand; each is held against each path of the tree.
const MOST_PATTERNS: usize = 1000;

/// The file's patterns, in order: of those that fit a path, or a directory above it, the last decides.
#[derive(Debug, Clone, Default)]
pub struct DockerIgnore {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone)]
struct Pattern {
    regex: Regex,
    /// With `!` before it: it takes back in what one before it left out.
    is_exception: bool,
}

/// Why the text is no `.dockerignore`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDockerIgnore {
    #[error(".dockerignore line {line}: `{pattern}` is no pattern")]
    Pattern { line: usize, pattern: String },
    #[error(".dockerignore has more than {MOST_PATTERNS} patterns")]
    TooMany,
}

impl DockerIgnore {
    /// Reads the text of the file.
    pub fn read(text: &str) -> Result<Self, InvalidDockerIgnore> {
        let mut patterns = Vec::new();
        for (index, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
            // As Docker does it: a comment begins a line, with no space before it.
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let invalid = || InvalidDockerIgnore::Pattern { line: index + 1, pattern: line.trim().to_owned() };
            let (is_exception, glob) = match line.trim().strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line.trim()),
            };
            if glob.is_empty() {
                return Err(invalid());
            }
            let regex = regex(&cleaned(glob)).and_then(|text| Regex::new(&text).ok()).ok_or_else(invalid)?;
            patterns.push(Pattern { regex, is_exception });
            if patterns.len() > MOST_PATTERNS {
                return Err(InvalidDockerIgnore::TooMany);
            }
        }
        Ok(Self { patterns })
    }

    pub(super) fn takes(&self, entry: &Entry) -> bool {
        let path = String::from_utf8_lossy(&entry.path);
        self.patterns.iter().fold(false, |taken, pattern| {
            // Only what would change it has to be looked at.
            if pattern.is_exception == taken && pattern.fits(&path) { !taken } else { taken }
        })
    }
}

impl Pattern {
    /// Whether it fits the path or a directory above it.
    fn fits(&self, path: &str) -> bool {
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        ends.into_iter().any(|end| self.regex.is_match(&path[..end]))
    }
}

/// The pattern's path with neither `.`, `..`, doubled slashes nor slashes at its ends. What leads out of the tree stays
/// there, and so fits nothing.
fn cleaned(glob: &str) -> Cow<'_, str> {
    let mut parts: Vec<&str> = Vec::new();
    for part in glob.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Cow::Owned(parts.join("/"))
}

/// The regular expression of a pattern: Go's `filepath.Match`, and `**` for any number of directories.
fn regex(glob: &str) -> Option<String> {
    let mut text = "(?s)^".to_owned();
    let mut rest = glob.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '*' if rest.next_if_eq(&'*').is_some() => {
                // Docker takes `**/` for `**`, and what follows may stand at the root as well.
                rest.next_if_eq(&'/');
                text.push_str(if rest.peek().is_none() { ".*" } else { "(?:.*/)?" });
            }
            '*' => text.push_str("[^/]*"),
            '?' => text.push_str("[^/]"),
            '\\' => push_literal(&mut text, rest.next()?),
            '[' => {
                text.push('[');
                if rest.next_if_eq(&'^').is_some() {
                    text.push('^');
                }
                let mut is_empty = true;
                loop {
                    match rest.next()? {
                        ']' if !is_empty => break,
                        '\\' => push_literal(&mut text, rest.next()?),
                        '-' => text.push('-'),
                        c => push_literal(&mut text, c),
                    }
                    is_empty = false;
                }
                text.push(']');
            }
            c => push_literal(&mut text, c),
        }
    }
    text.push('$');
    Some(text)
}

fn push_literal(text: &mut String, c: char) {
    // Written with a backslash these two are the ends of words.
    if c.is_ascii_punctuation() && !matches!(c, '<' | '>') {
        text.push('\\');
    }
    text.push(c);
}

#[cfg(test)]
mod tests {
    use git2::Oid;

    use super::super::tree::Kind;
    use super::*;

    fn takes(rules: &str, path: &str) -> bool {
        let entry =
            Entry { path: path.as_bytes().to_vec(), kind: Kind::File { executable: false }, id: Oid::ZERO_SHA1 };
        DockerIgnore::read(rules).unwrap().takes(&entry)
    }

    #[test]
    fn patterns_are_read_as_docker_reads_them() {
        for (rules, path, taken) in [
            ("docs", "docs", true),
            ("docs", "docs/a/b.md", true),
            ("docs", "src/docs", false),
            ("/docs/", "docs/a", true),
            ("./docs/../docs", "docs/a", true),
            ("../docs", "docs/a", true),
            ("*.md", "a.md", true),
            ("*.md", "src/a.md", false),
            ("*/*.md", "src/a.md", true),
            ("*/temp*", "src/temporary/x", true),
            ("**/*.md", "a.md", true),
            ("**/*.md", "a/b/c.md", true),
            ("**", "anything/at/all", true),
            ("a/**", "a/b/c", true),
            ("a/**/z", "a/z", true),
            ("a/**/z", "a/b/c/z", true),
            ("temp?", "tempa", true),
            ("temp?", "temp", false),
            ("temp?", "temp/a", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("a.b", "axb", false),
            ("(a|b)", "a", false),
            ("# docs", "# docs", false),
            (" docs ", "docs", true),
            ("", "docs", false),
            ("*\n!README*", "README.md", false),
            ("*\n!README*", "src/a", true),
            ("*.md\n!README.md", "README.md", false),
            ("!README.md\n*.md", "README.md", true),
            ("docs\n!docs/keep", "docs/keep/a", false),
            ("docs\n!docs/keep", "docs/other", true),
            ("*\n!src\nsrc/secret", "src/secret/a", true),
            ("*", "src/Dockerfile", true),
            ("\u{feff}docs", "docs", true),
        ] {
            assert_eq!(takes(rules, path), taken, "{rules:?} {path}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_named_with_its_line() {
        for text in ["a\n[", "a\n[z-a]", "a\n!", "a\nb\\"] {
            let refused = DockerIgnore::read(text).unwrap_err();
            assert!(matches!(refused, InvalidDockerIgnore::Pattern { line: 2, .. }), "{text:?}: {refused}");
        }
        assert_eq!(DockerIgnore::read(&"a\n".repeat(1001)).unwrap_err(), InvalidDockerIgnore::TooMany);
    }
}
