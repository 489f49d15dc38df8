//! Unpacks archives, into a directory in which there is nothing else.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use tar::EntryType;

use super::allowance::{Allowance, Exceeded};
use super::artifact::{Archive, Compression};
use crate::model::in_full;

/// Why an archive was not unpacked.
#[derive(Debug, thiserror::Error)]
pub(in crate::engine::tasks) enum UnpackError {
    #[error("it needs the program `{program}`, which is not installed; install `{package}`")]
    NoProgram { program: &'static str, package: &'static str },
    #[error("`{program}` could not read it: {said}")]
    Program { program: &'static str, said: String },
    #[error("the archive names `{0}`, which is not inside of the sandbox")]
    Outside(PathBuf),
    #[error("the archive holds the device or pipe `{0}`")]
    Device(PathBuf),
    #[error(transparent)]
    Exceeded(#[from] Exceeded),
    #[error("{}", in_full(.0))]
    Failed(io::Error),
}

impl From<io::Error> for UnpackError {
    fn from(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Exceeded>()) {
            Some(exceeded) => Self::Exceeded(*exceeded),
            None => Self::Failed(error),
        }
    }
}

/// Unpacks the archive, which is called `name` and is at `path`, into the empty directory `into`.
pub(super) fn unpack(
    archive: Archive,
    name: &str,
    path: &Path,
    into: &Path,
    allowance: &Allowance,
) -> Result<(), UnpackError> {
    let file = File::open(path)?;
    match archive {
        Archive::Tar(Compression::None) => untar(allowance.metered(file), into, allowance),
        // In the program itself: every machine can, without another one, and hostile bytes meet no C.
        Archive::Tar(Compression::Gzip) => untar(allowance.metered(MultiGzDecoder::new(file)), into, allowance),
        Archive::Tar(Compression::Bzip2) => untar_by(&BZIP2, file, into, allowance),
        Archive::Tar(Compression::Xz) => untar_by(&XZ, file, into, allowance),
        Archive::Gzip => {
            let name = name.strip_suffix(".gz").filter(|name| !name.is_empty()).unwrap_or("unpacked");
            let mut unpacked = File::create_new(into.join(name))?;
            io::copy(&mut allowance.metered(MultiGzDecoder::new(file)), &mut unpacked)?;
            Ok(())
        }
        Archive::Zip => unzip(path, into, allowance),
    }
}

fn untar(reader: impl Read, into: &Path, allowance: &Allowance) -> Result<(), UnpackError> {
    let mut archive = tar::Archive::new(reader);
    archive.set_preserve_mtime(true);
    let mut directories = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        allowance.spend_entry()?;
        let path = entry.path()?.into_owned();
        match entry.header().entry_type() {
            EntryType::Block | EntryType::Char | EntryType::Fifo => return Err(UnpackError::Device(path)),
            // Last, the deepest first: one of them may forbid to write into it.
            EntryType::Directory => {
                directories.push(entry);
                continue;
            }
            // Its holes are in no archive.
            EntryType::GNUSparse => allowance.spend(entry.size())?,
            _ => {}
        }
        if !entry.unpack_in(into)? {
            return Err(UnpackError::Outside(path));
        }
    }
    directories.sort_by(|one, other| other.path_bytes().cmp(&one.path_bytes()));
    for mut directory in directories {
        if !directory.unpack_in(into)? {
            return Err(UnpackError::Outside(directory.path()?.into_owned()));
        }
    }
    Ok(())
}

/// A program that writes what it unpacks to its standard output.
struct Decompressor {
    program: &'static str,
    arguments: &'static [&'static str],
    package: &'static str,
}

const BZIP2: Decompressor = Decompressor { program: "bzip2", arguments: &["-dc"], package: "bzip2" };
/// An archive says how much memory its reader needs: up to 4 GiB, if it may.
const XZ: Decompressor =
    Decompressor { program: "xz", arguments: &["-dc", "--memlimit-decompress=256MiB"], package: "xz-utils" };
const UNZIP: Decompressor = Decompressor { program: "unzip", arguments: &["-q", "-o"], package: "unzip" };

