//! A root file system of Debian from nothing: debootstrap, the stack's own packages, and a tar archive of it all.
//!
//! Only root can do this. Everything runs in a namespace of mounts and processes of its own: whatever happens to this
//! program, nothing stays mounted or running.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::archive::Archive;
use super::{Progress, Say, StackError, Suite, command, content};

/// How old an archive may be to be used again. Debian's security updates are in it when it is made, so not too old.
const KEEP: Duration = Duration::from_hours(7 * 24);

/// Two copies of the system for a moment, each below 500 MiB, and as much again for Docker's own.
const NEEDED_BYTES: u64 = 1536 << 20;

/// The directory for archives that were made and for the one that is being made. One program at a time.
#[derive(Debug)]
pub(super) struct Workshop {
    folder: PathBuf,
    _lock: File,
}

impl Workshop {
    /// Waits for another program that works there.
    pub(super) async fn enter(folder: &Path, say: Say<'_>) -> Result<Self, StackError> {
        let failed = |cause| StackError::Folder { path: folder.to_owned(), cause };
        fs::create_dir_all(folder).map_err(failed)?;
        let lock = File::create(folder.join("lock")).map_err(failed)?;
        if lock.try_lock().is_err() {
            say(Progress::Step("Waiting for another `paas stack build` to end"));
            let waiting = lock.try_clone().map_err(failed)?;
            tokio::task::spawn_blocking(move || waiting.lock())
                .await
                .map_err(|_| failed(io::ErrorKind::Other.into()))?
                .map_err(failed)?;
        }
        Ok(Self { folder: folder.to_owned(), _lock: lock })
    }

    fn failed(&self, cause: io::Error) -> StackError {
        StackError::Folder { path: self.folder.clone(), cause }
    }

    fn system(&self) -> PathBuf {
        self.folder.join("system")
    }

    /// The archive of that name, when there is one that is not too old.
    pub(super) fn kept(&self, name: &str) -> Option<PathBuf> {
        let path = self.folder.join(format!("{name}.tar"));
        let made = fs::metadata(&path).and_then(|found| found.modified()).ok()?;
        SystemTime::now().duration_since(made).is_ok_and(|age| age < KEEP).then_some(path)
    }

    /// Makes the archive of a new system, and keeps it in the place of all older ones.
    pub(super) async fn make(
        &self,
        name: &str,
        suite: &Suite,
        archive: &Archive,
        say: Say<'_>,
    ) -> Result<PathBuf, StackError> {
        self.clear().await?;
        self.check_space()?;
        let made = self.make_system(name, suite, archive, say).await;
        remove_folder(&self.system()).await.map_err(|cause| self.failed(cause))?;
        made
    }

    async fn make_system(
        &self,
        name: &str,
        suite: &Suite,
        archive: &Archive,
        say: Say<'_>,
    ) -> Result<PathBuf, StackError> {
        say(Progress::Step(&format!("Installing Debian {suite} with debootstrap from {}", archive.mirror)));
        self.debootstrap(suite, archive, say).await?;
        say(Progress::Step("Adding the stack's packages"));
        self.provision(suite, archive, say).await?;
        say(Progress::Step("Packing the root file system"));
        self.pack(name, say).await
    }

    /// What an earlier program left when it was ended, and archives that this one will replace.
    async fn clear(&self) -> Result<(), StackError> {
        remove_folder(&self.system()).await.map_err(|cause| self.failed(cause))?;
        for entry in fs::read_dir(&self.folder).map_err(|cause| self.failed(cause))?.flatten() {
            if entry.path().extension().is_some_and(|kind| kind == "tar" || kind == "part") {
                fs::remove_file(entry.path()).map_err(|cause| self.failed(cause))?;
            }
        }
        Ok(())
    }

    fn check_space(&self) -> Result<(), StackError> {
        let found = rustix::fs::statvfs(&self.folder).map_err(|cause| self.failed(cause.into()))?;
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        if free < NEEDED_BYTES {
            return Err(StackError::NoSpace {
                path: self.folder.clone(),
                needed: NEEDED_BYTES >> 20,
                free: free >> 20,
            });
        }
        Ok(())
    }

