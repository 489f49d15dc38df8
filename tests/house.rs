//! Who may import whom, as drawn at the top of `src/lib.rs`, and what else holds for the whole house.
//!
//! A violation names the file, the line and the rule. Tests inside `src/` are free to reach anywhere.

use std::fmt;
use std::path::{Path, PathBuf};

/// What stands in the row above the model. Each does one thing and knows no other, but for Marathon's client, which
/// reads an event stream.
const ROW: [&str; 7] = ["docker", "git", "manifest", "marathon", "mesos", "sse", "store"];

/// A room, and the rooms besides its own whose names may stand in it. All may name the `model`.
fn may_name(room: &str) -> Option<Vec<&'static str>> {
    let row_and = |more: &[&'static str]| [&ROW[..], more].concat();
    Some(match room {
        "marathon" => vec!["sse"],
        room if room == "model" || ROW.contains(&room) => vec![],
        // The rules of the platform.
        "accounts" | "pipeline" => row_and(&[]),
        "engine" => vec!["docker", "marathon", "sse", "store"],
        "stack" => vec!["docker"],
        // The edges.
        "settings" | "ui" => vec![],
        "platform" => row_and(&["accounts", "settings"]),
        "delivery" => row_and(&["accounts", "pipeline", "settings"]),
        "receive" => row_and(&["accounts", "delivery", "pipeline", "settings", "ui"]),
        "cli" => row_and(&["accounts", "delivery", "engine", "pipeline", "platform", "settings", "stack", "ui"]),
        "bin" => vec!["cli", "receive", "settings", "ui"],
        _ => return None,
    })
}

/// A word that may stand in some rooms only, and why.
struct Reserved {
    words: &'static [&'static str],
    /// Rooms, and single files of others.
    places: &'static [&'static str],
    rule: &'static str,
}

const RESERVED: [Reserved; 6] = [
    Reserved { words: &["bollard"], places: &["docker"], rule: "only `docker` names bollard's types" },
    Reserved {
        words: &[
            "env::var",
            "env::var_os",
            "env::vars",
            "env::vars_os",
            "env::args",
            "env::args_os",
            "env::current_dir",
            "env::home_dir",
            "env::temp_dir",
        ],
        places: &["bin", "settings"],
        rule: "only `bin` and `settings` read the environment",
    },
    Reserved {
        words: &["println!", "eprintln!", "print!", "eprint!", "io::stdout", "io::stderr"],
        // git's hooks speak a protocol on their standard output, and so does the platform that starts detached.
        places: &["bin", "cli/up.rs", "receive", "ui"],
        rule: "only `ui` and git's hooks write to the process' streams",
    },
    Reserved {
        words: &["\"/bin/sh\"", "\"sh\"", "\"bash\"", "\"/bin/bash\""],
        // In containers, and for what Marathon's API calls a command; of the host's own, as a login shell and for the
        // stack's recipe.
        places: &["docker/builds.rs", "engine", "pipeline/definition.rs", "platform/account.rs", "stack"],
        rule: "no shell of the host's reads what somebody sent",
    },
    Reserved { words: &["process::exit"], places: &["bin"], rule: "the library never ends the process" },
    Reserved {
        words: &["anyhow"],
        places: &["bin", "cli", "ui"],
        rule: "errors are typed in the library; anyhow is for the edge, and for `ui`, which prints them",
    },
];

/// Words that may not stand in one room, and why.
struct Banned {
    room: &'static str,
    words: &'static [&'static str],
    rule: &'static str,
}

const BANNED: [Banned; 2] = [
    Banned {
        room: "engine",
        words: &["marathon::Client", "marathon::client"],
        rule: "`engine` uses Marathon's wire types, not its client",
    },
    Banned {
        room: "model",
        words: &["async fn", "tokio", "std::fs", "std::net", "std::process"],
        rule: "`model` has no I/O and no async",
    },
];

