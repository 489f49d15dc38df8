//! What sshd runs for a key, and git's hooks.

use std::process::ExitCode;

use paas::cli;
use paas::receive::command::{Ended, World, run};
use paas::ui::{Exit, Failure, Form, Ui, Wishes};

fn main() -> ExitCode {
    // A variable that is no text is nothing of ours.
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let world = World {
        args: std::env::args_os().collect(),
        vars: std::env::vars_os().filter_map(text).collect(),
        program: std::env::current_exe().unwrap_or_default(),
    };
    // One thread: most runs are one look-up, and sshd waits for them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map_err(Into::into).and_then(|runtime| {
        let ended = runtime.block_on(run(world));
        // The watch for a hang-up may sit in a thread that nothing wakes.
        runtime.shutdown_background();
        ended
    });
    ExitCode::from(match ended {
        Ok(Ended::Status(status)) => status,
        Ok(Ended::Command { who, home, words }) => cli::serve(who, home, words),
        Ok(Ended::Newcomer { key, from, home, words }) => cli::welcome(&key, from, home, words),
        Err(error) => {
            let plain = Wishes { form: Form::Text, quiet: false, colour: false };
            let exit = error.downcast_ref().map_or(Exit::Failed, Failure::exit);
            Ui::of_process(plain).fail(&anyhow::Error::from_boxed(error), exit)
        }
    })
}
