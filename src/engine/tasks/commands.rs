//! Tasks that are processes of this machine: each in a session of its own, so that it outlives the engine.

use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::super::core::{Exit, NotLaunched};
use super::super::environment;
use super::super::instance::{Handle, Placed, Ports, TaskId};
use super::account::Account;
use super::fetch::Readers;
use super::{Report, Sandboxes, Tasks, lock};
use crate::marathon::App;

/// Begins a new session and becomes the program; part of every Debian.
const SETSID: &str = "/usr/bin/setsid";

impl Tasks {
    /// Starts a command; none when nothing came of it, which is reported.
    pub(super) async fn launch_command(
        &self,
        task: &TaskId,
        app: &App,
        placed: &Placed,
        token: &CancellationToken,
    ) -> Option<Child> {
        let limit = self.setting().launch_timeout;
        let started = tokio::select! {
            started = tokio::time::timeout(limit, self.start_command(task, app, placed)) => {
                started.unwrap_or_else(|_| Err(overdue(task, limit)))
            }
            () = token.cancelled() => Err(NotLaunched::Aborted),
        };
        let child = match started {
            Ok(child) => child,
            Err(why) => {
                self.report(Report::NotLaunched { task: task.clone(), why });
                return None;
            }
        };
        let pid = number(&child);
        // It cannot have been reaped, so it is still there to be looked at.
        let handle = Handle::Process { pid, started: started_at(pid).unwrap_or_default() };
        lock(&self.0.children).insert(task.clone());
        let at = self.setting().clock.now();
        self.report(Report::Started { task: task.clone(), handle, address: None, at });
        Some(child)
    }

    /// Waits for the end of a command that this engine started.
    pub(super) async fn await_child(&self, task: &TaskId, mut child: Child) {
        let pid = number(&child);
        let exit = child.wait().await.map_or(Exit::Unknown("nobody saw it end"), exit);
        end_group(pid);
        lock(&self.0.children).remove(task);
        self.report(Report::Ended { task: task.clone(), exit });
    }

    async fn start_command(&self, task: &TaskId, app: &App, placed: &Placed) -> Result<Child, NotLaunched> {
        let failed = |error: &dyn std::fmt::Display| NotLaunched::Failed(format!("cannot run the command: {error}"));
        let account = Account::of(app).map_err(|error| NotLaunched::Failed(error.to_string()))?;
        let readers = account.map_or(Readers::Own, |Account { uid, gid }| Readers::User { uid, gid });
        let furnished = self.furnish(task, app, readers).await;
        furnished.map_err(|error| NotLaunched::Failed(error.to_string()))?;
        if let Some(account) = account {
            account.let_in(&self.setting().sandboxes, task).map_err(|error| failed(&error))?;
        }
        self.report(Report::Launching(task.clone()));
        let argv = match &app.cmd {
            Some(cmd) => vec!["/bin/sh".to_owned(), "-c".to_owned(), cmd.clone()],
            None => app.args.clone(),
        };
        let outputs = self.setting().sandboxes.open_outputs(task);
        let [stdout, stderr] = outputs.map_err(|error| failed(&error))?;
        let mut command = self.command(SETSID, &argv, task, app, &placed.ports, account);
        command.stdout(stdout).stderr(stderr).spawn().map_err(|error| failed(&error))
    }

    /// A program in the task's sandbox, with the task's environment, as the task's user.
    pub(super) fn command(
        &self,
        runner: &str,
        argv: &[String],
        task: &TaskId,
        app: &App,
        ports: &Ports,
        account: Option<Account>,
    ) -> Command {
        let setting = self.setting();
        let sandbox = setting.sandboxes.sandbox(task);
        let mut whole = vec![runner.to_owned()];
        whole.extend(account.map(Account::prefix).unwrap_or_default());
        whole.extend_from_slice(argv);
        let mut command = Command::new(&whole[0]);
        command
            .args(&whole[1..])
            .env_clear()
            // Nothing of the engine's own environment: it may hold its credentials.
            .env("PATH", &setting.path)
            .env("MESOS_DIRECTORY", &sandbox)
            .env("MESOS_EXECUTOR_ID", task.to_string())
            .env("MESOS_FRAMEWORK_ID", format!("{}-0000", setting.engine))
            .env("MESOS_SLAVE_ID", format!("{}-S0", setting.engine))
            .envs(environment::of_task(app, task, ports, &setting.host, &sandbox.to_string_lossy()))
            .current_dir(&sandbox)
            .stdin(Stdio::null());
        command
    }

