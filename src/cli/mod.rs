//! The command line `paas`: one file per noun, each with its arguments, a call of the library, and the answer.
//!
//! A new noun is a file with a `#[derive(clap::Args)]` struct (or a subcommand enum) that has
//! `pub(super) async fn run(self, settings: &Settings, ui: &mut Ui) -> anyhow::Result<()>` (with what else the command
//! needs of [`World`]) and, unless it only works where it is typed, `deed`, by which it is decided who may; a variant of
//! [`Noun`], and a line in `place`, `deed` and `carry_out`. `tests/strangers.rs` wants to know how it is put to a tenant.

mod apps;
mod as_account;
mod audit;
mod builds;
mod client;
mod deed;
mod destination;
mod down;
mod engine;
mod failures;
mod init;
mod install;
mod join;
mod keys;
mod members;
mod over_ssh;
mod quota;
mod redeploy;
mod remote;
mod ssh_host;
mod stack;
mod status;
mod store;
mod subject;
mod tenant;
mod tokens;
mod uninstall;
mod up;
mod users;

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::Parser;

use crate::accounts::PublicKey;
use crate::accounts::access::{Caller, Identity};
use crate::settings::{Settings, SettingsError};
use crate::ui::{Exit, Failure, Form, Ui, Wishes};
use client::Client;
use deed::{Deed, Right};
use destination::{Destination, Signs};
use over_ssh::Errand;
use ssh_host::{AppRemote, SshHost};
use subject::Subject;

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
    /// The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in
    /// ~/.config/paas/config.yml, else this machine]
    #[arg(long, global = true, value_name = "HOST", env = "PAAS_HOST", hide_env_values = true)]
    host: Option<SshHost>,
    /// What the `paas` of a laptop tells of itself
    #[arg(long, global = true, hide = true, value_name = "CLIENT")]
    client: Option<Client>,
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
    Apps(apps::Apps),
    Audit(audit::Audit),
    Builds(builds::AppBuilds),
    Down(down::Down),
    Init(init::Init),
    Install(install::Install),
    Engine(engine::Engine),
    Keys(keys::Keys),
    Stack(stack::Stack),
    Status(status::Status),
    Tenant(tenant::Tenants),
    Uninstall(uninstall::Uninstall),
    Up(up::Up),
    Users(users::Users),
}

/// Where a command does its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// On the machine where it was typed.
    Here,
    /// There too, in the git work tree, for a host that may be another machine.
    WorkTree,
    /// On the receive host.
    Host,
}

impl Noun {
    fn place(&self) -> Place {
        match self {
            Self::Down(_) | Self::Engine(_) | Self::Install(_) | Self::Stack(_) | Self::Uninstall(_) | Self::Up(_) => {
                Place::Here
            }
            Self::Init(_) => Place::WorkTree,
            Self::Apps(_)
            | Self::Audit(_)
            | Self::Builds(_)
            | Self::Keys(_)
            | Self::Status(_)
            | Self::Tenant(_)
            | Self::Users(_) => Place::Host,
        }
    }

    /// What it is about to do; none for what is done with this machine by whoever sits at it.
    fn deed(&self, caller: &Caller) -> Option<Deed> {
        Some(match self {
            Self::Down(_)
            | Self::Engine(_)
            | Self::Init(_)
            | Self::Install(_)
            | Self::Stack(_)
            | Self::Uninstall(_)
            | Self::Up(_) => return None,
            Self::Apps(apps) => apps.deed(),
            Self::Audit(audit) => audit.deed(),
            Self::Builds(builds) => builds.deed(),
            Self::Keys(keys) => keys.deed(caller),
            Self::Status(_) => Deed::look(Right::SeeHost, "status"),
            Self::Tenant(tenant) => tenant.deed(),
            Self::Users(users) => users.deed(caller),
        })
    }

    /// Does it, if the caller may.
    async fn run(self, world: World, ui: &mut Ui) -> anyhow::Result<()> {
        let Some(deed) = self.deed(&world.caller) else { return self.carry_out(world, ui).await };
        let (settings, caller) = (world.settings()?, world.caller.clone());
        deed::admit(&settings, &caller, &deed).await?;
        let done = self.carry_out(world, ui).await;
        deed::note_end(&settings, &caller, &deed, &done);
        let is_done = done.as_ref().map_or_else(deed::nobody_read_of_it, |()| true);
        if is_done && deed.changes && matches!(deed.right, Right::Own | Right::ManageUsers) {
            store::tell_sshd(&settings).await?;
        }
        done
    }

