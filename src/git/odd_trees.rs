//! Trees as git can hold them and people seldom make them: what becomes of each in the archive.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use flate2::{Compress, Compression, FlushCompress};
use futures_util::TryStreamExt as _;
use git2::Oid;

use super::{LeftOut, Repository, TarShape, TarStream, TreeSummary, Within};
use crate::model::CommitId;

const FILE: i32 = 0o100_644;
const PROGRAM: i32 = 0o100_755;
const SYMLINK: i32 = 0o120_000;
const DIRECTORY: i32 = 0o040_000;

/// A repository, made object by object.
struct Bare {
    directory: tempfile::TempDir,
    git: git2::Repository,
}

impl Bare {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let git = git2::Repository::init_bare(directory.path()).unwrap();
        Self { directory, git }
    }

    fn blob(&self, content: impl AsRef<[u8]>) -> Oid {
        self.git.blob(content.as_ref()).unwrap()
    }

    fn tree(&self, entries: &[(&[u8], i32, Oid)]) -> Oid {
        let mut builder = self.git.treebuilder(None).unwrap();
        for (name, mode, id) in entries {
            builder.insert(*name, *id, *mode).unwrap();
        }
        builder.write().unwrap()
    }

    fn commit(&self, tree: Oid) -> (Repository, CommitId) {
        let (tree, who) = (self.git.find_tree(tree).unwrap(), git2::Signature::now("A", "a@b").unwrap());
        let commit = self.git.commit(None, &who, &who, "odd", &tree, &[]).unwrap().to_string();
        (Repository::open(self.directory.path()).unwrap(), commit.parse().unwrap())
    }

    async fn archived(&self, tree: Oid, prefix: &str) -> Entries {
        let (repository, commit) = self.commit(tree);
        let shape = TarShape { prefix: prefix.into(), ..TarShape::default() };
        entries(repository.tar(&commit, shape).unwrap()).await
    }
}

/// Kind, mode, and content or target by path.
type Entries = BTreeMap<Vec<u8>, (u8, u32, Vec<u8>)>;

async fn entries(stream: TarStream) -> Entries {
    let bytes: Vec<u8> = stream.map_ok(|piece| piece.to_vec()).try_concat().await.unwrap();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let read = |entry: io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let (kind, mode) = (entry.header().entry_type().as_byte(), entry.header().mode().unwrap());
        let mut content = entry.link_name_bytes().map(|target| target.to_vec()).unwrap_or_default();
        entry.read_to_end(&mut content).unwrap();
        (entry.path_bytes().to_vec(), (kind, mode, content))
    };
    archive.entries().unwrap().map(read).collect()
}

#[tokio::test]
async fn a_name_arrives_byte_by_byte_whatever_it_is() {
    let bare = Bare::new();
    let longest = "n".repeat(255);
    let not_text = [b"\xff\xfe".as_slice(), &[0xfd; 200]].concat();
    let names: [&[u8]; 16] = [
        b"new\nline",
        b"-rf",
        b" ",
        b" before and after ",
        b"back\\slash",
        b"*?[a]{b}",
        b"'\"`$(x)",
        b"\x01\x1b[2J\x7f",
        b"\xff\xfe",
        &not_text,
        "d\u{fc}rr".as_bytes(),
        "du\u{308}rr".as_bytes(),
        "\u{1f600}".as_bytes(),
        b"...",
        b"C:",
        longest.as_bytes(),
    ];
    let content = bare.blob("here");
    let files: Vec<_> = names.iter().map(|name| (*name, FILE, content)).collect();
    let flat = bare.tree(&files);
    // As far below the root as Linux takes it.
    let deep = (0..14).fold(flat, |below, _| bare.tree(&[(longest.as_bytes(), DIRECTORY, below)]));
    for prefix in ["app", ""] {
        let found = bare.archived(deep, prefix).await;
        let root = [prefix.as_bytes(), b"/"].concat();
        let above =
            [if prefix.is_empty() { b"" } else { root.as_slice() }, format!("{longest}/").repeat(14).as_bytes()]
                .concat();
        for name in names {
            let path = [above.as_slice(), name].concat();
            assert_eq!(
                found.get(&path),
                Some(&(b'0', 0o644, b"here".to_vec())),
                "{:?}",
                name.escape_ascii().to_string()
            );
        }
        assert_eq!(found.len(), names.len() + 14 + usize::from(!prefix.is_empty()));
    }
    let found = bare.archived(flat, "").await;
    assert_eq!(found.into_keys().collect::<Vec<_>>(), {
        let mut names = names.map(<[u8]>::to_vec).to_vec();
        names.sort();
        names
    });
}

