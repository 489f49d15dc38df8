//! The command line that people use.

use std::process::ExitCode;

fn main() -> ExitCode {
    // A variable that is no text cannot be a setting of ours.
    let vars =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    ExitCode::from(paas::cli::main(std::env::args_os(), vars))
}