    async fn carry_out(self, world: World, ui: &mut Ui) -> anyhow::Result<()> {
        match self {
            Self::Apps(apps) => apps.run(&world.settings()?, &world.caller, ui).await,
            Self::Audit(audit) => audit.run(&world.settings()?, &world.caller, ui).await,
            Self::Builds(builds) => builds.run(&world.settings()?, &world.caller, ui).await,
            Self::Down(down) => down.run(&world.settings()?, ui).await,
            Self::Init(init) => init.run(&world.settings()?, world.host, ui).await,
            Self::Install(install) => install.run(world.home, world.vars, ui).await,
            Self::Engine(engine) => engine.run(&world.vars, ui).await,
            Self::Keys(keys) => keys.run(&world.settings()?, &world.desk(), ui).await,
            Self::Stack(stack) => stack.run(&world.settings()?, ui).await,
            Self::Status(status) => status.run(&world.settings()?, ui).await,
            Self::Tenant(tenant) => tenant.run(&world.settings()?, &world.caller, ui).await,
            Self::Uninstall(uninstall) => uninstall.run(&world.settings()?, ui).await,
            Self::Up(up) => up.run(world.home, world.vars, ui).await,
            Self::Users(users) => users.run(&world.settings()?, &world.caller, ui).await,
        }
    }

    /// What is sent to the host instead of the words that were typed.
    fn errand(&self, typed: Vec<String>, user: Option<&str>, user_home: Option<&Path>) -> anyhow::Result<Errand> {
        match self {
            Self::Keys(keys) => keys.errand(typed, user_home),
            Self::Tenant(tenant) => Ok(Errand { words: tenant.named(typed, user), input: None }),
            _ => Ok(Errand { words: typed, input: None }),
        }
    }

    /// What it is about, and need not be named.
    fn subject(&mut self) -> Subject<'_> {
        match self {
            Self::Apps(apps) => apps.subject(),
            Self::Builds(builds) => builds.subject(),
            Self::Tenant(tenant) => tenant.subject(),
            _ => Subject::default(),
        }
    }
}

/// What the process was given from outside, read once.
#[derive(Debug)]
struct World {
    home: Option<PathBuf>,
    vars: Vec<(String, String)>,
    caller: Caller,
    /// The receive host, when that is another machine.
    host: Option<SshHost>,
}

impl World {
    fn settings(&self) -> Result<Settings, SettingsError> {
        Settings::load(self.home.clone(), self.vars.iter().cloned())
    }
    /// What a command may take from where it was typed.
    fn desk(&self) -> Desk {
        match &self.caller {
            Caller::Host => Desk::Typed { user_home: user_home(&self.vars) },
            Caller::Key(who) => Desk::Sent(who.clone()),
        }
    }
}

/// Where a command was typed, as far as files and keys matter.
#[derive(Debug)]
enum Desk {
    Typed {
        user_home: Option<PathBuf>,
    },
    /// On another machine, by somebody to whom the files of this one are nothing.
    Sent(Identity),
}

/// The caller's own home directory.
fn user_home(vars: &[(String, String)]) -> Option<PathBuf> {
    vars.iter().find(|(name, value)| name == "HOME" && !value.is_empty()).map(|(_, home)| PathBuf::from(home))
}

/// Runs the command line of `args` with the environment `vars` and gives the exit status.
pub fn main(args: impl Iterator<Item = OsString>, vars: impl Iterator<Item = (String, String)>) -> u8 {
    let (args, vars): (Vec<OsString>, Vec<(String, String)>) = (args.collect(), vars.collect());
    let paas = match parsed(&args) {
        Ok(paas) => paas,
        Err(status) => return status,
    };
    let mut ui = Ui::of_process(paas.global.wishes(&vars));
    ended(paas.run(&args, vars, &mut ui), &mut ui)
}

/// Runs the words that a key's user sent over ssh to the platform in `home`, and gives the exit status.
pub fn serve(who: Identity, home: PathBuf, words: Vec<String>) -> u8 {
    run_sent(words, |paas, ui| {
        paas.run_here(World { home: Some(home), vars: Vec::new(), caller: Caller::Key(who), host: None }, ui)
    })
}

/// Runs the words that somebody sent whose key nobody knows: they may join a tenant, and nothing else.
pub fn welcome(key: &PublicKey, from: Option<IpAddr>, home: PathBuf, words: Vec<String>) -> u8 {
    run_sent(words, |paas, ui| {
        let Noun::Tenant(tenant) = paas.noun else { return Err(join::unknown_key(key)) };
        let join = tenant.join().ok_or_else(|| join::unknown_key(key))?;
        let settings = Settings::load(Some(home), std::iter::empty())?;
        runtime()?.block_on(join.welcome(&settings, key, from, ui))
    })
}

