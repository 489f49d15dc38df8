//! A task's files as clients see them: its outputs and what is in its sandbox, as one directory.
//!
//! A task may put anything into its sandbox. Nothing is opened but regular files and directories, and nothing outside
//! of the sandbox, whatever the names and links in it say.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::super::instance::TaskId;
use super::sandbox::{EARLIER, OUTPUTS, Sandboxes};

/// Most files of a directory that are listed: a task may make any number.
const MAX_LISTED: usize = 10_000;

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) task: TaskId,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// The directory itself.
    Top,
    /// One of the outputs, by its file's name.
    Output(String),
    /// Below the sandbox; not empty.
    Below(String),
}

/// What there is at a path.
#[derive(Debug)]
pub enum Found {
    /// A regular file, open, and its size in bytes.
    File(File, u64),
    Directory,
    Nothing,
}

/// A file or directory as a listing shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    pub name: String,
    /// As `ls -l` shows it.
    pub mode: String,
    pub links: u64,
    /// Names, or numbers that have none here.
    pub user: String,
    pub group: String,
    /// In bytes.
    pub size: u64,
    /// Seconds since 1970.
    pub modified: i64,
}

impl Spot {
    /// Its content may still be in Docker's hands.
    pub(super) fn has_outputs(&self) -> bool {
        matches!(self.what, What::Top | What::Output(_))
    }
}

impl Sandboxes {
    /// What a path means; none when it is no task's.
    pub(super) fn spot(&self, path: &str) -> Option<Spot> {
        let below = path.strip_prefix(self.place().to_str()?)?.strip_prefix('/')?;
        let (task, rest) = below.split_once('/').unwrap_or((below, ""));
        let task = task.parse().ok()?;
        let segments: Vec<&str> = rest.split('/').filter(|segment| !matches!(*segment, "" | ".")).collect();
        let what = match segments.as_slice() {
            [] => What::Top,
            segments if segments.contains(&"..") => return None,
            [name] if is_output(name) => What::Output((*name).to_owned()),
            [name, _, ..] if is_output(name) => return None,
            segments => What::Below(segments.join("/")),
        };
        Some(Spot { task, what })
    }

    /// Opens a file. What cannot be opened is not there.
    pub(super) fn open(&self, spot: &Spot) -> Found {
        let opened = match &spot.what {
            What::Top if self.directory(&spot.task).is_dir() => return Found::Directory,
            What::Top => return Found::Nothing,
            What::Output(name) => directory(&self.directory(&spot.task)).and_then(|at| beneath(&at, name)),
            What::Below(path) => directory(&self.sandbox(&spot.task)).and_then(|at| beneath(&at, path)),
        };
        opened.and_then(|found| content(&found)).unwrap_or(Found::Nothing)
    }

    /// What is in a directory, by name; none when it is none.
    pub(super) fn list(&self, spot: &Spot) -> Option<Vec<Listed>> {
        let names = Names::of_machine();
        let mut listed = match &spot.what {
            What::Output(_) => return None,
            What::Top => {
                let directory = directory(&self.directory(&spot.task)).ok()?;
                let outputs = list(&directory, &names, is_output).ok()?;
                let sandbox = beneath(&directory, "sandbox").and_then(|at| list(&at, &names, |name| !is_output(name)));
                [outputs, sandbox.unwrap_or_default()].concat()
            }
            What::Below(path) => {
                let sandbox = directory(&self.sandbox(&spot.task)).ok()?;
                list(&beneath(&sandbox, path).ok()?, &names, |_| true).ok()?
            }
        };
        listed.sort_by(|one, other| one.name.cmp(&other.name));
        Some(listed)
    }
}

/// Reads up to `length` bytes from `offset` on; fewer where the file ends.
pub fn read_at(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut known = 0;
    while known < length {
        match file.read_at(&mut bytes[known..], offset.saturating_add(known as u64)) {
            Ok(0) => break,
            Ok(read) => known += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(known);
    Ok(bytes)
}

fn is_output(name: &str) -> bool {
    let whole = name.strip_suffix(EARLIER).and_then(|name| name.strip_suffix('.')).unwrap_or(name);
    OUTPUTS.contains(&whole)
}

/// One of the engine's own directories.
fn directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?)
}

/// Finds what is at a path without opening it. Links are followed as long as they stay beneath the directory.
fn beneath(directory: &OwnedFd, path: &str) -> io::Result<OwnedFd> {
    /// Others move things about meanwhile: the kernel gives up, and asks for another try.
    const TRIES: u32 = 8;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..TRIES {
        match rustix::fs::openat2(directory, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            // A kernel before 5.6, or a filter that does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => return step_by_step(directory, path),
            found => return Ok(found?),
        }
    }
    Err(Errno::AGAIN.into())
}