#[tokio::test]
async fn a_path_around_the_lengths_that_archives_change_at_is_whole() {
    let bare = Bare::new();
    let content = bare.blob("here");
    for length in [95, 96, 97, 99, 100, 101, 154, 155, 156, 254, 255] {
        for prefix in ["app", ""] {
            let name = "x".repeat(length);
            let inner = bare.tree(&[(name.as_bytes(), FILE, content)]);
            let found = bare.archived(bare.tree(&[(b"d", DIRECTORY, inner)]), prefix).await;
            let path = Path::new(prefix).join("d").join(&name);
            assert!(
                found.contains_key(path.to_str().unwrap().as_bytes()),
                "{length} below {prefix:?}: {:?}",
                found.keys()
            );
        }
    }
}

#[tokio::test]
async fn programs_stay_programs_and_nothing_else_becomes_one() {
    let bare = Bare::new();
    let id = bare.blob("#!/bin/sh\n");
    let below = bare.tree(&[(b"plain", FILE, id), (b"program", PROGRAM, id)]);
    let tree = bare.tree(&[(b"d", DIRECTORY, below), (b"plain", FILE, id), (b"program", PROGRAM, id)]);
    let found = bare.archived(tree, "app").await;
    let modes =
        ["app/d", "app/d/plain", "app/d/program", "app/plain", "app/program"].map(|path| found[path.as_bytes()].1);
    assert_eq!(modes, [0o755, 0o644, 0o755, 0o644, 0o755]);
}

#[tokio::test]
async fn a_symlink_stays_what_it_is_wherever_it_points_and_nobody_follows_it() {
    let bare = Bare::new();
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    std::fs::write(&secret, "of this host").unwrap();
    let (secret, long) = (secret.to_str().unwrap().to_owned(), "a/".repeat(1500));
    let targets: [&[u8]; 13] = [
        secret.as_bytes(),
        b"nowhere/at/all",
        b"/etc/passwd",
        b"../../../../../etc/passwd",
        b".",
        b"/",
        b"./here",
        b"a//b/./c/../d/",
        b"with\nnewline",
        b"\xff\xfe",
        b"itself-12",
        &[b'x'; 100],
        long.as_bytes(),
    ];
    let names: Vec<String> = (0..targets.len()).map(|number| format!("itself-{number}")).collect();
    let links: Vec<_> = names.iter().zip(targets).map(|(name, to)| (name.as_bytes(), SYMLINK, bare.blob(to))).collect();
    let tree = bare.tree(&links);
    let found = bare.archived(tree, "app").await;
    for (name, target) in names.iter().zip(targets) {
        assert_eq!(
            found[format!("app/{name}").as_bytes()],
            (b'2', 0o777, target.to_vec()),
            "{}",
            target.escape_ascii()
        );
    }
    assert_eq!(found.len(), 1 + targets.len());
    // Nor where we read a file ourselves.
    let (repository, commit) = bare.commit(tree);
    assert_eq!(repository.file(&commit, "itself-0", 1 << 20).unwrap(), None);
    assert!(repository.file(&commit, "itself-4/itself-0", 1 << 20).unwrap().is_none());
}

#[tokio::test]
async fn an_empty_tree_is_an_empty_directory_also_below_the_root() {
    let bare = Bare::new();
    let empty = bare.tree(&[]);
    let directory = (b'5', 0o755, Vec::new());
    assert_eq!(bare.archived(empty, "app").await, Entries::from([(b"app".to_vec(), directory.clone())]));
    assert_eq!(bare.archived(empty, "").await, Entries::new());
    let holding = bare.tree(&[(b"e", DIRECTORY, empty)]);
    let found = bare.archived(holding, "app").await;
    assert_eq!(found, Entries::from([(b"app".to_vec(), directory.clone()), (b"app/e".to_vec(), directory)]));
    let (repository, commit) = bare.commit(holding);
    let found = repository.summary(&commit, Within::EVERYTHING).unwrap();
    assert_eq!(found, TreeSummary { files: 0, directories: 1, bytes: 0 });
    assert_eq!(repository.elsewhere(&commit, &LeftOut::default()).unwrap(), super::Elsewhere::default());
}

