//! The agent's files: what tasks wrote, listed, read in parts and downloaded.

use axum::body::Body;
use axum::http::{StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

use super::super::super::instance::TaskId;
use super::super::super::reading::Refusal;
use super::super::super::tasks::{Found, Listed, read_at};
use super::super::answer::Answer;
use super::super::{Api, Asked};
use super::refused;

/// Most that one read answers, in bytes; as much as Mesos' agents do.
const MAX_LENGTH: usize = 64 << 10;

/// How many bytes a character may have.
const LONGEST_CHARACTER: usize = 4;

/// A part of a file that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// None, but how much there is.
    Size,
    Bytes {
        offset: u64,
        length: usize,
    },
}

impl Part {
    /// What the texts of a query mean, or how Mesos refuses them.
    fn read(offset: Option<&str>, length: Option<&str>) -> Result<Self, String> {
        let offset = number("offset", offset)?;
        if offset < -1 {
            return Err(format!("Negative offset provided: {offset}.\n"));
        }
        let length = number("length", length)?;
        if length < -1 {
            return Err(format!("Negative length provided: {length}.\n"));
        }
        let Ok(offset) = u64::try_from(offset) else { return Ok(Self::Size) };
        let length = usize::try_from(length).unwrap_or(MAX_LENGTH).min(MAX_LENGTH);
        Ok(Self::Bytes { offset, length })
    }
}

/// -1 stands for what is not given.
fn number(name: &str, text: Option<&str>) -> Result<i64, String> {
    let text = text.unwrap_or("-1");
    text.parse().map_err(|_| format!("Failed to parse {name}: Failed to convert '{text}' to number.\n"))
}

/// The bytes as a text that has as many bytes, so that a client finds its place by what it was given: each byte that is
/// no part of a character becomes a question mark. A character of which only the beginning is there is left for the
/// next read, unless there is nothing else.
fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut chunks = bytes.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        text.push_str(chunk.valid());
        let is_cut = chunks.peek().is_none() && is_beginning(chunk.invalid());
        if !is_cut || text.is_empty() {
            text.extend(chunk.invalid().iter().map(|_| '?'));
        }
    }
    text
}

/// Whether more bytes may make a character of these.
fn is_beginning(bytes: &[u8]) -> bool {
    bytes.len() < LONGEST_CHARACTER
        && std::str::from_utf8(bytes).is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
}

/// A file as Mesos lists it.
#[derive(Debug, Serialize)]
struct FileInfo {
    gid: String,
    mode: String,
    mtime: f64,
    nlink: u64,
    path: String,
    size: u64,
    uid: String,
}

impl FileInfo {
    fn new(directory: &str, listed: Listed) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "times of files are far below 2^53 seconds")]
        let mtime = listed.modified as f64;
        Self {
            gid: listed.group,
            mode: listed.mode,
            mtime,
            nlink: listed.links,
            path: format!("{}/{}", directory.trim_end_matches('/'), listed.name),
            size: listed.size,
            uid: listed.user,
        }
    }
}

/// The name that a browser gives to a download.
fn disposition(path: &str) -> String {
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte);
    if name.bytes().all(is_plain) {
        return format!("attachment; filename={name}");
    }
    // The form for names with anything in them.
    let escaped =
        name.bytes().map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") });
    format!("attachment; filename*=UTF-8''{}", escaped.collect::<String>())
}

fn bad_request(text: impl Into<String>) -> Answer {
    refused(StatusCode::BAD_REQUEST, text)
}
fn not_found() -> Answer {
    refused(StatusCode::NOT_FOUND, "")
}
/// The path that is asked for, or the refusal.
fn path_of(asked: &Asked) -> Result<&str, Answer> {
    asked.one("path").ok_or_else(|| bad_request("Expecting 'path=value' in query.\n"))
}

impl Api {
    /// The files of a task by its framework and executor, wherever they are.
    fn virtual_directory(&self, task: &TaskId) -> String {
        format!("/frameworks/{}/executors/{task}/runs/latest", self.shared().framework)
    }

    /// The path with the directory in place of the virtual one, if it is that.
    fn real_path(&self, path: &str) -> Option<String> {
        let Some(below) = path.strip_prefix("/frameworks/") else { return Some(path.to_owned()) };
        let below = below.strip_prefix(self.shared().framework.as_str())?.strip_prefix("/executors/")?;
        let (task, run) = below.split_once("/runs/")?;
        let (run, rest) = run.split_once('/').unwrap_or((run, ""));
        let task: TaskId = task.parse().ok()?;
        // There is one run of each.
        (run == "latest" || run == task.to_string()).then(|| format!("{}/{rest}", self.shared().tasks.directory(&task)))
    }

    async fn found(&self, path: &str) -> Found {
        match self.real_path(path) {
            Some(path) => self.shared().tasks.open_file(&path).await,
            None => Found::Nothing,
        }
    }

