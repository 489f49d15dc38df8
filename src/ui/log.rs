//! The log of programs that run for long: one line on stderr for each thing worth noting.

use std::io;

/// Writes what the library notes to stderr, plainly; from then on, for the whole process.
pub fn log_to_stderr() {
    let log = tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).with_writer(io::stderr).with_ansi(false);
    // Whoever was first decided already, which is as good.
    let _ = log.try_init();
}
