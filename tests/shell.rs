//! What a shell and `man` read is generated from the command line's definition: `completions/` and `man/` are
//! committed, and here they are held against it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::CommandFactory as _;
use clap_complete::Shell;
use paas::cli::Paas;
use paas::receive::command::Receive;

/// Set to write the files instead of comparing them.
const SWITCH: &str = "PAAS_REGENERATE";
const HOW: &str = "`PAAS_REGENERATE=1 cargo test --test main shell::` writes them anew";

/// Everything that is generated, by path below the project.
type Files = BTreeMap<PathBuf, String>;

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn generated() -> Files {
    let dir = tempfile::tempdir().unwrap();
    let completions = dir.path().join("completions");
    std::fs::create_dir(&completions).unwrap();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Paas::command(), "paas", &completions).unwrap();
    }
    let mut files = files_in(dir.path());
    // Section 1 is for everybody's commands, section 8 for the administrator's and the system's.
    for (mut command, section) in [(Paas::command(), "1"), (Receive::command(), "8")] {
        command.build();
        add_pages(&command, section, &mut files);
    }
    files
}

/// The manual page of the command, and those of all below it.
fn add_pages(command: &clap::Command, section: &str, files: &mut Files) {
    let source = concat!("paas ", env!("CARGO_PKG_VERSION"));
    let page = clap_mangen::Man::new(command.clone()).section(section).source(source).manual("paas");
    let mut text = Vec::new();
    page.render(&mut text).unwrap();
    let mut text = String::from_utf8(text).unwrap().replace(".SH EXTRA\n", ".SH NOTES\n");
    if command.get_name() != "paas" {
        text.push_str(".SH SEE ALSO\n\\fBpaas\\fR(1), which also lists the exit statuses\n");
    }
    files.insert(Path::new("man").join(page.get_filename()), text);
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        add_pages(below, section, files);
    }
}

/// The files of `completions/` and `man/` below `root`.
fn files_in(root: &Path) -> Files {
    let mut files = Files::new();
    for dir in ["completions", "man"] {
        for entry in std::fs::read_dir(root.join(dir)).into_iter().flatten() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            files.insert(path.strip_prefix(root).unwrap().to_owned(), text);
        }
    }
    files
}

fn write(files: &Files) {
    for dir in ["completions", "man"] {
        let _ = std::fs::remove_dir_all(project().join(dir));
        std::fs::create_dir(project().join(dir)).unwrap();
    }
    for (path, text) in files {
        std::fs::write(project().join(path), text).unwrap();
    }
}

#[test]
fn completions_and_manual_pages_tell_what_the_command_line_is() {
    let wanted = generated();
    if std::env::var_os(SWITCH).is_some() {
        write(&wanted);
    }
    let found = files_in(project());
    let differing: Vec<String> = wanted
        .keys()
        .chain(found.keys().filter(|path| !wanted.contains_key(*path)))
        .filter(|path| wanted.get(*path) != found.get(*path))
        .map(|path| path.display().to_string())
        .collect();
    assert!(differing.is_empty(), "not as the command line is defined: {}\n{HOW}", differing.join(", "));
}

#[test]
fn bash_completes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("paas.bash");
    std::fs::write(&file, &generated()[Path::new("completions/paas.bash")]).unwrap();
    let completed = |line: &str| {
        let script = format!(
            "source '{}'; COMP_WORDS=({line} ''); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _paas paas '' \"${{COMP_WORDS[COMP_CWORD - 1]}}\"; echo \"${{COMPREPLY[*]}}\"",
            file.display()
        );
        let output = Command::new("bash").args(["--norc", "-c", &script]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let nouns = completed("paas");
    assert!(nouns.split_whitespace().any(|word| word == "keys"), "{nouns}");
    let verbs = completed("paas keys");
    assert!(["add", "list", "remove"].iter().all(|verb| verbs.split_whitespace().any(|word| word == *verb)), "{verbs}");
}