/// The same without the kernel's help; no link is followed.
fn step_by_step(directory: &OwnedFd, path: &str) -> io::Result<OwnedFd> {
    let mut at = directory.try_clone()?;
    for segment in path.split('/') {
        if segment == ".." {
            return Err(Errno::XDEV.into());
        }
        at = rustix::fs::openat(&at, segment, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        if kind(&rustix::fs::fstat(&at)?) == FileType::Symlink {
            return Err(Errno::LOOP.into());
        }
    }
    Ok(at)
}

/// Opens what was found if it is a regular file. A pipe would never answer, and a device may do anything.
fn content(found: &OwnedFd) -> io::Result<Found> {
    match kind(&rustix::fs::fstat(found)?) {
        FileType::Directory => return Ok(Found::Directory),
        FileType::RegularFile => {}
        _ => return Ok(Found::Nothing),
    }
    let file = File::from(opened(found, OFlags::RDONLY | OFlags::NONBLOCK)?);
    let size = file.metadata()?.len();
    Ok(Found::File(file, size))
}

/// The very thing that was found, opened.
fn opened(found: &OwnedFd, flags: OFlags) -> io::Result<OwnedFd> {
    use std::os::fd::AsRawFd as _;
    let path = format!("/proc/self/fd/{}", found.as_raw_fd());
    Ok(rustix::fs::openat(CWD, path, flags | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?)
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn list(found: &OwnedFd, names: &Names, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<Listed>> {
    let directory = opened(found, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut listed = Vec::new();
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        if matches!(&*name, "." | "..") || !wanted(&name) {
            continue;
        }
        // One that is gone in the meantime is not listed.
        if let Ok(stat) = rustix::fs::statat(directory.as_fd(), entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
            listed.push(names.listed(name.into_owned(), &stat));
        }
        if listed.len() == MAX_LISTED {
            break;
        }
    }
    Ok(listed)
}

/// Whom this process runs as.
pub fn user_name() -> String {
    let user = rustix::process::geteuid().as_raw();
    Names::of_machine().users.remove(&user).unwrap_or_else(|| user.to_string())
}

/// What this machine calls its users and groups.
struct Names {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl Names {
    fn of_machine() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).map(|text| numbered(&text)).unwrap_or_default();
        Self { users: read("/etc/passwd"), groups: read("/etc/group") }
    }

    fn listed(&self, name: String, stat: &Stat) -> Listed {
        let called = |names: &HashMap<u32, String>, id: u32| names.get(&id).cloned().unwrap_or_else(|| id.to_string());
        Listed {
            name,
            mode: mode(stat),
            links: stat.st_nlink,
            user: called(&self.users, stat.st_uid),
            group: called(&self.groups, stat.st_gid),
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            modified: stat.st_mtime,
        }
    }
}

/// The first and third fields of lines such as `root:x:0:`.
fn numbered(text: &str) -> HashMap<u32, String> {
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        Some((fields.nth(1)?.parse().ok()?, name.to_owned()))
    });
    lines.collect()
}

/// Kind and permissions, as `ls -l` shows them.
fn mode(stat: &Stat) -> String {
    let kind = match kind(stat) {
        FileType::RegularFile => '-',
        FileType::Directory => 'd',
        FileType::Symlink => 'l',
        FileType::Fifo => 'p',
        FileType::Socket => 's',
        FileType::CharacterDevice => 'c',
        FileType::BlockDevice => 'b',
        FileType::Unknown => '?',
    };
    // Each with what its execution is shown as when the special bit is set.
    let parties = [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')];
    let permissions = parties.into_iter().flat_map(|(shift, special, letter)| {
        let bits = stat.st_mode >> shift;
        let execute = match (bits & 1 != 0, stat.st_mode & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        };
        [if bits & 4 != 0 { 'r' } else { '-' }, if bits & 2 != 0 { 'w' } else { '-' }, execute]
    });
    std::iter::once(kind).chain(permissions).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    struct Place {
        _state: tempfile::TempDir,
        sandboxes: Sandboxes,
        task: TaskId,
    }

    impl Place {
        fn new() -> Self {
            let state = tempfile::tempdir().unwrap();
            let sandboxes = Sandboxes::in_state(state.path());
            let task = "a.instance-0ec8a2b0-e722-11f1-aa61-0242189058f9._app.1".parse().unwrap();
            sandboxes.make(&task).unwrap();
            Self { _state: state, sandboxes, task }
        }
        fn inside(&self, name: &str) -> std::path::PathBuf {
            self.sandboxes.sandbox(&self.task).join(name)
        }
        fn path(&self, below: &str) -> String {
            format!("{}/{below}", self.sandboxes.directory(&self.task).display())
        }
        /// The content of a file; an error's text when there is none.
        fn read(&self, below: &str) -> String {
            let Some(spot) = self.sandboxes.spot(&self.path(below)) else { return "no spot".into() };
            match self.sandboxes.open(&spot) {
                Found::File(file, size) => {
                    String::from_utf8(read_at(&file, 0, usize::try_from(size).unwrap()).unwrap()).unwrap()
                }
                Found::Directory => "a directory".into(),
                Found::Nothing => "nothing".into(),
            }
        }
        fn list(&self, below: &str) -> Option<Vec<String>> {
            let spot = self.sandboxes.spot(&self.path(below))?;
            Some(self.sandboxes.list(&spot)?.into_iter().map(|listed| listed.name).collect())
        }
    }

    #[test]
    fn outputs_and_sandbox_are_one_directory_in_which_outputs_come_first() {
        let place = Place::new();
        std::fs::write(place.sandboxes.directory(&place.task).join("stdout"), "the output").unwrap();
        std::fs::write(place.sandboxes.directory(&place.task).join("stdout.1"), "before").unwrap();
        std::fs::write(place.sandboxes.directory(&place.task).join("ended"), "{}").unwrap();
        std::fs::write(place.inside("stdout"), "the task's").unwrap();
        std::fs::write(place.inside("stderr"), "the task's").unwrap();
        std::fs::write(place.inside("ended"), "the task's").unwrap();
        std::fs::create_dir(place.inside("logs")).unwrap();
        std::fs::write(place.inside("logs/a b"), "deep").unwrap();
        assert_eq!(place.list("").unwrap(), ["ended", "logs", "stdout", "stdout.1"]);
        assert_eq!(place.list("/logs/./").unwrap(), ["a b"]);
        assert_eq!((place.list("logs/a b"), place.list("stdout"), place.list("nope")), (None, None, None));
        assert_eq!((place.read("stdout"), place.read("stdout.1")), ("the output".into(), "before".into()));
        assert_eq!((place.read("stderr"), place.read("ended")), ("nothing".into(), "the task's".into()));
        assert_eq!((place.read("logs//a b"), place.read("logs")), ("deep".into(), "a directory".into()));
        assert_eq!((place.read(""), place.read("stdout/x")), ("a directory".into(), "no spot".into()));
    }

    #[test]
    fn nothing_outside_of_the_sandbox_is_reached() {
        let place = Place::new();
        std::fs::write(place.inside("file"), "inside").unwrap();
        symlink("/etc/passwd", place.inside("absolute")).unwrap();
        symlink("../../../../../../../../etc/passwd", place.inside("relative")).unwrap();
        symlink("/proc/self/root/etc/passwd", place.inside("magic")).unwrap();
        symlink("/", place.inside("root")).unwrap();
        symlink("..", place.inside("up")).unwrap();
        symlink("file", place.inside("within")).unwrap();
        symlink("loop", place.inside("loop")).unwrap();
        let bad = ["absolute", "relative", "magic", "root/etc/passwd", "up/ended", "loop", "file/x", "a\0b"];
        for path in bad {
            assert_eq!(place.read(path), "nothing", "{path}");
        }
        for path in ["../x", "a/../../x", ".."] {
            assert_eq!(place.read(path), "no spot", "{path}");
        }
        assert_eq!(place.list("root"), None);
        assert_eq!(place.read("within"), "inside");
        let directory = directory(&place.sandboxes.sandbox(&place.task)).unwrap();
        for path in ["absolute", "relative", "root/etc/passwd", "up/ended", "within", "../ended"] {
            assert!(step_by_step(&directory, path).is_err(), "{path}");
        }
        assert!(step_by_step(&directory, "file").is_ok());
    }

    #[test]
    fn pipes_and_sockets_are_listed_and_not_opened() {
        let place = Place::new();
        rustix::fs::mkfifoat(CWD, place.inside("pipe"), Mode::RUSR).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(place.inside("socket")).unwrap();
        assert_eq!((place.read("pipe"), place.read("socket")), ("nothing".into(), "nothing".into()));
        let spot = place.sandboxes.spot(&place.path("")).unwrap();
        let listed = place.sandboxes.list(&spot).unwrap();
        let kinds = listed.iter().map(|listed| listed.mode.chars().next().unwrap()).collect::<Vec<_>>();
        assert_eq!(kinds, ['p', 's']);
    }

    #[test]
    fn a_listing_says_what_ls_does() {
        let place = Place::new();
        std::fs::write(place.inside("file"), "12345").unwrap();
        std::fs::set_permissions(place.inside("file"), std::fs::Permissions::from_mode(0o4750)).unwrap();
        std::fs::hard_link(place.inside("file"), place.inside("link")).unwrap();
        let listed = place.sandboxes.list(&place.sandboxes.spot(&place.path("")).unwrap()).unwrap();
        let file = &listed[0];
        assert_eq!((file.mode.as_str(), file.links, file.size), ("-rwsr-x---", 2, 5));
        assert!(file.modified > 1_700_000_000);
        let names = Names { users: numbered("root:x:0:0:root:/root:/bin/sh\n"), groups: numbered("wheel:x:0:\nbad\n") };
        let stat = rustix::fs::stat("/").unwrap();
        let top = names.listed("/".into(), &stat);
        assert_eq!((top.user.as_str(), top.group.as_str()), ("root", "wheel"));
    }

    #[test]
    fn paths_of_others_are_no_spots() {
        let place = Place::new();
        for path in ["/etc/passwd", "", "/", &place.sandboxes.place().display().to_string(), "stdout"] {
            assert_eq!(place.sandboxes.spot(path), None, "{path}");
        }
    }
}