fn run_sent(words: Vec<String>, run: impl FnOnce(Paas, &mut Ui) -> anyhow::Result<()>) -> u8 {
    let args: Vec<OsString> = ["paas".to_owned()].into_iter().chain(words).map(OsString::from).collect();
    let paas = match parsed(&args) {
        Ok(paas) => paas,
        Err(status) => return status,
    };
    let mut ui = paas.global.ui_for_sender();
    let done = paas.sent().and_then(|paas| run(paas, &mut ui));
    ended(done.map(|()| 0), &mut ui)
}

/// The command line, or the status after help, the version or what is wrong was printed.
fn parsed(args: &[OsString]) -> Result<Paas, u8> {
    Paas::try_parse_from(args).map_err(|error| {
        // Help and version are no failures, and go to stdout; a reader that left needs neither.
        let _ = error.print();
        u8::try_from(error.exit_code()).unwrap_or(1)
    })
}

fn ended(done: anyhow::Result<u8>, ui: &mut Ui) -> u8 {
    done.unwrap_or_else(|error| ui.fail(&error, failures::exit_of(&error)))
}

impl Paas {
    fn run(mut self, args: &[OsString], vars: Vec<(String, String)>, ui: &mut Ui) -> anyhow::Result<u8> {
        let place = self.noun.place();
        let remotes = if place == Place::Here { Vec::new() } else { destination::remotes_here() };
        let host = match place {
            Place::Here => None,
            Place::WorkTree | Place::Host => self.destination(&remotes, &vars)?.host(),
        };
        let filled_in = self.noun.subject().fill(&remotes, host.as_ref())?;
        if let (Place::Host, Some(host)) = (place, &host) {
            let words = words_to_send(args)?.into_iter().chain(filled_in).collect();
            let user_home = user_home(&vars);
            let user = vars.iter().find(|(name, _)| name == "USER").map(|(_, user)| user.clone());
            let errand = self.noun.errand(words, user.as_deref(), user_home.as_deref())?;
            return over_ssh::run(host, &errand, user_home.as_deref());
        }
        let world = World { home: self.global.home.clone(), vars, caller: Caller::Host, host };
        self.run_here(world, ui).map(|()| 0)
    }

    fn destination(&self, remotes: &[AppRemote], vars: &[(String, String)]) -> anyhow::Result<Destination> {
        let Global { home, host, .. } = &self.global;
        let config = destination::configured(vars)?;
        let signs = Signs { home: home.as_deref(), host: host.as_ref(), remotes, config };
        let settings = Settings::load(home.clone(), vars.iter().cloned());
        signs.read(|host| settings.as_ref().is_ok_and(|settings| destination::is_this_machine(host, settings)))
    }

    /// The same command, if it is one that may come from elsewhere.
    fn sent(self) -> anyhow::Result<Self> {
        if let Some(Err(error)) = self.global.client.map(Client::check) {
            let advice = error.advice();
            return Err(Failure::new(Exit::Usage, error).advise(advice).into());
        }
        if self.global.home.is_some() || self.global.host.is_some() {
            return Err(
                Failure::new(Exit::Usage, "`--home` and `--host` are for the machine where they are typed").into()
            );
        }
        if self.noun.place() != Place::Host {
            let what = "this command works on the machine where it is typed, and cannot be sent to a host";
            return Err(Failure::new(Exit::Usage, what).advise("run it there").into());
        }
        Ok(self)
    }

    fn run_here(self, world: World, ui: &mut Ui) -> anyhow::Result<()> {
        runtime()?.block_on(self.noun.run(world, ui))
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

/// What was typed, but for the program's name and `--host`, which is where it goes.
fn words_to_send(args: &[OsString]) -> anyhow::Result<Vec<String>> {
    let mut words = Vec::new();
    let mut typed = args.iter().skip(1);
    while let Some(word) = typed.next() {
        let Some(text) = word.to_str() else {
            return Err(Failure::new(Exit::Usage, format_args!("an argument is no text: {}", word.display())).into());
        };
        match text {
            "--host" => drop(typed.next()),
            _ if text.starts_with("--host=") => {}
            _ => words.push(text.to_owned()),
        }
    }
    Ok(words)
}

impl Global {
    /// What is written goes to whoever sent the command.
    fn ui_for_sender(&self) -> Ui {
        let wishes = self.wishes(&[]);
        match self.client {
            Some(client) => Ui::for_viewer(wishes, client.viewer()),
            None => Ui::of_process(wishes),
        }
    }

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

    #[test]
    fn what_is_sent_is_what_was_typed_but_for_where_it_goes() {
        let sent = |typed: &[&str]| words_to_send(&typed.iter().map(OsString::from).collect::<Vec<_>>()).unwrap();
        assert_eq!(sent(&["paas", "--host", "h", "tenant", "show", "it's"]), ["tenant", "show", "it's"]);
        assert_eq!(sent(&["paas", "keys", "--json", "list", "--host=h"]), ["keys", "--json", "list"]);
    }
}