/// Ended with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Decompressor {
    fn start(&self, prepare: impl FnOnce(&mut Command)) -> Result<Running, UnpackError> {
        let mut command = Command::new(self.program);
        command.args(self.arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        prepare(&mut command);
        match command.spawn() {
            Ok(child) => Ok(Running(child)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(UnpackError::NoProgram { program: self.program, package: self.package })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for its end, which must be a good one.
    fn finish(&self, mut running: Running) -> Result<(), UnpackError> {
        /// Enough for a few lines.
        const LONGEST: u64 = 500;
        let mut said = Vec::new();
        if let Some(stderr) = running.0.stderr.take() {
            let _ = stderr.take(LONGEST).read_to_end(&mut said);
        }
        let status = running.0.wait()?;
        let said = String::from_utf8_lossy(&said).trim().replace('\n', "; ");
        let said = if said.is_empty() { status.to_string() } else { said };
        if status.success() { Ok(()) } else { Err(UnpackError::Program { program: self.program, said }) }
    }
}

fn untar_by(program: &Decompressor, file: File, into: &Path, allowance: &Allowance) -> Result<(), UnpackError> {
    let mut running = program.start(|command| {
        command.stdin(file);
    })?;
    let mut output =
        allowance.metered(running.0.stdout.take().ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?);
    let unpacked = untar(&mut output, into, allowance);
    if unpacked.is_ok() {
        // After the archive's end there may be more, which the program wants to be rid of.
        io::copy(&mut output, &mut io::sink())?;
    }
    drop(output);
    match (unpacked, program.finish(running)) {
        // What `tar` cannot make sense of is what the program could not read.
        (Err(UnpackError::Failed(_)), Err(program)) => Err(program),
        (Err(error), _) | (Ok(()), Err(error)) => Err(error),
        (Ok(()), Ok(())) => Ok(()),
    }
}

/// `unzip` reads no stream and knows no bound: what it makes is watched.
fn unzip(path: &Path, into: &Path, allowance: &Allowance) -> Result<(), UnpackError> {
    const BETWEEN_LOOKS: Duration = Duration::from_millis(50);
    let mut running = UNZIP.start(|command| {
        command.arg(path).arg("-d").arg(into).stdout(Stdio::null());
    })?;
    loop {
        let ended = running.0.try_wait()?.is_some();
        let (bytes, entries) = size(into)?;
        allowance.allows(bytes, entries)?;
        if ended {
            allowance.spend(bytes)?;
            return UNZIP.finish(running);
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
}

/// Bytes and entries below a directory, in which somebody may be at work.
fn size(directory: &Path) -> io::Result<(u64, u64)> {
    let (mut bytes, mut entries) = (0, 0);
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            entries += 1;
            match entry.metadata() {
                Ok(found) if found.is_dir() => left.push(entry.path()),
                Ok(found) => bytes += found.len(),
                // It has got another name meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok((bytes, entries))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;

    use flate2::Compression as Level;
    use flate2::write::GzEncoder;
    use tempfile::TempDir;
    use tokio_util::sync::CancellationToken;

    use super::*;

    fn header(kind: EntryType, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o640);
        header.set_size(size);
        header
    }
    /// Written by hand: a builder refuses such names.
    fn entry(tar: &mut Vec<u8>, kind: EntryType, name: &str, link: &str, data: &[u8]) {
        let mut header = header(kind, data.len() as u64);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        tar.extend_from_slice(header.as_bytes());
        tar.extend_from_slice(data);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    fn ended(mut tar: Vec<u8>) -> Vec<u8> {
        tar.extend([0; 1024]);
        tar
    }
    fn gzipped(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    struct Place {
        dir: TempDir,
        allowance: Allowance,
    }
    impl Place {
        fn new() -> Self {
            Self { dir: tempfile::tempdir().unwrap(), allowance: Allowance::of(1 << 20, 50, CancellationToken::new()) }
        }
        fn target(&self) -> PathBuf {
            self.dir.path().join("into")
        }
        fn unpack(&self, archive: Archive, name: &str, data: &[u8]) -> Result<(), UnpackError> {
            let path = self.dir.path().join("archive");
            std::fs::write(&path, data).unwrap();
            std::fs::create_dir(self.target()).unwrap();
            unpack(archive, name, &path, &self.target(), &self.allowance)
        }
    }

    #[test]
    fn directories_files_and_links_come_out_as_they_went_in() {
        let place = Place::new();
        let mut tar = Vec::new();
        entry(&mut tar, EntryType::Directory, "d/", "", b"");
        entry(&mut tar, EntryType::Regular, "d/file", "", b"hello");
        entry(&mut tar, EntryType::Symlink, "d/link", "file", b"");
        entry(&mut tar, EntryType::Link, "hard", "d/file", b"");
        place.unpack(Archive::Tar(Compression::Gzip), "x.tgz", &gzipped(&ended(tar))).unwrap();
        // The directory's own mode has no `x`: root does not need it, and the owner may give it back.
        std::fs::set_permissions(place.target().join("d"), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(std::fs::read_to_string(place.target().join("d/link")).unwrap(), "hello");
        assert_eq!(std::fs::read_to_string(place.target().join("hard")).unwrap(), "hello");
    }

    /// Puts entries into an archive.
    type Write<'a> = &'a dyn Fn(&mut Vec<u8>);

    #[test]
    fn a_hostile_archive_writes_nothing_outside() {
        let outside = tempfile::tempdir().unwrap();
        let out = outside.path().to_str().unwrap();
        let climbing = |tar: &mut Vec<u8>| entry(tar, EntryType::Regular, "../x", "", b"bad");
        let through_link = |tar: &mut Vec<u8>| {
            entry(tar, EntryType::Symlink, "l", out, b"");
            entry(tar, EntryType::Regular, "l/x", "", b"bad");
        };
        let over_link = |tar: &mut Vec<u8>| {
            entry(tar, EntryType::Symlink, "l", &format!("{out}/kept"), b"");
            entry(tar, EntryType::Regular, "l", "", b"bad");
        };
        let directory_over_link = |tar: &mut Vec<u8>| {
            entry(tar, EntryType::Symlink, "l", out, b"");
            entry(tar, EntryType::Directory, "l/", "", b"");
        };
        let hard_link = |tar: &mut Vec<u8>| entry(tar, EntryType::Link, "x", "../../../../../../etc/passwd", b"");
        let device = |tar: &mut Vec<u8>| entry(tar, EntryType::Char, "null", "", b"");
        std::fs::write(outside.path().join("kept"), "kept").unwrap();
        let cases: [(&str, Write, bool); 6] = [
            ("climbing", &climbing, true),
            ("through a link", &through_link, true),
            ("over a link", &over_link, false),
            ("a directory over a link", &directory_over_link, false),
            ("a hard link", &hard_link, true),
            ("a device", &device, true),
        ];
        let mode = || std::fs::metadata(outside.path()).unwrap().permissions();
        let before = mode();
        for (what, write, refused) in cases {
            let (place, mut tar) = (Place::new(), Vec::new());
            write(&mut tar);
            let unpacked = place.unpack(Archive::Tar(Compression::None), "x.tar", &ended(tar));
            assert!(!refused || unpacked.is_err(), "{what}");
            assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1, "{what}");
            assert_eq!(std::fs::read_to_string(outside.path().join("kept")).unwrap(), "kept", "{what}");
            assert_eq!(mode(), before, "{what}");
            assert!(!place.dir.path().join("x").exists(), "{what}");
        }
    }

    #[test]
    fn a_bomb_is_stopped() {
        let bomb = gzipped(&vec![0; 2 << 20]);
        let alone = Place::new().unpack(Archive::Gzip, "x.gz", &bomb);
        assert!(matches!(alone, Err(UnpackError::Exceeded(Exceeded::Bytes))), "{alone:?}");
        let mut many = Vec::new();
        for number in 0..60 {
            entry(&mut many, EntryType::Regular, &number.to_string(), "", b"");
        }
        let many = Place::new().unpack(Archive::Tar(Compression::None), "x.tar", &ended(many));
        assert!(matches!(many, Err(UnpackError::Exceeded(Exceeded::Entries))), "{many:?}");
    }

    #[test]
    fn a_single_file_loses_the_ending_of_its_name() {
        let place = Place::new();
        place.unpack(Archive::Gzip, "notes.txt.gz", &gzipped(b"hello")).unwrap();
        assert_eq!(std::fs::read_to_string(place.target().join("notes.txt")).unwrap(), "hello");
    }

    #[test]
    fn what_is_no_archive_is_said_to_be_none() {
        for (archive, words) in [
            (Archive::Tar(Compression::Gzip), "invalid gzip header"),
            (Archive::Tar(Compression::Bzip2), "`bzip2` could not read it"),
            (Archive::Tar(Compression::Xz), "`xz` could not read it"),
            (Archive::Zip, "`unzip` could not read it"),
        ] {
            match Place::new().unpack(archive, "x", b"this is no archive of any kind") {
                Err(UnpackError::NoProgram { .. }) => {}
                Err(error) => assert!(error.to_string().contains(words), "{archive:?}: {error}"),
                Ok(()) => panic!("{archive:?}"),
            }
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_asked_for() {
        let missing = Decompressor { program: "no-such-program", arguments: &[], package: "such" };
        let error = missing.start(|_| {}).err().unwrap().to_string();
        assert!(error.contains("`no-such-program`") && error.contains("install `such`"), "{error}");
    }
}