    /// A part of a file. Without an offset, or with -1, only how much there is.
    pub(super) async fn read_file(&self, asked: &Asked) -> Answer {
        let path = match path_of(asked) {
            Ok(path) => path,
            Err(answer) => return answer,
        };
        let part = match Part::read(asked.one("offset"), asked.one("length")) {
            Ok(part) => part,
            Err(text) => return bad_request(text),
        };
        let (file, size) = match self.found(path).await {
            Found::File(file, size) => (file, size),
            Found::Directory => return bad_request("Cannot read a directory.\n"),
            Found::Nothing => return not_found(),
        };
        let (offset, length) = match part {
            Part::Size => (size, 0),
            Part::Bytes { offset, length } => (offset, length),
        };
        let read = tokio::task::spawn_blocking(move || read_at(&file, offset, length)).await;
        match read.map_err(std::io::Error::other).flatten() {
            Ok(bytes) => Answer::json(&json!({ "data": text(&bytes), "offset": offset })),
            Err(error) => {
                tracing::warn!(path, %error, "cannot read a task's file");
                refused(StatusCode::INTERNAL_SERVER_ERROR, format!("Failed to read file: {error}.\n"))
            }
        }
    }

    /// A whole file as it is now.
    pub(super) async fn download_file(&self, asked: &Asked) -> Answer {
        let path = match path_of(asked) {
            Ok(path) => path,
            Err(answer) => return answer,
        };
        match self.found(path).await {
            Found::File(file, size) => {
                let stream = ReaderStream::new(tokio::fs::File::from_std(file).take(size));
                Answer::stream("application/octet-stream", Body::from_stream(stream))
                    .with(header::CONTENT_LENGTH, &size.to_string())
                    .with(header::CONTENT_DISPOSITION, &disposition(path))
            }
            Found::Directory => bad_request("Cannot download a directory.\n"),
            Found::Nothing => not_found(),
        }
    }

    pub(super) async fn browse_files(&self, asked: &Asked) -> Answer {
        let path = match path_of(asked) {
            Ok(path) => path,
            Err(answer) => return answer,
        };
        let Some(real) = self.real_path(path) else { return not_found() };
        match self.shared().tasks.list_files(&real).await {
            Some(listed) => {
                let files = listed.into_iter().map(|listed| FileInfo::new(path, listed));
                Answer::json(&files.collect::<Vec<_>>())
            }
            None => not_found(),
        }
    }

    /// All directories under both their names.
    pub(super) async fn debug_files(&self) -> Result<Answer, Refusal> {
        let mut names = Map::new();
        for (task, _) in self.shared().tasks.known().await {
            let directory = self.shared().tasks.directory(&task);
            names.insert(self.virtual_directory(&task), Value::from(directory.clone()));
            names.insert(directory.clone(), Value::from(directory));
        }
        Ok(Answer::json(&names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_and_refused_as_mesos_does() {
        for (offset, length, part) in [
            (None, None, Part::Size),
            (Some("-1"), Some("5"), Part::Size),
            (Some("3"), None, Part::Bytes { offset: 3, length: MAX_LENGTH }),
            (Some("3"), Some("-1"), Part::Bytes { offset: 3, length: MAX_LENGTH }),
            (Some("0"), Some("0"), Part::Bytes { offset: 0, length: 0 }),
            (Some("0"), Some("9999999999"), Part::Bytes { offset: 0, length: MAX_LENGTH }),
        ] {
            assert_eq!(Part::read(offset, length), Ok(part));
        }
        for (offset, length, text) in [
            ("-5", "3", "Negative offset provided: -5.\n"),
            ("0", "-2", "Negative length provided: -2.\n"),
            ("0", "x", "Failed to parse length: Failed to convert 'x' to number.\n"),
            ("", "3", "Failed to parse offset: Failed to convert '' to number.\n"),
        ] {
            assert_eq!(Part::read(Some(offset), Some(length)), Err(text.to_owned()));
        }
    }

    #[test]
    fn a_text_has_as_many_bytes_as_what_it_stands_for() {
        let every = (0..=255).collect::<Vec<u8>>();
        assert_eq!(text(&every).len(), every.len());
        assert_eq!(text(b"a\xffb\xc3\x28"), "a?b?(");
        // In the middle of a character: what is left of it, and what of it is there.
        assert_eq!(text(&"äöü".as_bytes()[1..]), "?öü");
        assert_eq!(text(&"äöü".as_bytes()[..5]), "äö");
        assert_eq!(text(&"ä".as_bytes()[..1]), "?");
        assert_eq!(text("€".as_bytes()), "€");
        assert_eq!(text(&"x€".as_bytes()[..3]), "x");
    }

    #[test]
    fn a_client_that_follows_by_what_it_was_given_gets_every_byte_once() {
        let bytes = [&"grün — \u{1f600}\n".repeat(20).into_bytes()[..], &[0xff, 0xf0, 0x9f, 0]].concat();
        for length in 1..20 {
            let (mut at, mut given) = (0, String::new());
            while at < bytes.len() {
                let piece = text(&bytes[at..bytes.len().min(at + length)]);
                assert!(!piece.is_empty(), "{length}: stuck at {at}");
                at += piece.len();
                given.push_str(&piece);
            }
            assert_eq!(given.len(), bytes.len());
            if length >= LONGEST_CHARACTER {
                assert_eq!(given, format!("{}?{}\0", "grün — \u{1f600}\n".repeat(20), "??"));
            }
        }
    }

    #[test]
    fn a_downloads_name_stays_within_its_header() {
        assert_eq!(disposition("/a/stdout.1"), "attachment; filename=stdout.1");
        assert_eq!(disposition("/a/x\"\r\n y; ü"), "attachment; filename*=UTF-8''x%22%0D%0A%20y%3B%20%C3%BC");
    }
}
