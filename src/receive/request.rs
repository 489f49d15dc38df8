//! What a client asks for over ssh, read without a shell: `SSH_ORIGINAL_COMMAND` → [`Request`].

use crate::model::{AppName, InvalidName, TenantName};

/// Longest command read, in bytes: a name, a verb and a text or two need a tenth of it.
const MAX_COMMAND_BYTES: usize = 16 << 10;

/// Everything a key may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    /// `git push`.
    ReceivePack(Repository),
    /// `git clone`, `git fetch`.
    UploadPack(Repository),
    Help,
    Version,
    /// A command of `paas`, which knows its own.
    Command(Vec<String>),
}

/// Which app of which tenant; never a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repository {
    pub(super) tenant: TenantName,
    pub(super) app: AppName,
}

/// Why a command is not run. Each says what would be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RefusedRequest {
    #[error("there is no shell here; `ssh … help` says what there is")]
    NoCommand,
    #[error("the command is longer than {MAX_COMMAND_BYTES} bytes")]
    TooLong,
    #[error("the command has quotes or characters that no command here needs")]
    Malformed,
    #[error("`{0}` is not a command here; `ssh … help` says what there is")]
    Unknown(String),
    #[error("`{verb}` takes one repository, as in `{verb} '/dev/shop'`")]
    Arguments { verb: &'static str },
    #[error("`{0}` is no repository; one is `/TENANT/APP`, such as `/dev/shop`")]
    NotARepository(String),
    #[error("the repository's {part} is wrong")]
    Name {
        part: &'static str,
        #[source]
        cause: InvalidName,
    },
}

impl Request {
    /// Reads the command as sshd hands it over. Nothing of it is ever given to a shell or used as a path or an option.
    pub(super) fn parse(command: &str) -> Result<Self, RefusedRequest> {
        if command.len() > MAX_COMMAND_BYTES {
            return Err(RefusedRequest::TooLong);
        }
        let words = words(command)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            [] => Err(RefusedRequest::NoCommand),
            ["git-receive-pack", rest @ ..] => Ok(Self::ReceivePack(repository("git-receive-pack", rest)?)),
            ["git-upload-pack", rest @ ..] => Ok(Self::UploadPack(repository("git-upload-pack", rest)?)),
            ["help"] => Ok(Self::Help),
            ["version"] => Ok(Self::Version),
            // No program of the system's, and none of git's but those two.
            [verb, ..] if verb.starts_with("git") => Err(RefusedRequest::Unknown(shown(verb))),
            _ => Ok(Self::Command(words.iter().map(ToString::to_string).collect())),
        }
    }
}

/// `/dev/shop`, `dev/shop`, each also with `.git`.
fn repository(verb: &'static str, words: &[&str]) -> Result<Repository, RefusedRequest> {
    let [path] = words else { return Err(RefusedRequest::Arguments { verb }) };
    let bare = path.strip_prefix('/').unwrap_or(path);
    let bare = bare.strip_suffix('/').unwrap_or(bare);
    let bare = bare.strip_suffix(".git").unwrap_or(bare);
    let (tenant, app) = bare.split_once('/').ok_or_else(|| RefusedRequest::NotARepository(shown(path)))?;
    Ok(Repository {
        tenant: tenant.parse().map_err(|cause| RefusedRequest::Name { part: "tenant", cause })?,
        app: app.parse().map_err(|cause| RefusedRequest::Name { part: "app", cause })?,
    })
}

/// For a message: the client's own text, short and without terminal escapes.
fn shown(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_debug).collect()
}

/// Divides at spaces. Understands what git writes and no more: `'…'`, with `'\''` and `'\!'` inside of words.
fn words(command: &str) -> Result<Vec<String>, RefusedRequest> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = command.chars();
    while let Some(c) = characters.next() {
        match c {
            ' ' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some('\'') => break,
                        Some(c) if !c.is_control() => word.push(c),
                        _ => return Err(RefusedRequest::Malformed),
                    }
                }
            }
            '\\' => match characters.next() {
                Some(c @ ('\'' | '!')) => word.get_or_insert_default().push(c),
                _ => return Err(RefusedRequest::Malformed),
            },
            '"' | '`' | '$' | ';' | '&' | '|' | '<' | '>' | '(' | ')' => return Err(RefusedRequest::Malformed),
            c if c.is_control() => return Err(RefusedRequest::Malformed),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shop() -> Repository {
        Repository { tenant: "dev".parse().unwrap(), app: "shop".parse().unwrap() }
    }

    #[test]
    fn what_git_sends_is_understood() {
        for path in ["'/dev/shop'", "'dev/shop'", "'/dev/shop.git'", "/dev/shop", "'/dev/shop/'"] {
            assert_eq!(Request::parse(&format!("git-receive-pack {path}")), Ok(Request::ReceivePack(shop())), "{path}");
            assert_eq!(Request::parse(&format!("git-upload-pack {path}")), Ok(Request::UploadPack(shop())), "{path}");
        }
        assert_eq!(Request::parse("help"), Ok(Request::Help));
        assert_eq!(Request::parse("version"), Ok(Request::Version));
    }

    #[test]
    fn everything_else_is_refused() {
        let long = format!("git-receive-pack '{}'", "a".repeat(64 << 10));
        let hostile = [
            "",
            "git-shell --help",
            "git-receive-pack",
            "git-receive-pack --help",
            "git-receive-pack '--help'",
            "git-receive-pack '/dev/shop' extra",
            "git-receive-pack '/dev/shop'; id",
            "git-receive-pack '/dev/shop' && id",
            "git-receive-pack `id`",
            "git-receive-pack $(id)",
            "git-receive-pack '/dev/$(id)'",
            "git-receive-pack \"/dev/shop\"",
            "git-receive-pack '/dev/shop",
            "git-receive-pack '/dev/../etc'",
            "git-receive-pack '../../etc'",
            "git-upload-pack '../../etc'",
            "git-upload-pack '/etc/passwd/x'",
            "git-upload-pack '~/x'",
            "git-upload-pack '/dev/%2e%2e'",
            "git-upload-pack '/dev'",
            "git-upload-pack '//'",
            "git-receive-pack '/dev/shop\n'",
            "git-receive-pack '/dev/shop\0'",
            "git-receive-pack '/dév/shop'",
            "git-upload-archive '/dev/shop'",
            "git receive-pack '/dev/shop'",
            &long,
        ];
        for command in hostile {
            assert!(Request::parse(command).is_err(), "{:?}", &command[..command.len().min(80)]);
        }
    }

    #[test]
    fn a_command_is_words_and_no_shell_reads_them() {
        let command = |text: &str| match Request::parse(text) {
            Ok(Request::Command(words)) => words,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(command("tenant list --json"), ["tenant", "list", "--json"]);
        assert_eq!(command(r"'tenant' 'show' 'it'\''s $HOME; id' ''"), ["tenant", "show", "it's $HOME; id", ""]);
        assert_eq!(command("sh -c id"), ["sh", "-c", "id"]);
    }

    #[test]
    fn a_refusal_repeats_no_terminal_escape() {
        let message = Request::parse("gitx\u{9b}2J").unwrap_err().to_string();
        assert!(!message.chars().any(char::is_control), "{message:?}");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_what_passes_names_a_repository(text in "(git-receive-pack |git-upload-pack )?\\PC{0,60}") {
            if let Ok(Request::ReceivePack(repository) | Request::UploadPack(repository)) = Request::parse(&text) {
                prop_assert!(!repository.app.as_str().contains(['/', '.', '\'', ' ']));
            }
        }
    }
}
