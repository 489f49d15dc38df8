//! What a process uses of the machine, as the kernel counts it.

use std::collections::BTreeMap;
use std::fs::read_to_string;
use std::path::Path;
use std::time::Duration;

/// What a process has used up to a moment.
#[derive(Debug, Clone)]
pub struct Usage {
    /// Memory in KiB: now, and at the most so far.
    pub resident: u64,
    pub peak: u64,
    /// Processor time of all its threads; the kernel counts in hundredths of a second.
    pub busy: Duration,
    /// How many times each of its threads was given a processor, by the thread's number.
    switches: BTreeMap<String, u64>,
}

impl Usage {
    pub fn of(pid: u32) -> Self {
        let place = format!("/proc/{pid}");
        let status = read_to_string(format!("{place}/status")).unwrap();
        let stat = read_to_string(format!("{place}/stat")).unwrap();
        // The 14th and 15th field; the name, in brackets, is the second.
        let after_name: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = after_name[11..=12].iter().map(|field| field.parse::<u64>().unwrap()).sum();
        let threads = std::fs::read_dir(format!("{place}/task")).unwrap().flatten();
        let switches =
            threads.map(|thread| (thread.file_name().to_string_lossy().into_owned(), switches(&thread.path())));
        let switches = switches.collect();
        Self {
            resident: field(&status, "VmRSS:"),
            peak: field(&status, "VmHWM:"),
            busy: Duration::from_millis(ticks * 10),
            switches,
        }
    }
}

impl Usage {
    /// How many times a thread was given a processor since then.
    pub fn switches_since(&self, before: &Self) -> u64 {
        let old = |thread: &String| before.switches.get(thread).copied().unwrap_or(0);
        self.switches.iter().map(|(thread, count)| count.saturating_sub(old(thread))).sum()
    }
}

/// A thread that has just ended has none.
fn switches(thread: &Path) -> u64 {
    let status = read_to_string(thread.join("status")).unwrap_or_default();
    field(&status, "voluntary_ctxt_switches:") + field(&status, "nonvoluntary_ctxt_switches:")
}

fn field(status: &str, name: &str) -> u64 {
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