/// Longest program file, in lines: what it does belongs in the library.
const MAX_PROGRAM_LINES: usize = 40;

struct Violation {
    file: PathBuf,
    line: usize,
    rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.rule)
    }
}

/// A source file as the rules see it: without comments and tests.
struct Source {
    /// Below `src/`.
    file: PathBuf,
    /// As many lines as the file has; what is no concern of the rules is blank.
    lines: Vec<String>,
    /// Modules of their own files that are tests.
    test_modules: Vec<String>,
}

impl Source {
    fn parse(file: &Path, text: &str) -> Self {
        let mut source = Self { file: file.to_owned(), lines: Vec::new(), test_modules: Vec::new() };
        let mut rest = text.lines().peekable();
        while let Some(line) = rest.next() {
            source.lines.push(without_comment(line).to_owned());
            if line.trim() != "#[cfg(test)]" {
                continue;
            }
            let indent = &line[..line.len() - line.trim_start().len()];
            let item = rest.next().unwrap_or_default();
            source.lines.push(String::new());
            if let Some(module) = item.trim().strip_suffix(';').and_then(|item| item.split("mod ").nth(1)) {
                source.test_modules.push(module.to_owned());
            }
            // rustfmt puts the end of an item below its beginning.
            if item.ends_with('{') {
                for line in rest.by_ref() {
                    source.lines.push(String::new());
                    if line == format!("{indent}}}") {
                        break;
                    }
                }
            }
        }
        source
    }

    fn room(&self) -> String {
        let first = self.file.components().next().expect("a file has a name").as_os_str().to_string_lossy();
        first.trim_end_matches(".rs").to_owned()
    }

    fn is_in_one_of(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.room() == *place || self.file == Path::new(place))
    }

    /// How many modules this file's is below the crate.
    fn depth(&self) -> usize {
        self.file.components().count() - usize::from(self.file.ends_with("mod.rs"))
    }

    /// The rooms this file names, with the line of each.
    fn named_rooms(&self) -> Vec<(usize, String)> {
        let text = self.lines.join("\n");
        let mut roots = vec!["crate::".to_owned(), "super::".repeat(self.depth())];
        if self.room() == "bin" {
            roots = vec!["paas::".to_owned()];
        }
        roots.iter().flat_map(|root| after_each(&text, root)).collect()
    }

    fn violations(&self) -> Vec<Violation> {
        let mut found = self.wrong_arrows();
        for reserved in RESERVED.iter().filter(|reserved| !self.is_in_one_of(reserved.places)) {
            found.extend(self.lines_with(reserved.words).map(|line| self.violation(line, reserved.rule)));
        }
        for banned in BANNED.iter().filter(|banned| self.room() == banned.room) {
            found.extend(self.lines_with(banned.words).map(|line| self.violation(line, banned.rule)));
        }
        if self.room() == "bin" && self.lines.len() > MAX_PROGRAM_LINES {
            found.push(self.violation(self.lines.len(), &format!("a program has at most {MAX_PROGRAM_LINES} lines")));
        }
        found
    }

    fn lines_with(&self, words: &'static [&'static str]) -> impl Iterator<Item = usize> {
        let lines = self.lines.iter().enumerate();
        lines.filter(|(_, line)| words.iter().any(|word| has(line, word))).map(|(index, _)| index + 1)
    }

    fn wrong_arrows(&self) -> Vec<Violation> {
        let room = self.room();
        let Some(allowed) = may_name(&room) else {
            let rule = format!("the room `{room}` is not in the drawing; see src/lib.rs and tests/house.rs");
            return vec![self.violation(1, &rule)];
        };
        let is_wrong = |named: &str| named != room && named != "model" && !allowed.contains(&named);
        self.named_rooms()
            .into_iter()
            .filter(|(_, named)| may_name(named).is_some() && is_wrong(named))
            .map(|(line, named)| self.violation(line, &format!("`{room}` may not import `{named}`")))
            .collect()
    }

    fn violation(&self, line: usize, rule: &str) -> Violation {
        Violation { file: Path::new("src").join(&self.file), line, rule: rule.to_owned() }
    }
}

