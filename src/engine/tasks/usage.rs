//! What tasks use: containers as Docker tells, processes as the kernel does. Asked when somebody wants to know.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt as _;

use super::super::instance::{Handle, TaskId};
use super::Tasks;
use crate::docker::Usage;

/// Containers that Docker is asked about at a time.
const AT_ONCE: usize = 16;
/// How long one container may take, and all.
const PATIENCE: Duration = Duration::from_secs(2);
const WHOLE_PATIENCE: Duration = Duration::from_secs(8);

impl Tasks {
    /// What tasks that run use; without those of which it cannot be told in time.
    pub async fn usage(&self, tasks: Vec<(TaskId, Handle)>) -> HashMap<TaskId, Usage> {
        let (mut containers, mut processes) = (Vec::new(), HashMap::new());
        for (task, handle) in tasks {
            match handle {
                Handle::Container(id) => containers.push((task, id)),
                // Each is the leader of a session of its own.
                Handle::Process { pid, .. } => {
                    processes.insert(pid, task);
                }
            }
        }
        let docker = &self.setting().docker;
        let asked = futures_util::stream::iter(containers).map(|(task, id)| async move {
            let usage = tokio::time::timeout(PATIENCE, docker.container_usage(&id)).await;
            Some((task, usage.ok()?.ok()??))
        });
        let answers = asked.buffer_unordered(AT_ONCE).take_until(tokio::time::sleep(WHOLE_PATIENCE));
        let of_processes = tokio::task::spawn_blocking(move || of_sessions(&processes));
        let (containers, processes) = tokio::join!(answers.filter_map(std::future::ready).collect(), of_processes);
        let mut usage: HashMap<_, _> = containers;
        usage.extend(processes.unwrap_or_default());
        usage
    }
}

/// What all processes of each session use.
fn of_sessions(tasks: &HashMap<i32, TaskId>) -> HashMap<TaskId, Usage> {
    let mut found = HashMap::new();
    if tasks.is_empty() {
        return found;
    }
    let (ticks, page) = (rustix::param::clock_ticks_per_second(), rustix::param::page_size() as u64);
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        // One that is gone in the meantime uses nothing.
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some(process) = Process::read(&stat) else { continue };
        let Some(task) = tasks.get(&process.session) else { continue };
        let usage = found.entry(task.clone()).or_insert(Usage {
            user: Duration::ZERO,
            system: Duration::ZERO,
            memory_bytes: 0,
            memory_limit_bytes: None,
        });
        usage.user += seconds(process.user, ticks);
        usage.system += seconds(process.system, ticks);
        usage.memory_bytes += process.pages * page;
    }
    found
}

fn seconds(ticks: u64, per_second: u64) -> Duration {
    Duration::from_millis(ticks.saturating_mul(1000) / per_second.max(1))
}

/// A process, of whose `/proc/<pid>/stat` this much matters.
#[derive(Debug, PartialEq, Eq)]
struct Process {
    session: i32,
    /// In clock ticks, with the children that have ended.
    user: u64,
    system: u64,
    pages: u64,
}

impl Process {
    fn read(stat: &str) -> Option<Self> {
        // The name, in brackets, may hold anything; what follows its end is numbers, of which the first is the third.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3);
        let ticks = |number| field(number)?.parse::<u64>().ok();
        Some(Self {
            session: field(6)?.parse().ok()?,
            user: ticks(14)? + ticks(16)?,
            system: ticks(15)? + ticks(17)?,
            pages: ticks(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_processes_figures_are_read_whatever_it_is_called() {
        let stat = "7 (a ) b) S 1 7 5 0 -1 4194304 90 0 0 0 11 22 100 200 20 0 1 0 500 1000000 33 184 1 1";
        assert_eq!(Process::read(stat), Some(Process { session: 5, user: 111, system: 222, pages: 33 }));
        assert_eq!(Process::read("nonsense"), None);
    }

    /// In a session of its own: that of the tests themselves may lie outside their pid namespace, where it has no number.
    #[test]
    fn a_sessions_processes_are_counted_together() {
        let mut leader = Command::new("setsid")
            .args(["sh", "-c", "echo ready; read line"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(leader.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let session = i32::try_from(leader.id()).unwrap();
        let task: TaskId = "a.instance-0ec8a2b0-e722-11f1-aa61-0242189058f9._app.1".parse().unwrap();
        let found = of_sessions(&HashMap::from([(session, task.clone())]));
        let others = of_sessions(&HashMap::from([(i32::MAX, task.clone())]));
        drop(leader.stdin.take());
        leader.wait().unwrap();
        assert!(found[&task].memory_bytes > 0);
        assert_eq!(found[&task].memory_limit_bytes, None);
        assert!(others.is_empty());
    }
}