    /// SIGTERM to the process and all it started, SIGKILL after `grace`.
    pub(super) async fn end_process(&self, task: &TaskId, pid: i32, began: u64, grace: Duration) {
        if started_at(pid) != Some(began) {
            return self.report(Report::Ended { task: task.clone(), exit: Exit::Unknown("it was gone already") });
        }
        signal_group(pid, Signal::TERM);
        if tokio::time::timeout(grace, gone(pid, began)).await.is_err() {
            end_group(pid);
        }
    }

    /// Waits for the end of a process that is no child of this one.
    pub(super) async fn await_process(&self, task: &TaskId, pid: i32, began: u64) {
        gone(pid, began).await;
        end_group(pid);
        let exit = Exit::Unknown("it ended; how, only the engine that began it could have seen");
        self.report(Report::Ended { task: task.clone(), exit });
    }

    /// Looks out for what a command writes, so that its outputs can be cut.
    pub(super) fn follow_writes(&self, task: &TaskId) {
        for output in self.setting().sandboxes.outputs(task) {
            // What an earlier engine let it write too much of.
            bound(&output);
            if let Some(Err(error)) = self.0.writes.as_ref().map(|writes| writes.look_out_for(&output)) {
                tracing::warn!(%task, %error, "an output of a task is not bounded");
            }
        }
    }

    /// Cuts commands' outputs whenever they have become too long.
    pub async fn bound_outputs(&self) {
        let Some(writes) = &self.0.writes else { return };
        loop {
            match writes.next().await {
                Ok(written) => {
                    // Copying what is kept waits for the disk.
                    let cut = tokio::task::spawn_blocking(move || written.iter().for_each(|output| bound(output)));
                    if let Err(error) = cut.await {
                        tracing::error!(%error, "cutting outputs did not end as it should");
                    }
                }
                Err(error) => return tracing::error!(%error, "the outputs of tasks are no longer bounded"),
            }
        }
    }
}

fn bound(output: &Path) {
    if let Err(error) = Sandboxes::bound(output) {
        tracing::warn!(output = %output.display(), %error, "cannot cut an output");
    }
}

/// A descriptor that can be waited for.
#[allow(deprecated, reason = "its successor is for types whose descriptor may change; an OwnedFd's never does")]
pub(super) fn watched(descriptor: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(descriptor)
}

/// Waits until the process is gone; at once when it is, or when its number is another's.
async fn gone(pid: i32, began: u64) {
    let Some(number) = Pid::from_raw(pid) else { return };
    let Ok(process) = rustix::process::pidfd_open(number, PidfdFlags::NONBLOCK) else { return };
    if started_at(pid) != Some(began) {
        return;
    }
    // It becomes readable when the process has ended.
    match watched(process) {
        Ok(process) => {
            let _ = process.readable().await;
        }
        Err(error) => tracing::warn!(pid, %error, "cannot wait for a process"),
    }
}

/// The places of `session` and `starttime`, the 6th and 22nd field, after the first two, which are the number and the
/// name.
const SESSION: usize = 6 - 3;
const START_TIME: usize = 22 - 3;

/// When a process began, in clock ticks since the machine's start; none when there is no such process.
fn started_at(pid: i32) -> Option<u64> {
    stat(pid, START_TIME)
}

fn stat<T: std::str::FromStr>(pid: i32, field: usize) -> Option<T> {
    // The name, in brackets, may hold anything; what follows its end is numbers.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.rsplit_once(')')?.1;
    after_name.split_whitespace().nth(field)?.parse().ok()
}

fn number(child: &Child) -> i32 {
    child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default()
}

/// A launch that takes too long is tried again.
pub(super) fn overdue(task: &TaskId, limit: Duration) -> NotLaunched {
    tracing::warn!(%task, "not running after {} s: the launch is given up and tried again", limit.as_secs());
    NotLaunched::Aborted
}

fn signal_group(pid: i32, signal: Signal) {
    if let Some(group) = Pid::from_raw(pid) {
        // Gone already is as good.
        let _ = rustix::process::kill_process_group(group, signal);
    }
}