/// A comment begins a line, or stands behind a space; `//` inside an address has neither.
fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with("//") { "" } else { line.split(" // ").next().unwrap_or_default() }
}

/// Whether `word` stands in `line` as a word, not as a part of one.
fn has(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(is_part) && (word.ends_with('!') || !line[at + word.len()..].starts_with(is_part))
    })
}

/// The names right behind each `root`: one, or those of a group in braces.
fn after_each(text: &str, root: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices(root) {
        // `$crate::`, and `super::` as the end of a longer chain.
        if text[..at].ends_with(|c: char| c.is_alphanumeric() || "_:".contains(c)) {
            continue;
        }
        let line = text[..at].lines().count().max(1) + usize::from(text[..at].ends_with('\n'));
        let rest = &text[at + root.len()..];
        let names = rest.strip_prefix('{').map_or_else(|| vec![name_at(rest)], names_in_group);
        found.extend(names.into_iter().filter(|name| !name.is_empty()).map(|name| (line, name)));
    }
    found
}

fn name_at(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first names of what a group in braces lists.
fn names_in_group(group: &str) -> Vec<String> {
    let mut names = vec![name_at(group)];
    let mut open = 1;
    for (at, c) in group.char_indices() {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            ',' if open == 1 => names.push(name_at(&group[at + 1..])),
            _ => {}
        }
        if open == 0 {
            break;
        }
    }
    names
}

/// All sources below `src/`, test files left out.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let all: Vec<Source> = rust_files(&root)
        .iter()
        .map(|file| Source::parse(file.strip_prefix(&root).unwrap(), &std::fs::read_to_string(file).unwrap()))
        .filter(|source| source.file != Path::new("lib.rs"))
        .collect();
    let tests: Vec<PathBuf> = all.iter().flat_map(files_of_test_modules).collect();
    all.into_iter()
        .filter(|source| !tests.iter().any(|test| source.file.starts_with(test) || source.file == *test))
        .collect()
}