    async fn debootstrap(&self, suite: &Suite, archive: &Archive, say: Say<'_>) -> Result<(), StackError> {
        let program = command::find("debootstrap").ok_or(StackError::NoDebootstrap)?;
        let mut arguments: Vec<OsString> =
            vec![program.into(), "--variant=minbase".into(), "--force-check-gpg".into(), "--merged-usr".into()];
        if let Some(keyring) = archive.keyring.as_deref().filter(|path| path.is_file()) {
            let mut option = OsString::from("--keyring=");
            option.push(keyring);
            arguments.push(option);
        }
        arguments.extend([suite.as_str().into(), self.system().into(), archive.mirror.clone().into()]);
        isolated("debootstrap", arguments, say).await
    }

    /// Runs `stack/provision` in the new system, which sees the host's network and nothing else of it.
    async fn provision(&self, suite: &Suite, archive: &Archive, say: Say<'_>) -> Result<(), StackError> {
        self.prepare(suite, archive).map_err(|cause| self.failed(cause))?;
        let script = "mount -t proc proc \"$1/proc\" && exec chroot \"$1\" \"$2\" fresh";
        let program = format!("/{}/provision", content::PROVISION_FOLDER);
        let arguments = vec![
            "/bin/sh".into(),
            "-c".into(),
            script.into(),
            "provision".into(),
            self.system().into(),
            program.into(),
        ];
        isolated("provision", arguments, say).await?;
        self.forget_host().map_err(|cause| self.failed(cause))
    }

    fn prepare(&self, suite: &Suite, archive: &Archive) -> io::Result<()> {
        let system = self.system();
        let mut files = tar::Builder::new(Vec::new());
        content::append(&mut files, content::PROVISION_FOLDER, content::PROVISION)?;
        tar::Archive::new(files.into_inner()?.as_slice()).unpack(&system)?;
        let apt = system.join("etc/apt");
        fs::remove_file(apt.join("sources.list")).or_else(absent_is_fine)?;
        fs::write(apt.join("sources.list.d/debian.sources"), archive.sources(suite))?;
        fs::write(apt.join(HOST_SETTINGS), host_settings())?;
        if let Some(keyring) = &archive.keyring {
            let place = system.join(keyring.strip_prefix("/").unwrap_or(keyring));
            if !place.exists() {
                fs::create_dir_all(place.parent().unwrap_or(&system))?;
                fs::copy(keyring, place)?;
            }
        }
        if Path::new(HOST_CERTIFICATES).exists() {
            fs::copy(HOST_CERTIFICATES, system.join(CERTIFICATES))?;
        }
        Ok(())
    }

    /// What was this host's alone: its way to the network, its name, its proxies.
    fn forget_host(&self) -> io::Result<()> {
        let system = self.system();
        let apt_settings = format!("etc/apt/{HOST_SETTINGS}");
        for path in ["etc/resolv.conf", "etc/hostname", apt_settings.as_str(), CERTIFICATES] {
            fs::remove_file(system.join(path)).or_else(absent_is_fine)?;
        }
        Ok(())
    }

    async fn pack(&self, name: &str, say: Say<'_>) -> Result<PathBuf, StackError> {
        let (part, whole) = (self.folder.join(format!("{name}.part")), self.folder.join(format!("{name}.tar")));
        let mut arguments: Vec<OsString> = vec!["--create".into(), "--file".into(), part.clone().into()];
        arguments.extend(["--numeric-owner", "--one-file-system", "--xattrs"].map(OsString::from));
        let left_out = ["./dev/*", "./proc/*", "./sys/*", "./run/*", "./tmp/stack", "./debootstrap"];
        arguments.extend(left_out.map(|path| OsString::from(format!("--exclude={path}"))));
        arguments.extend(["--directory".into(), self.system().into(), ".".into()]);
        command::run("tar", &installed("tar")?, &arguments, say).await?;
        fs::rename(&part, &whole).map_err(|cause| self.failed(cause))?;
        Ok(whole)
    }
}

