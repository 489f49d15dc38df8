//! A commit's tree as a tar archive, made while it is read: memory does not grow with the tree.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use git2::Oid;
use tokio::sync::mpsc;

use super::contents::{Asking, Contents};
use super::tree::{self, Entry, Kind};
use super::{GitError, LeftOut, tar_entry};

/// Size of the pieces that are handed over.
const PIECE_BYTES: usize = 128 << 10;
/// Pieces made ahead of the reader: 8 × 128 KiB = 1 MiB.
const PIECES_AHEAD: usize = 8;
/// Entries walked ahead of the archive.
const ENTRIES_AHEAD: usize = 64;

/// The archive, piece by piece. Dropping it ends the threads and git's process behind it.
#[derive(Debug)]
pub struct TarStream {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
}

impl futures_util::Stream for TarStream {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.pieces.poll_recv(context)
    }
}

impl TarStream {
    pub(super) fn start(
        repository: git2::Repository,
        path: &Path,
        tree: Oid,
        shape: TarShape,
        time: i64,
    ) -> Result<Self, GitError> {
        let (contents, asking) = Contents::whole(path)?;
        let (entries, walked) = std::sync::mpsc::sync_channel(ENTRIES_AHEAD);
        let (pieces, taken) = mpsc::channel(PIECES_AHEAD);
        // The walker runs ahead, so that git reads the next objects while this archive is written.
        let left_out = shape.left_out.clone();
        std::thread::spawn(move || walk(&repository, tree, &left_out, asking, &entries));
        let archive = Archive { contents, shape, time: u64::try_from(time).unwrap_or(0) };
        std::thread::spawn(move || {
            if let Err(error) = archive.write(&walked, Pieces { pieces: pieces.clone(), piece: Vec::new() }) {
                // Nobody to tell when the reader is gone.
                let _ = pieces.blocking_send(Err(error));
            }
        });
        Ok(Self { pieces: taken })
    }
}

type Walked = io::Result<Entry>;

fn walk(
    repository: &git2::Repository,
    tree: Oid,
    left_out: &LeftOut,
    mut asking: Asking,
    entries: &std::sync::mpsc::SyncSender<Walked>,
) {
    let unreadable =
        |cause| GitError::Repository { attempt: "read", place: repository.path().display().to_string(), cause };
    let put = left_out.put_into(repository).map_err(unreadable);
    let walked = put.and_then(|()| {
        tree::walk(repository, tree, unreadable, |entry| {
            if left_out.takes(repository, &entry).map_err(unreadable)? {
                return Ok(true);
            }
            if matches!(entry.kind, Kind::File { .. } | Kind::Symlink) {
                asking.ask(entry.id).map_err(GitError::Contents)?;
            }
            // The archive's writer ended: nothing more is wanted.
            Ok::<_, GitError>(entries.send(Ok(entry)).is_ok())
        })
    });
    if let Err(error) = walked {
        let _ = entries.send(Err(io::Error::other(error)));
    }
}

/// How the archive is to differ from the tree.
#[derive(Debug, Clone, Default)]
pub struct TarShape {
    /// Below which every path is; no slash at its ends. Empty, the archive's root is the tree's.
    pub prefix: PathBuf,
    /// What stands in the archive instead of the content of a file of the tree, by its path there.
    pub replaced: BTreeMap<PathBuf, Vec<u8>>,
    /// Files that stand there with this content whatever the tree has.
    pub added: BTreeMap<PathBuf, Vec<u8>>,
    pub left_out: LeftOut,
}

struct Archive {
    contents: Contents,
    shape: TarShape,
    time: u64,
}

impl Archive {
    fn write(mut self, walked: &std::sync::mpsc::Receiver<Walked>, pieces: Pieces) -> io::Result<()> {
        let mut tar = tar::Builder::new(pieces);
        if !self.shape.prefix.as_os_str().is_empty() {
            let root = Entry { path: Vec::new(), kind: Kind::Directory, id: Oid::ZERO_SHA1 };
            self.append(&mut tar, &root)?;
        }
        for entry in walked {
            self.append(&mut tar, &entry?)?;
        }
        for (path, content) in std::mem::take(&mut self.shape.added) {
            let header = self.header(tar::EntryType::Regular, 0o644, content.len() as u64);
            tar_entry::append(&mut tar, header, &self.shape.prefix.join(path), content.as_slice())?;
        }
        tar.into_inner()?.flush()
    }