/// `x.rs` and the directory `x` for each test module `x` that the source declares.
fn files_of_test_modules(source: &Source) -> Vec<PathBuf> {
    let own = source.file.with_extension("");
    let dir = if source.file.ends_with("mod.rs") { source.file.parent().unwrap().to_owned() } else { own };
    source.test_modules.iter().flat_map(|module| [dir.join(module), dir.join(format!("{module}.rs"))]).collect()
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[test]
fn arrows_point_down_and_each_thing_is_done_in_its_room() {
    let sources = sources();
    assert!(sources.len() > 20, "the sources were not found");
    let found: Vec<String> = sources.iter().flat_map(Source::violations).map(|found| found.to_string()).collect();
    assert!(found.is_empty(), "the house's rules are broken:\n  {}", found.join("\n  "));
}

fn rules_broken(file: &str, text: &str) -> Vec<String> {
    Source::parse(Path::new(file), text).violations().iter().map(ToString::to_string).collect()
}

#[test]
fn a_wrong_arrow_is_found_however_it_is_written() {
    for wrong in [
        "use crate::store::Store;",
        "use crate::{model::AppName, store::{Store, self}};",
        "use crate::{\n    model::AppName,\n    store,\n};",
        "fn f() { crate::store::open() }",
        "use super::super::store::Store;",
    ] {
        let found = rules_broken("docker/images.rs", wrong);
        assert_eq!(found.len(), 1, "{wrong}: {found:?}");
        assert!(found[0].contains("`docker` may not import `store`"), "{found:?}");
    }
    assert_eq!(
        rules_broken("docker/mod.rs", "\nuse super::store;"),
        ["src/docker/mod.rs:2: `docker` may not import `store`"]
    );
}

#[test]
fn what_is_allowed_is_not_found() {
    for right in [
        "use crate::model::AppName;",
        "use crate::docker::labels;",
        "use super::labels;",
        "// see crate::store",
        "/// as `crate::store` does\nfn f() {}",
        "#[cfg(test)]\nmod tests {\n    use crate::store::Store;\n}\nfn f() {}",
        "fn blueprint() { let stdout_lines = 1; }",
    ] {
        assert_eq!(rules_broken("docker/images.rs", right), [""; 0], "{right}");
    }
    assert!(!rules_broken("docker/x.rs", "#[cfg(test)]\nmod tests {\n}\nuse crate::store;").is_empty(), "tests end");
}

#[test]
fn reserved_words_are_found_outside_of_their_rooms() {
    for (file, text) in [
        ("store/mod.rs", "use bollard::Docker;"),
        ("pipeline/mod.rs", "let home = std::env::var(\"HOME\");"),
        ("engine/mod.rs", "    println!(\"x\");"),
        ("engine/mod.rs", "use crate::marathon::Client;"),
        ("model/names.rs", "pub async fn look_up() {"),
        ("git/mod.rs", "fn f() -> anyhow::Result<()> {"),
        ("cli/keys.rs", "std::process::exit(1)"),
        ("receive/session.rs", "Command::new(\"sh\")"),
        ("lobby/mod.rs", ""),
        ("bin/paas.rs", &"\n".repeat(41)),
    ] {
        assert_eq!(rules_broken(file, text).len(), 1, "{file}: {text}");
    }
}

const THREATS: &str = include_str!("../docs/threats.md");
const PROMISES: &str = include_str!("../docs/promises.md");

/// The rows of a table: a rule, and the tests that keep it, each with its file.
fn rules_and_tests(table: &str) -> Vec<(&str, Vec<(&str, &str)>)> {
    // Below the heading and the line under it.
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(2);
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [rule, tests] = cells[..] else { panic!("not two cells: {row}") };
        let (mut file, mut named) = ("", Vec::new());
        // What stands in backticks is every other piece.
        for name in tests.split('`').skip(1).step_by(2) {
            if name.contains('/') {
                file = name;
            } else {
                named.push((file, name));
            }
        }
        (rule, named)
    })
    .collect()
}

/// Whether a function of that name stands there as a test.
fn is_test(text: &str, name: &str) -> bool {
    let Some((before, _)) = text.split_once(&format!("fn {name}(")) else { return false };
    let Some((above, _)) = before.rsplit_once('\n') else { return false };
    let mut attributes = above.lines().rev().map(str::trim).take_while(|line| line.starts_with("#["));
    attributes.any(|line| line == "#[test]" || line.starts_with("#[tokio::test"))
}

/// Panics when a rule of the table has no test, or one that is not there.
fn all_are_kept(table: &str) {
    let rules = rules_and_tests(table);
    assert!(rules.len() >= 10, "the table was not found");
    for (rule, tests) in &rules {
        assert!(!tests.is_empty(), "no test keeps: {rule}");
        for (file, name) in tests {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("`{file}`, for {rule}: {error}"));
            assert!(is_test(&text, name), "`{name}` is no test in {file}; it is to keep: {rule}");
        }
    }
}

#[test]
fn every_promise_of_a_push_has_tests_and_they_are_there() {
    all_are_kept(PROMISES);
}

#[test]
fn every_rule_of_the_front_door_has_tests_and_they_are_there() {
    all_are_kept(THREATS);
    let rules = rules_and_tests(THREATS);
    let named: Vec<&str> = rules.iter().flat_map(|(_, tests)| tests).map(|(_, name)| *name).collect();
    for text in include_str!("front_door.rs").split("#[test]").skip(1) {
        let name = name_at(text.trim_start().trim_start_matches("fn "));
        assert!(named.contains(&name.as_str()), "{name} keeps no rule of the table");
    }
    assert!(!is_test("#[test]\nfn a() {}\nfn b() {}", "b") && !is_test("#[test]\nfn ab() {}", "b"));
}