/// apt's settings of the host, while the system is made; below `etc/apt`.
const HOST_SETTINGS: &str = "apt.conf.d/00-host";
/// Certificates that the host trusts: its mirrors may be reached through a proxy with a CA of its own.
const HOST_CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Where they are in the new system while it is made.
const CERTIFICATES: &str = "tmp/host-certificates.crt";

/// How the host's apt gets to its mirrors: proxies, and what it makes of their dates.
fn host_settings() -> String {
    let dump = std::process::Command::new("apt-config").arg("dump").output();
    let dump = dump.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let certificates = format!("Acquire::https::CAInfo \"/{CERTIFICATES}\";");
    ways(&dump).chain([certificates.as_str(), ""]).collect::<Vec<_>>().join("\n")
}

fn ways(dump: &str) -> impl Iterator<Item = &str> {
    const WANTED: [&str; 4] =
        ["Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::Check-Valid-Until ", "Acquire::Check-Date "];
    dump.lines().filter(|line| WANTED.iter().any(|wanted| line.starts_with(wanted)))
}

/// Runs a program whose mounts and children end with it, and which ends with us, even when we are killed.
async fn isolated(name: &str, arguments: Vec<OsString>, say: Say<'_>) -> Result<(), StackError> {
    let mut all: Vec<OsString> = ["--pdeathsig", "KILL", "unshare"].map(OsString::from).into();
    all.extend(["--mount", "--pid", "--fork", "--kill-child"].map(OsString::from));
    all.extend(arguments);
    command::run(name, &installed("setpriv")?, &all, say).await
}

/// A program that every Debian has.
fn installed(program: &str) -> Result<PathBuf, StackError> {
    let missing = || StackError::NotRun { program: program.to_owned(), cause: io::ErrorKind::NotFound.into() };
    command::find(program).ok_or_else(missing)
}

async fn remove_folder(path: &Path) -> io::Result<()> {
    tokio::fs::remove_dir_all(path).await.or_else(absent_is_fine)
}

fn absent_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path, age: Duration) {
        File::create(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
    }

    #[tokio::test]
    async fn an_archive_is_used_again_for_a_week() {
        let folder = tempfile::tempdir().unwrap();
        let workshop = Workshop::enter(folder.path(), &|_| {}).await.unwrap();
        assert_eq!(workshop.kept("a"), None);
        touch(&folder.path().join("a.tar"), KEEP / 2);
        touch(&folder.path().join("b.tar"), KEEP * 2);
        assert_eq!(workshop.kept("a"), Some(folder.path().join("a.tar")));
        assert_eq!(workshop.kept("b"), None);
    }

    #[tokio::test]
    async fn what_a_killed_program_left_is_cleared() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("system/usr")).unwrap();
        touch(&folder.path().join("a.part"), Duration::ZERO);
        touch(&folder.path().join("b.tar"), Duration::ZERO);
        let workshop = Workshop::enter(folder.path(), &|_| {}).await.unwrap();
        workshop.clear().await.unwrap();
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["lock"]);
    }

    #[tokio::test]
    async fn two_programs_work_one_after_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let first = Workshop::enter(folder.path(), &|_| {}).await.unwrap();
        let said = std::sync::Mutex::new(0);
        let say = |_: Progress<'_>| *said.lock().unwrap() += 1;
        let second = Workshop::enter(folder.path(), &say);
        tokio::pin!(second);
        tokio::select! {
            biased;
            _ = &mut second => panic!("two at once"),
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(*said.lock().unwrap(), 1);
        drop(first);
        second.await.unwrap();
    }

    #[test]
    fn of_the_hosts_settings_only_the_ways_to_mirrors_are_taken() {
        let dump =
            "APT::Architecture \"amd64\";\nAcquire::http::Proxy \"http://p:3128\";\nAcquire::Check-Date \"0\";\n";
        let taken: Vec<&str> = ways(dump).collect();
        assert_eq!(taken, ["Acquire::http::Proxy \"http://p:3128\";", "Acquire::Check-Date \"0\";"]);
    }
}
