//! Peak memory of processes of ours while something large passes through them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Reads the kernel's own peak figure (`VmHWM`) of every process of ours again and again until stopped.
pub struct MemoryWatch {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<BTreeMap<String, u64>>,
}

impl MemoryWatch {
    pub fn start(home: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (asked_to_stop, home) = (Arc::clone(&stop), home.to_owned());
        let thread = std::thread::spawn(move || {
            let mut peaks = BTreeMap::new();
            while !asked_to_stop.load(Ordering::Relaxed) {
                for (process, peak) in processes_of_ours(&home) {
                    let highest = peaks.entry(process).or_insert(0);
                    *highest = peak.max(*highest);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            peaks
        });
        Self { stop, thread }
    }

    pub fn stop(self) -> BTreeMap<String, u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the watch does not panic")
    }
}

/// Command (its first words) and peak resident KiB of each process that runs one of our binaries for that home.
fn processes_of_ours(home: &Path) -> Vec<(String, u64)> {
    let binaries = [env!("CARGO_BIN_EXE_paas"), env!("CARGO_BIN_EXE_paas-receive")];
    let home = home.to_string_lossy();
    let of_process = |entry: std::fs::DirEntry| {
        let process = entry.path();
        let program = std::fs::read_link(process.join("exe")).ok()?;
        if !binaries.iter().any(|binary| Path::new(binary) == program) {
            return None;
        }
        let (line, environment) =
            (std::fs::read(process.join("cmdline")).ok()?, std::fs::read(process.join("environ")).ok()?);
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if !line.contains(&*home) && !String::from_utf8_lossy(&environment).contains(&*home) {
            return None;
        }
        let status = std::fs::read_to_string(process.join("status")).ok()?;
        let peak =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix(" kB")?.parse().ok()?;
        let name = program.file_name()?.to_string_lossy().into_owned();
        Some((format!("{name} {}", line.split(' ').skip(1).take(2).collect::<Vec<_>>().join(" ")), peak))
    };
    std::fs::read_dir("/proc").expect("/proc").filter_map(Result::ok).filter_map(of_process).collect()
}

/// Bytes that no compressor shortens, different for each seed (xorshift64*).
pub fn incompressible(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(bytes).collect()
}