/// Ends what a task left behind.
pub(super) fn end_group(pid: i32) {
    signal_group(pid, Signal::KILL);
}

fn exit(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Status(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Unknown("nobody saw how it ended"),
    }
}

/// The process of a task that an earlier engine began: still that one, if its handle is known, or found by its
/// environment, if the engine was killed before it could note the handle.
pub fn find_process(task: &TaskId, handle: Option<&Handle>) -> Option<Handle> {
    match handle {
        Some(Handle::Process { pid, started: began }) => (started_at(*pid) == Some(*began) && !is_zombie(*pid))
            .then_some(Handle::Process { pid: *pid, started: *began }),
        Some(Handle::Container(_)) => None,
        None => search(&format!("MESOS_TASK_ID={task}")),
    }
}

/// The leader of a session with that variable in its environment.
fn search(variable: &str) -> Option<Handle> {
    let processes = std::fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    processes.filter(|pid| is_session_leader(*pid)).find_map(|pid: i32| {
        let environment = std::fs::read(Path::new("/proc").join(pid.to_string()).join("environ")).ok()?;
        let has = environment.split(|byte| *byte == 0).any(|found| found == variable.as_bytes());
        has.then(|| started_at(pid)).flatten().map(|started| Handle::Process { pid, started })
    })
}

/// Asked of `/proc`: the session of the kernel's own threads is 0, which is no process, and `getsid` cannot say so.
fn is_session_leader(pid: i32) -> bool {
    stat(pid, SESSION) == Some(pid)
}

fn is_zombie(pid: i32) -> bool {
    let Some(process) = Pid::from_raw(pid) else { return true };
    let Ok(process) = rustix::process::pidfd_open(process, PidfdFlags::empty()) else { return true };
    let mut ended = [PollFd::new(&process, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut ended, Some(&at_once)).is_ok_and(|ready| ready > 0)
}

/// Ends processes because the engine ends: SIGTERM to all, SIGKILL to each after its grace.
pub(in crate::engine) async fn end_all(processes: Vec<(i32, u64, Duration)>) {
    let ending = processes.into_iter().filter(|(pid, began, _)| started_at(*pid) == Some(*began)).map(
        |(pid, began, grace)| async move {
            signal_group(pid, Signal::TERM);
            if tokio::time::timeout(grace, gone(pid, began)).await.is_err() {
                end_group(pid);
            }
        },
    );
    futures_util::future::join_all(ending).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_is_known_by_when_it_began_and_its_end_is_seen() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = i32::try_from(child.id().unwrap()).unwrap();
        let began = started_at(pid).unwrap();
        let handle = Handle::Process { pid, started: began };
        let task = "a.instance-0ec8a2b0-e722-11f1-aa61-0242189058f9._app.1".parse().unwrap();
        assert_eq!(find_process(&task, Some(&handle)), Some(handle.clone()));
        assert_eq!(find_process(&task, Some(&Handle::Process { pid, started: began + 1 })), None);
        child.start_kill().unwrap();
        tokio::time::timeout(Duration::from_secs(5), gone(pid, began)).await.unwrap();
        // Ended, though nobody has asked how.
        assert_eq!(find_process(&task, Some(&handle)), None);
        child.wait().await.unwrap();
    }

    #[test]
    fn a_process_that_nobody_noted_is_looked_for_among_all_that_the_machine_has() {
        let task: TaskId = "a.instance-0ec8a2b0-e722-11f1-aa61-0242189058f9._app.2".parse().unwrap();
        assert_eq!(find_process(&task, None), None);
        let began =
            std::process::Command::new(SETSID).args(["sleep", "1000"]).env("MESOS_TASK_ID", task.to_string()).spawn();
        let mut child = began.unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        // It becomes a session's leader, and then another program.
        let found = (0..500).find_map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            find_process(&task, None)
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(found, Some(Handle::Process { pid: found, .. }) if found == pid), "{found:?}");
    }

    #[test]
    fn a_process_that_is_not_there_never_began() {
        assert_eq!(started_at(i32::MAX), None);
        assert_eq!(started_at(i32::try_from(std::process::id()).unwrap()).map(|ticks| ticks > 0), Some(true));
    }
}
