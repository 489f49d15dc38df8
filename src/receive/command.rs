//! The command line of `paas-receive`: what sshd asks, what a key may run, and git's hooks.

use std::error::Error;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;

use clap::Parser;

use super::authorized_keys::authorized_keys;
use super::context::PushContext;
use super::hooks::{Hook, HookRun};
use super::session::{Outcome, Session};
use super::upload_key::{UploadKeyError, upload_key};
use crate::accounts::access::Identity;
use crate::model::{Fingerprint, UserName};
use crate::settings::{Home, Settings};

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
    /// Serve one connection; sshd runs it for a key
    #[command(hide = true)]
    Session {
        #[arg(long)]
        user: UserName,
        #[arg(long)]
        key: Fingerprint,
    },
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
This is a paas receive host. There is no shell here; git is what it speaks:

  git push ssh://USER@HOST:PORT/TENANT/APP main     build and deploy
  git clone ssh://USER@HOST:PORT/TENANT/APP         fetch what was pushed
  ssh … version                                     which version runs here
  ssh … help                                        this
";

/// Runs the command line and gives the exit status; an error is printed by the caller, who ends with
/// the status of a [`Failure`](crate::ui::Failure), else with 1.
pub async fn run(world: World) -> Result<u8, Box<dyn Error + Send + Sync>> {
    let receive = match Receive::try_parse_from(&world.args) {
        Ok(receive) => receive,
        Err(error) => {
            // Help and version are no failures, and go to stdout.
            let _ = error.print();
            return Ok(u8::try_from(error.exit_code()).unwrap_or(1));
        }
    };
    let named = receive.home;
    let home = |named| Home::locate(named, world.vars.iter().cloned());
    match receive.command {
        Command::AuthorizedKeys { key_type, data } => {
            let line = authorized_keys(&home(named)?, &world.program, &key_type, &data).await?;
            Ok(line.map_or(0, |line| say(&format!("{line}\n"))))
        }
        Command::UploadKey { name } => {
            let uploaded = upload_key(&home(named)?, &name, std::io::stdin()).await;
            let fingerprint = uploaded.map_err(UploadKeyError::explained)?;
            Ok(say(&format!("{fingerprint}\n")))
        }
        Command::Session { user, key } => {
            let command =
                world.vars.iter().find(|(name, _)| name == "SSH_ORIGINAL_COMMAND").map(|(_, text)| text.clone());
            // Nothing that the client's side could have set counts as a setting.
            let settings = Settings::load(named, std::iter::empty())?;
            let who = Identity { user, key, from: client_address(&world.vars) };
            let session = Session { who, settings, program: world.program };
            Ok(match session.run(command.as_deref()).await? {
                Outcome::Help => say(HELP),
                Outcome::Version => say(&format!("paas-receive {}\n", env!("CARGO_PKG_VERSION"))),
                Outcome::Git(status) => status,
            })
        }
        Command::Hook { hook } => {
            let variable = |wanted: &str| {
                world.vars.iter().find(|(name, _)| name == wanted).map(|(_, value)| PathBuf::from(value))
            };
            let run = HookRun {
                push: PushContext::from_vars(world.vars.iter().cloned())?,
                settings: Settings::load(variable(super::context::HOME), std::iter::empty())?,
                repository: std::path::absolute(variable("GIT_DIR").unwrap_or_default())?,
            };
            match hook {
                Hook::PreReceive => run.pre_receive(&mut std::io::stdin())?,
                Hook::ProcReceive => run.proc_receive(&mut std::io::stdin(), &mut std::io::stdout()).await?,
            }
            Ok(0)
        }
    }
}

/// Where the connection came from, as sshd says it. The client cannot set this variable.
fn client_address(vars: &[(String, String)]) -> Option<std::net::IpAddr> {
    let (_, connection) = vars.iter().find(|(name, _)| name == "SSH_CONNECTION")?;
    connection.split(' ').next()?.parse().ok()
}

/// Answers on standard output; a reader that is gone needs no answer.
fn say(text: &str) -> u8 {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    0
}
