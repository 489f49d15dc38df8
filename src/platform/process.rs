//! Processes as the kernel shows them: who they are, whose children, and how to end and await one that is not ours.
//!
//! A process is its pid and the moment it began, since pids are given out again.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// The kernel ends a killed process at once, unless its disk does not answer; then there is no use in waiting.
const UNTIL_KILLED: Duration = Duration::from_secs(10);

/// One process, and never another that later has its pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub pid: i32,
    /// Clock ticks from the machine's start to the process'.
    started: u64,
}

/// What `/proc/<pid>/stat` says of interest.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: i32,
    started: u64,
    /// It ended, and its parent has not asked how.
    zombie: bool,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The program's name comes second, in brackets, and may hold anything; the fields after it are counted from its end.
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
            zombie: *fields.first()? == "Z",
        })
    }
}

impl Process {
    /// The running process with that pid now.
    pub fn with_pid(pid: i32) -> Option<Self> {
        let stat = Stat::read(pid).filter(|stat| !stat.zombie)?;
        Some(Self { pid, started: stat.started })
    }

    pub(super) fn own() -> Self {
        let pid = i32::try_from(std::process::id()).expect("Linux gives out no larger pids");
        Self::with_pid(pid).expect("this process runs")
    }

    pub(super) fn runs(self) -> bool {
        Self::with_pid(self.pid) == Some(self)
    }

    /// All that run and that this user may see.
    fn all() -> impl Iterator<Item = (Self, Stat)> {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter_map(|pid| {
            let stat = Stat::read(pid).filter(|stat| !stat.zombie)?;
            Some((Self { pid, started: stat.started }, stat))
        })
    }

    pub(super) fn children_of(parent: i32) -> Vec<Self> {
        Self::all().filter(|(_, stat)| stat.parent == parent).map(|(process, _)| process).collect()
    }

    /// Those whose arguments are `wanted`.
    pub(super) fn with_arguments(wanted: impl Fn(&[String]) -> bool) -> Vec<Self> {
        Self::all().map(|(process, _)| process).filter(|process| wanted(&process.arguments())).collect()
    }

    fn arguments(self) -> Vec<String> {
        let raw = std::fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        raw.split(|byte| *byte == 0).map(|argument| String::from_utf8_lossy(argument).into_owned()).collect()
    }

    /// The program's name, as `ps` shows it.
    pub(super) fn name(self) -> String {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", self.pid)).unwrap_or_default();
        name.trim().to_owned()
    }

    /// True when one of its open files is `link`, such as `socket:[4711]`.
    pub(super) fn has_open(self, link: &str) -> bool {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.pid)).into_iter().flatten().flatten();
        files.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|target| target == Path::new(link))
    }

    pub(super) fn find_with_open(link: &str) -> Option<Self> {
        Self::all().map(|(process, _)| process).find(|process| process.has_open(link))
    }

    /// Asks it to end and waits until it has; after `patience` it is killed. Nothing happens when it has ended already.
    pub async fn end(self, patience: Duration) -> io::Result<()> {
        let Some(handle) = self.handle()? else { return Ok(()) };
        signal(&handle, Signal::TERM)?;
        if !ended(&handle, patience).await? {
            signal(&handle, Signal::KILL)?;
            ended(&handle, UNTIL_KILLED).await?;
        }
        Ok(())
    }

    /// A handle that becomes readable when the process ends; none when it has.
    fn handle(self) -> io::Result<Option<Arc<OwnedFd>>> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(None) };
        match pidfd_open(pid, PidfdFlags::empty()) {
            // The handle is of whoever has the pid now; from here on that cannot change any more.
            Ok(handle) if self.runs() => Ok(Some(Arc::new(handle))),
            Ok(_) | Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Waits for the end of a process, on a thread that may block; false when `patience` was not enough.
async fn ended(process: &Arc<OwnedFd>, patience: Duration) -> io::Result<bool> {
    let process = Arc::clone(process);
    let waiting = tokio::task::spawn_blocking(move || {
        let patience = Timespec::try_from(patience).map_err(|_| rustix::io::Errno::INVAL)?;
        retry_on_intr(|| poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&patience)))
    });
    match waiting.await {
        Ok(ready) => Ok(ready? > 0),
        Err(ended) => std::panic::resume_unwind(ended.into_panic()),
    }
}

/// Having ended between two looks is as good as being told to.
fn signal(process: &OwnedFd, signal: Signal) -> io::Result<()> {
    match pidfd_send_signal(process, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_cannot_disguise_its_numbers_by_its_name() {
        let line = "42 (a) Z 1 (b)) S 7 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 2 3";
        assert_eq!(Stat::parse(line), Some(Stat { parent: 7, started: 123_456, zombie: false }));
        assert_eq!(Stat::parse("nonsense"), None);
    }

    #[tokio::test]
    async fn a_process_is_found_ended_and_known_to_be_gone() {
        let mut child = std::process::Command::new("sleep").arg("98.765").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let process = Process::with_pid(pid).unwrap();
        assert!(process.runs() && Process::own().runs());
        assert!(Process::children_of(Process::own().pid).contains(&process));
        process.end(Duration::from_secs(10)).await.unwrap();
        assert!(!process.runs(), "not even as a zombie");
        child.wait().unwrap();
        process.end(Duration::from_secs(10)).await.unwrap();
    }

    #[tokio::test]
    async fn what_does_not_end_by_itself_is_killed() {
        let mut child =
            std::process::Command::new("sh").args(["-c", "trap '' TERM; sleep 98 & wait; wait"]).spawn().unwrap();
        let process = Process::with_pid(i32::try_from(child.id()).unwrap()).unwrap();
        let sleep = loop {
            // The shell has ignored the signal once its own child is there.
            if let Some(sleep) = Process::children_of(process.pid).first() {
                break *sleep;
            }
            tokio::task::yield_now().await;
        };
        process.end(Duration::from_millis(100)).await.unwrap();
        assert!(!process.runs());
        sleep.end(Duration::ZERO).await.unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn another_process_with_the_same_pid_is_another() {
        let impostor = Process { started: 1, ..Process::own() };
        assert!(!impostor.runs());
    }
}
