//! The command line of `paas-receive`: what sshd asks, what a key may run, and git's hooks.

use std::error::Error;
use std::ffi::OsString;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::Parser;

use super::authorized_keys::authorized_keys;
use super::context::PushContext;
use super::detached;
use super::hooks::{Hook, HookRun};
use super::request::Request;
use super::session::{Outcome, Session};
use super::sweep::sweep;
use super::upload_key::{UploadKeyError, upload_key};
use crate::accounts::PublicKey;
use crate::accounts::access::Identity;
use crate::accounts::keys::{self, KeyError};
use crate::model::{Fingerprint, UserName};
use crate::settings::{Home, Settings};
use crate::store::SqliteStore;

/// What sshd runs for a key, and git's hooks
#[derive(Debug, Parser)]
#[command(name = "paas-receive", version, disable_help_subcommand = true)]
pub struct Receive {
    /// The platform's home [default: /var/lib/paas as root, else ~/.local/share/paas]
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Answer sshd's `AuthorizedKeysCommand`: one line for a registered key, nothing for any other
    AuthorizedKeys {
        /// The key's type, sshd's `%t`
        key_type: String,
        /// The key's base64 data, sshd's `%k`
        data: String,
    },
    /// Register the SSH key on standard input and print its fingerprint
    UploadKey {
        /// The user it belongs to; made if new
        name: UserName,
    },
    /// Remove what pushes that were cut off left behind, and what is older than is kept
    Sweep {
        /// Only say what would go
        #[arg(long)]
        dry_run: bool,
    },
    /// Serve one connection; sshd runs it for a key
    #[command(hide = true)]
    Session {
        #[arg(long)]
        user: UserName,
        #[arg(long)]
        key: Fingerprint,
    },
    /// Serve one connection of a key that nobody knows; sshd runs it
    #[command(hide = true)]
    Newcomer {
        #[arg(long)]
        key_type: String,
        #[arg(long)]
        key_data: String,
    },
    /// Carry a push on without its client; a hook runs it
    #[command(hide = true)]
    Detached,
    /// Be one of git's hooks; git runs it within a session
    #[command(hide = true)]
    Hook { hook: Hook },
}

/// What the process was given from outside, read once.
#[derive(Debug)]
pub struct World {
    pub args: Vec<OsString>,
    pub vars: Vec<(String, String)>,
    /// This program's own path.
    pub program: PathBuf,
}

/// What `ssh paas@host help` says.
const HELP: &str = "\
This is a paas receive host. There is no shell here; it speaks git, and the commands of paas:

  git push ssh://USER@HOST:PORT/TENANT/APP main     build and deploy
  git clone ssh://USER@HOST:PORT/TENANT/APP         fetch what was pushed
  ssh … --help                                      the commands, as `paas` has them
  ssh … tenant list                                 one of them
  ssh … version                                     which version runs here
  ssh … help                                        this
";

const VERSION: &str = concat!("paas-receive ", env!("CARGO_PKG_VERSION"), "\n");

/// A key that nobody knows wanted more than it may.
#[derive(Debug, thiserror::Error)]
#[error("nobody knows the key {0} here; with a token it becomes known: `ssh … tenant join`")]
struct UnknownKey(Fingerprint);

/// What is left to do.
#[derive(Debug)]
pub enum Ended {
    /// Nothing but to end with this status.
    Status(u8),
    /// The key's user sent these words, which are a command line of `paas` for the platform in `home`.
    Command { who: Identity, home: PathBuf, words: Vec<String> },
    /// The same, of a key that nobody knows.
    Newcomer { key: PublicKey, from: Option<IpAddr>, home: PathBuf, words: Vec<String> },
}