    fn append(&mut self, tar: &mut tar::Builder<Pieces>, entry: &Entry) -> io::Result<()> {
        let in_tree = Path::new(OsStr::from_bytes(&entry.path));
        let prefix = &self.shape.prefix;
        // With nothing after it a prefix would end in a slash.
        let path = if entry.path.is_empty() { prefix.clone() } else { prefix.join(in_tree) };
        match entry.kind {
            Kind::Directory | Kind::Submodule => {
                let header = self.header(tar::EntryType::Directory, 0o755, 0);
                tar_entry::append(tar, header, &path, io::empty())
            }
            Kind::Symlink => {
                let size = self.contents.size()?;
                let mut target = Vec::new();
                io::Read::read_to_end(&mut self.contents.content(size.min(tree::MAX_PATH_BYTES as u64)), &mut target)?;
                if size > tree::MAX_PATH_BYTES as u64 {
                    return Err(io::Error::other(GitError::PathTooLong));
                }
                self.contents.end_of_content()?;
                tar_entry::append_link(tar, self.header(tar::EntryType::Symlink, 0o777, 0), &path, &target)
            }
            Kind::File { executable } => {
                let (size, mode) = (self.contents.size()?, if executable { 0o755 } else { 0o644 });
                let shape = &mut self.shape;
                let instead = shape.added.remove(in_tree).or_else(|| shape.replaced.remove(in_tree));
                if let Some(instead) = instead {
                    io::copy(&mut self.contents.content(size), &mut io::sink())?;
                    let header = self.header(tar::EntryType::Regular, mode, instead.len() as u64);
                    tar_entry::append(tar, header, &path, instead.as_slice())?;
                } else {
                    let header = self.header(tar::EntryType::Regular, mode, size);
                    tar_entry::append(tar, header, &path, self.contents.content(size))?;
                }
                self.contents.end_of_content()
            }
        }
    }

    fn header(&self, kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_mtime(self.time);
        header.set_uid(0);
        header.set_gid(0);
        header
    }
}

/// Gathers small writes into pieces.
struct Pieces {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        self.pieces.blocking_send(Ok(Bytes::from(piece))).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use futures_util::TryStreamExt as _;

    use super::super::{Repository, TreeSummary, Within};
    use super::*;
    use crate::model::CommitId;

    /// A bare repository with one commit of `files` (path, mode, content), made by git itself.
    fn committed(files: &[(&str, &str, &[u8])]) -> (tempfile::TempDir, Repository, CommitId) {
        let directory = tempfile::tempdir().unwrap();
        let git = |arguments: &[&str], input: &[u8]| {
            let mut child = Command::new("git")
                .arg("--git-dir")
                .arg(directory.path())
                .args(arguments)
                .envs([
                    ("GIT_AUTHOR_NAME", "A"),
                    ("GIT_AUTHOR_EMAIL", "a@b"),
                    ("GIT_COMMITTER_NAME", "A"),
                    ("GIT_COMMITTER_EMAIL", "a@b"),
                ])
                .env("GIT_COMMITTER_DATE", "1000000000 +0000")
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(input).unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "git {arguments:?}");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        git(&["init", "--quiet", "--bare"], b"");
        for (path, mode, content) in files {
            let id = git(&["hash-object", "-w", "--stdin"], content);
            git(&["update-index", "--add", "--cacheinfo", &format!("{mode},{id},{path}")], b"");
        }
        let tree = git(&["write-tree"], b"");
        let commit = git(&["commit-tree", "-m", "first", &tree], b"").parse().unwrap();
        let repository = Repository::open(directory.path()).unwrap();
        (directory, repository, commit)
    }

    fn below_app() -> TarShape {
        TarShape { prefix: PathBuf::from("app"), ..TarShape::default() }
    }

    type Entries = BTreeMap<String, (u8, u32, Vec<u8>)>;

