//! The command line `paas`: one file per noun, each with its arguments, a call of the library, and the answer.
//!
//! A new noun is a file with a `#[derive(clap::Args)]` struct (or a subcommand enum) that has
//! `pub(super) async fn run(self, settings: &Settings, ui: &mut Ui) -> anyhow::Result<()>` (without `settings` where
//! the command needs none), a variant of [`Noun`], and a line in [`Noun::run`].

mod down;
mod engine;
mod failures;
mod init;
mod keys;
mod remote;
mod stack;
mod status;
mod store;
mod tenant;
mod up;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;

use crate::settings::{Settings, SettingsError};
use crate::ui::{Form, Ui, Wishes};

/// What `paas --help` says after the options.
const EXIT_STATUS: &str = "\
Exit status:
  0  it was done
  1  it was tried and failed
  2  the command line is wrong
  3  what is asked for is not there, is there already, or its state forbids it
  4  the platform, or a part that the command needs, cannot be reached

Settings are in config.yml in the platform's home; PAAS_* variables override them (PAAS_SSH_PORT for `ssh: {port: …}`).";

/// One `git push` turns a repository into running, health-checked processes
#[derive(Debug, Parser)]
#[command(name = "paas", version, after_help = EXIT_STATUS, propagate_version = true, disable_help_subcommand = true)]
pub struct Paas {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    noun: Noun,
}

/// What every command understands.
#[derive(Debug, Clone, clap::Args)]
struct Global {
    /// The platform's home [default: /var/lib/paas as root, else ~/.local/share/paas]
    #[arg(long, global = true, value_name = "DIR", env = "PAAS_HOME", hide_env_values = true)]
    home: Option<PathBuf>,
    /// Answer with one JSON document
    #[arg(long, global = true)]
    json: bool,
    /// Say nothing but answers, warnings and failures
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Use no colours; `NO_COLOR` does the same
    #[arg(long, global = true)]
    no_color: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Noun {
    Down(down::Down),
    Init(init::Init),
    Engine(engine::Engine),
    Keys(keys::Keys),
    Stack(stack::Stack),
    Status(status::Status),
    Tenant(tenant::Tenants),
    Up(up::Up),
}

impl Noun {
    async fn run(self, world: World, ui: &mut Ui) -> anyhow::Result<()> {
        match self {
            Self::Down(down) => down.run(&world.settings()?, ui).await,
            Self::Init(init) => init.run(&world.settings()?, ui).await,
            Self::Engine(engine) => engine.run(&world.vars, ui).await,
            Self::Keys(keys) => {
                let user_home = world.user_home();
                keys.run(&world.settings()?, user_home.as_deref(), ui).await
            }
            Self::Stack(stack) => stack.run(&world.settings()?, ui).await,
            Self::Status(status) => status.run(&world.settings()?, ui).await,
            Self::Tenant(tenant) => tenant.run(&world.settings()?, ui).await,
            Self::Up(up) => up.run(world.home, world.vars, ui).await,
        }
    }
}

/// What the process was given from outside, read once.
#[derive(Debug)]
struct World {
    home: Option<PathBuf>,
    vars: Vec<(String, String)>,
}

impl World {
    /// The caller's own home directory.
    fn user_home(&self) -> Option<PathBuf> {
        self.vars.iter().find(|(name, value)| name == "HOME" && !value.is_empty()).map(|(_, home)| PathBuf::from(home))
    }

    fn settings(self) -> Result<Settings, SettingsError> {
        Settings::load(self.home, self.vars.into_iter())
    }
}

/// Runs the command line of `args` with the environment `vars` and gives the exit status.
pub fn main(args: impl Iterator<Item = OsString>, vars: impl Iterator<Item = (String, String)>) -> u8 {
    let vars: Vec<(String, String)> = vars.collect();
    let paas = match Paas::try_parse_from(args) {
        Ok(paas) => paas,
        Err(error) => {
            // Help and version are no failures, and go to stdout; a reader that left needs neither.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(1);
        }
    };
    let mut ui = Ui::of_process(paas.global.wishes(&vars));
    match paas.run(vars, &mut ui) {
        Ok(()) => 0,
        Err(error) => ui.fail(&error, failures::exit_of(&error)),
    }
}

impl Paas {
    fn run(self, vars: Vec<(String, String)>, ui: &mut Ui) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(self.noun.run(World { home: self.global.home, vars }, ui))
    }
}

impl Global {
    fn wishes(&self, vars: &[(String, String)]) -> Wishes {
        let no_color = self.no_color || vars.iter().any(|(name, value)| name == "NO_COLOR" && !value.is_empty());
        let form = if self.json { Form::Json } else { Form::Text };
        Wishes { form, quiet: self.quiet, colour: !no_color }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Paas::command().debug_assert();
    }
}