/// Runs the command line and gives how it ended; an error is printed by the caller, who ends with
/// the status of a [`Failure`](crate::ui::Failure), else with 1.
pub async fn run(world: World) -> Result<Ended, Box<dyn Error + Send + Sync>> {
    let receive = match Receive::try_parse_from(&world.args) {
        Ok(receive) => receive,
        Err(error) => {
            // Help and version are no failures, and go to stdout.
            let _ = error.print();
            return Ok(Ended::Status(u8::try_from(error.exit_code()).unwrap_or(1)));
        }
    };
    let named = receive.home;
    let home = |named| Home::locate(named, world.vars.iter().cloned());
    match receive.command {
        Command::AuthorizedKeys { key_type, data } => {
            let line = authorized_keys(&home(named)?, &world.program, &key_type, &data).await?;
            Ok(line.map_or(Ended::Status(0), |line| say(&format!("{line}\n"))))
        }
        Command::UploadKey { name } => {
            let uploaded = upload_key(&home(named)?, &name, std::io::stdin()).await;
            let fingerprint = uploaded.map_err(UploadKeyError::explained)?;
            Ok(say(&format!("{fingerprint}\n")))
        }
        Command::Sweep { dry_run } => {
            let settings = Settings::load(named, world.vars.iter().cloned())?;
            let swept = sweep(&settings, dry_run).await?;
            say(&swept.to_string());
            swept.ended().map(|()| Ended::Status(0)).map_err(Into::into)
        }
        Command::Session { user, key } => {
            // Nothing that the client's side could have set counts as a setting.
            let settings = Settings::load(named, std::iter::empty())?;
            let who = Identity { user, key, from: client_address(&world.vars) };
            session(who, settings, &world).await
        }
        Command::Newcomer { key_type, key_data } => {
            newcomer(PublicKey::from_parts(&key_type, &key_data)?, &home(named)?, &world.vars).await
        }
        Command::Hook { hook: which } => hook(which, &world).await,
        Command::Detached => {
            let push = PushContext::from_vars(world.vars.iter().cloned())?;
            let settings = Settings::load(variable(&world.vars, super::context::HOME), std::iter::empty())?;
            let program = world.program;
            let run = |repository| HookRun { push, settings, repository, program, shallow: None };
            detached::carry_out(run, &mut std::io::stdin(), std::io::stdout()).await?;
            Ok(Ended::Status(0))
        }
    }
}

/// One connection of a registered key.
async fn session(who: Identity, settings: Settings, world: &World) -> Result<Ended, Box<dyn Error + Send + Sync>> {
    let home = settings.home.path().to_owned();
    let session = Session { who: who.clone(), settings, program: world.program.clone() };
    Ok(match session.run(original_command(&world.vars)).await? {
        Outcome::Help => say(HELP),
        Outcome::Version => say(VERSION),
        Outcome::Git(status) => Ended::Status(status),
        Outcome::Command(words) => Ended::Command { who, home, words },
    })
}

/// One connection of a key that nobody knew when it began.
async fn newcomer(
    key: PublicKey,
    home: &Home,
    vars: &[(String, String)],
) -> Result<Ended, Box<dyn Error + Send + Sync>> {
    let (from, place) = (client_address(vars), home.path().to_owned());
    Ok(match Request::parse(original_command(vars).unwrap_or_default())? {
        Request::Help => say(HELP),
        Request::Version => say(VERSION),
        // It may have become known since: a connection serves many commands.
        Request::Command(words) => match registered(home, &key).await? {
            Some(user) => {
                let who = Identity { user, key: key.fingerprint().clone(), from };
                Ended::Command { who, home: place, words }
            }
            None => Ended::Newcomer { key, from, home: place, words },
        },
        Request::ReceivePack(_) | Request::UploadPack(_) => return Err(UnknownKey(key.fingerprint().clone()).into()),
    })
}

fn variable(vars: &[(String, String)], wanted: &str) -> Option<PathBuf> {
    vars.iter().find(|(name, _)| name == wanted).map(|(_, value)| PathBuf::from(value))
}

async fn hook(which: Hook, world: &World) -> Result<Ended, Box<dyn Error + Send + Sync>> {
    let variable = |wanted: &str| variable(&world.vars, wanted);
    let run = HookRun {
        push: PushContext::from_vars(world.vars.iter().cloned())?,
        settings: Settings::load(variable(super::context::HOME), std::iter::empty())?,
        repository: std::path::absolute(variable("GIT_DIR").unwrap_or_default())?,
        program: world.program.clone(),
        shallow: variable("GIT_SHALLOW_FILE").filter(|path| !path.as_os_str().is_empty()),
    };
    match which {
        Hook::PreReceive => run.pre_receive(&mut std::io::stdin()).await?,
        Hook::ProcReceive => run.proc_receive(&mut std::io::stdin(), &mut std::io::stdout()).await?,
    }
    Ok(Ended::Status(0))
}

/// Whose key it is, if anybody's.
async fn registered(home: &Home, key: &PublicKey) -> Result<Option<UserName>, KeyError> {
    let store = SqliteStore::open(&home.store())?;
    Ok(keys::find(&store, key.fingerprint()).await?.map(|key| key.user))
}

/// What the client typed; none when it wanted a shell.
fn original_command(vars: &[(String, String)]) -> Option<&str> {
    vars.iter().find(|(name, _)| name == "SSH_ORIGINAL_COMMAND").map(|(_, text)| text.as_str())
}

/// Where the connection came from, as sshd says it. The client cannot set this variable.
fn client_address(vars: &[(String, String)]) -> Option<IpAddr> {
    let (_, connection) = vars.iter().find(|(name, _)| name == "SSH_CONNECTION")?;
    connection.split(' ').next()?.parse().ok()
}

/// Answers on standard output; a reader that is gone needs no answer.
fn say(text: &str) -> Ended {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    Ended::Status(0)
}