    async fn unpacked(stream: TarStream) -> Entries {
        let bytes: Vec<u8> = stream.map_ok(|piece| piece.to_vec()).try_concat().await.unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let read = |entry: io::Result<tar::Entry<'_, &[u8]>>| {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let (kind, mode) = (entry.header().entry_type().as_byte(), entry.header().mode().unwrap());
            let mut content = entry.link_name_bytes().map(|target| target.to_vec()).unwrap_or_default();
            io::Read::read_to_end(&mut entry, &mut content).unwrap();
            (path, (kind, mode, content))
        };
        archive.entries().unwrap().map(read).collect()
    }

    #[tokio::test]
    async fn the_archive_holds_the_tree_as_it_is() {
        let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
        let big = vec![7; 300 << 10];
        let (_directory, repository, commit) = committed(&[
            ("Procfile", "100644", b"web: ./serve\n"),
            ("bin/serve", "100755", b"#!/bin/sh\n"),
            ("link", "120000", b"../../etc/passwd"),
            ("empty", "100644", b""),
            ("big", "100644", &big),
            ("d\u{fc}rr/\u{1f600}", "100644", b"odd"),
            (&long, "100644", b"long"),
        ]);
        let entries = unpacked(repository.tar(&commit, below_app()).unwrap()).await;
        let is = |path: &str| {
            entries.get(&format!("app/{path}")).unwrap_or_else(|| panic!("no {path} in {:?}", entries.keys()))
        };
        assert_eq!(is("Procfile"), &(b'0', 0o644, b"web: ./serve\n".to_vec()));
        assert_eq!(is("bin/serve").1, 0o755);
        assert_eq!(is("link"), &(b'2', 0o777, b"../../etc/passwd".to_vec()), "a symlink stays one");
        assert_eq!(is("empty").2, b"");
        assert_eq!(is("big").2, big);
        assert_eq!(is("d\u{fc}rr/\u{1f600}").2, b"odd");
        assert_eq!(is(&long).2, b"long");
        assert!(entries.keys().all(|path| path.starts_with("app")), "{:?}", entries.keys());
    }

    #[tokio::test]
    async fn what_the_rules_leave_out_is_not_in_it() {
        let (_directory, repository, commit) = committed(&[
            ("Procfile", "100644", b"web: x\n"),
            ("docs/a/b.md", "100644", b"text"),
            ("src/docs.rs", "100644", b"code"),
            ("big.psd", "100644", b"picture"),
            ("keep.psd", "100644", b"picture"),
        ]);
        let left_out = LeftOut::by("# not needed\ndocs/\n*.psd\n!keep.psd\n");
        let entries = unpacked(repository.tar(&commit, TarShape { left_out, ..below_app() }).unwrap()).await;
        let paths: Vec<&str> = entries.keys().map(|path| path.trim_end_matches('/')).collect();
        assert_eq!(paths, ["app", "app/Procfile", "app/keep.psd", "app/src", "app/src/docs.rs"]);
    }

    #[test]
    fn what_is_elsewhere_is_found_but_for_what_is_left_out() {
        let pointer =
            format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12345\n", "a".repeat(64));
        let (_directory, repository, commit) = committed(&[
            ("assets/.gitattributes", "100644", b"*.png filter=lfs diff=lfs merge=lfs -text\n"),
            ("assets/logo.png", "100644", pointer.as_bytes()),
            ("assets/real.png", "100644", &[7; 130]),
            ("theme", "160000", b"0"),
        ]);
        let theme = "c227083464fb9af8955c90d2924774ee50abb547"; // What git calls that content.
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let found = repository.elsewhere(&commit, &LeftOut::default()).unwrap();
        let submodules: Vec<_> =
            found.submodules.iter().map(|link| (link.path.clone(), link.commit.as_str())).collect();
        assert_eq!(submodules, [("theme".into(), theme)]);
        assert_eq!(found.lfs, paths(&["assets/logo.png"]));
        let left_out = LeftOut::by("theme\n/assets/logo.png\n");
        assert_eq!(repository.elsewhere(&commit, &left_out).unwrap(), super::super::Elsewhere::default());
        let (_other, without_attribute, commit) = committed(&[("logo.png", "100644", pointer.as_bytes())]);
        assert_eq!(without_attribute.elsewhere(&commit, &LeftOut::default()).unwrap().lfs, paths(&[]));
    }

    #[tokio::test]
    async fn files_may_have_another_content_than_in_the_tree_or_stand_beside_it() {
        let (_directory, repository, commit) = committed(&[
            ("a", "100755", b"in the tree"),
            ("d/a", "100644", b"elsewhere"),
            ("z", "100644", b"in the tree"),
        ]);
        let shape = TarShape {
            replaced: BTreeMap::from([("a".into(), b"instead".to_vec()), ("none".into(), b"not there".to_vec())]),
            added: BTreeMap::from([("z".into(), b"after it".to_vec()), ("beside".into(), b"new".to_vec())]),
            ..below_app()
        };
        let entries = unpacked(repository.tar(&commit, shape).unwrap()).await;
        assert_eq!(entries["app/a"], (b'0', 0o755, b"instead".to_vec()));
        assert_eq!((&*entries["app/d/a"].2, &*entries["app/z"].2), (&b"elsewhere"[..], &b"after it"[..]));
        assert!(!entries.contains_key("app/none"));
        assert_eq!(entries["app/beside"], (b'0', 0o644, b"new".to_vec()));
        let at_root = TarShape { prefix: PathBuf::new(), ..TarShape::default() };
        let entries = unpacked(repository.tar(&commit, at_root).unwrap()).await;
        assert_eq!(entries.keys().map(String::as_str).collect::<Vec<_>>(), ["a", "d", "d/a", "z"]);
    }

    #[tokio::test]
    async fn a_commit_comes_from_another_repository_without_a_ref() {
        let (from, _, commit) = committed(&[("a", "100644", b"1")]);
        let to = tempfile::tempdir().unwrap();
        git2::Repository::init_bare(to.path()).unwrap();
        let repository = Repository::open(to.path()).unwrap();
        assert!(repository.bring(&"1".repeat(40).parse().unwrap(), from.path()).is_err());
        assert!(repository.tree_id(&commit).is_err());
        repository.bring(&commit, from.path()).unwrap();
        assert_eq!(Repository::open(to.path()).unwrap().file(&commit, "a", 9).unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(repository.reference("refs/heads/main").unwrap(), None);
        assert!(!to.path().join("FETCH_HEAD").exists());
    }

    #[test]
    fn a_summary_counts_and_stops_when_it_is_too_much() {
        let (_directory, repository, commit) =
            committed(&[("a", "100644", b"12345"), ("b/c", "100644", b"123"), ("b/d", "120000", b"a")]);
        assert_eq!(
            repository.summary(&commit, Within::EVERYTHING).unwrap(),
            TreeSummary { files: 3, directories: 1, bytes: 9 }
        );
        assert!(repository.summary(&commit, Within { files: 1, bytes: 100 }).unwrap().files > 1);
    }

    #[test]
    fn directories_that_name_each_other_into_billions_are_not_walked_to_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let repository = git2::Repository::init_bare(directory.path()).unwrap();
        let mut id = repository.treebuilder(None).unwrap().write().unwrap();
        for _level in 0..12 {
            let mut builder = repository.treebuilder(None).unwrap();
            (0..10).for_each(|n| drop(builder.insert(format!("d{n}"), id, 0o040_000).unwrap()));
            id = builder.write().unwrap();
        }
        let (tree, who) = (repository.find_tree(id).unwrap(), git2::Signature::now("A", "a@b").unwrap());
        let commit = repository.commit(None, &who, &who, "bomb", &tree, &[]).unwrap().to_string().parse().unwrap();
        let within = Within { files: 1000, bytes: 1 << 20 };
        let found = Repository::open(directory.path()).unwrap().summary(&commit, within).unwrap();
        assert!(!within.holds(found) && found.files == 0, "{found:?}");
    }

    #[test]
    fn a_file_is_read_when_it_is_small_enough() {
        let (_directory, repository, commit) =
            committed(&[("Procfile", "100644", b"web: x\n"), ("d/e", "100644", b"")]);
        assert_eq!(repository.file(&commit, "Procfile", 100).unwrap().as_deref(), Some(&b"web: x\n"[..]));
        assert_eq!(repository.file(&commit, "d", 100).unwrap(), None);
        assert_eq!(repository.file(&commit, "none", 100).unwrap(), None);
        assert!(repository.file(&commit, "Procfile", 3).is_err());
        assert_eq!(repository.root_names(&commit).unwrap(), [("Procfile".to_owned(), false), ("d".to_owned(), true)]);
    }

    #[test]
    fn a_ref_moves_only_from_where_it_was_seen() {
        let (_directory, repository, commit) = committed(&[("a", "100644", b"1")]);
        let name = "refs/heads/main";
        repository.move_reference(name, None, &commit, "first").unwrap();
        assert_eq!(repository.reference(name).unwrap().as_ref(), Some(&commit));
        let again = repository.move_reference(name, None, &commit, "as if it were new");
        assert!(matches!(again, Err(GitError::Moved { .. })), "{again:?}");
    }

    /// Whether git reads that repository's contents for somebody now.
    fn is_read(repository: &Path) -> bool {
        let is_reader = |entry: io::Result<std::fs::DirEntry>| {
            let line = std::fs::read(entry.ok()?.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).into_owned();
            (line.contains("cat-file") && line.contains(repository.to_str()?)).then_some(())
        };
        std::fs::read_dir("/proc").unwrap().find_map(is_reader).is_some()
    }

    #[tokio::test]
    async fn a_reader_that_leaves_ends_the_threads_and_git() {
        let big = vec![1; 4 << 20];
        let (directory, repository, commit) = committed(&[("big", "100644", &big)]);
        let mut stream = repository.tar(&commit, below_app()).unwrap();
        stream.try_next().await.unwrap().expect("a first piece");
        assert!(is_read(directory.path()), "git has more to give than was taken");
        drop(stream);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while is_read(directory.path()) {
            assert!(std::time::Instant::now() < deadline, "git outlived its reader");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}