/// 5 GB, of which the loose object takes some megabytes.
const LARGE: u64 = 5_000_000_000;
/// What git calls so many zeros.
const LARGE_ID: &str = "41ba8fda505291b7403d5aa7da0555bf04de80a2";

/// The object as git would write it, but for the time that this takes: what is the same is compressed once.
fn large_object() -> Vec<u8> {
    const PIECE: usize = 1 << 20;
    let header = format!("blob {LARGE}\0");
    let mut deflate = Compress::new(Compression::best(), false);
    let mut piece = |content: &[u8], flush| {
        let mut out = Vec::with_capacity(PIECE);
        deflate.compress_vec(content, &mut out, flush).unwrap();
        out
    };
    let zeros = vec![0; PIECE];
    let mut object = vec![0x78, 0x9c];
    object.extend(piece(header.as_bytes(), FlushCompress::Full));
    let same = piece(&zeros, FlushCompress::Full);
    (0..LARGE / PIECE as u64).for_each(|_| object.extend(&same));
    let rest = usize::try_from(LARGE % PIECE as u64).unwrap();
    object.extend(piece(&zeros[..rest], FlushCompress::Finish));
    object.extend(adler32(header.as_bytes(), LARGE).to_be_bytes());
    object
}

/// Of a beginning and so many zeros after it.
fn adler32(beginning: &[u8], zeros: u64) -> u32 {
    const MODULUS: u64 = 65521;
    let next = |(a, b): (u64, u64), byte: &u8| ((a + u64::from(*byte)) % MODULUS, (a + b + u64::from(*byte)) % MODULUS);
    let (a, b) = beginning.iter().fold((1, 0), next);
    u32::try_from(((b + a * (zeros % MODULUS)) % MODULUS) << 16 | a).unwrap()
}

/// The kernel's peak figure of a process, in KiB.
fn peak(process: &Path) -> u64 {
    let status = std::fs::read_to_string(process.join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// git's process that reads contents of that repository.
fn reader_of(repository: &Path) -> Option<PathBuf> {
    let is_it = |process: &PathBuf| {
        let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains("cat-file") && line.contains(repository.to_str().unwrap())
    };
    std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path()).find(is_it)
}

#[tokio::test]
async fn a_file_of_five_gigabytes_passes_and_no_memory_grows_with_it() {
    const ENOUGH_KIB: u64 = 512 << 10;
    let bare = Bare::new();
    let directory = bare.directory.path().join("objects").join(&LARGE_ID[..2]);
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join(&LARGE_ID[2..]), large_object()).unwrap();
    let tree = bare.tree(&[(b"large", FILE, LARGE_ID.parse().unwrap()), (b"small", FILE, bare.blob("after it"))]);
    let (repository, commit) = bare.commit(tree);
    let found = repository.summary(&commit, Within::EVERYTHING).unwrap();
    assert_eq!(found, TreeSummary { files: 2, directories: 0, bytes: LARGE + 8 });

    let mut stream = repository.tar(&commit, TarShape::default()).unwrap();
    let (mut taken, mut first, mut last, mut reader) = (0, None, Vec::new(), 0);
    while let Some(piece) = stream.try_next().await.unwrap() {
        taken += piece.len() as u64;
        first.get_or_insert_with(|| piece.clone());
        last = piece.to_vec();
        if reader == 0 && taken > LARGE / 10 * 9 {
            reader = peak(&reader_of(bare.directory.path()).expect("it has more to give"));
        }
    }
    let header = tar::Header::from_byte_slice(&first.unwrap()[..512]).clone();
    assert_eq!((header.path_bytes().as_ref(), header.size().unwrap()), (b"large".as_slice(), LARGE));
    let blocks = |bytes: u64| bytes.div_ceil(512) * 512;
    assert_eq!(taken, 512 + blocks(LARGE) + 512 + blocks(8) + 1024);
    assert!(last.windows(8).any(|window| window == b"after it"), "what comes after it is in its place");
    let ours = peak(Path::new("/proc/self"));
    assert!(reader < ENOUGH_KIB && ours < ENOUGH_KIB, "git took {reader} KiB, we {ours} KiB");
}
