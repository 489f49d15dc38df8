//! `paas install`: this machine becomes a receive host.

use std::path::PathBuf;

use crate::platform::{Did, InstallError, Installation, Installed, KeysBy, Problem, Programs, Step};
use crate::settings::{AccountName, Home, Overrides, Settings};
use crate::ui::{Answer, Exit, Failure, Table, Ui};

/// Make this machine a receive host: people push to its own sshd
///
/// Makes the system user and the platform's home, a drop-in for sshd that lets registered keys in and nothing else, and
/// a systemd unit for `paas up`. It needs root, changes nothing the second time, and goes on where a broken-off run
/// ended. `paas uninstall` takes it back.
#[derive(Debug, clap::Args)]
pub(super) struct Install {
    /// The system user [default: paas]
    #[arg(long, value_name = "NAME")]
    user: Option<AccountName>,
    /// Let sshd read a file of keys, for sites that forbid `AuthorizedKeysCommand`
    ///
    /// It is written anew at each change of a key.
    #[arg(long)]
    authorized_keys: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    root: Root,
}

/// Where `/etc` is.
#[derive(Debug, clap::Args)]
pub(super) struct Root {
    /// For tests: what `/etc` is in. systemd and the running sshd are left alone then.
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    pub(super) root: PathBuf,
}

impl Answer for Installed {
    fn text(&self) -> String {
        told(&self.steps, self.dry_run) + &left(&self.by_hand)
    }
}

impl Install {
    pub(super) async fn run(
        self,
        home: Option<PathBuf>,
        vars: Vec<(String, String)>,
        ui: &mut Ui,
    ) -> anyhow::Result<()> {
        let home = Home::locate(home, vars.iter().cloned())?;
        let overrides = Overrides::from_vars(vars)?.user(self.user);
        let settings = Settings::to_start_with(home, &overrides)?;
        let programs = Programs::of_process()?;
        let keys = if self.authorized_keys { KeysBy::File } else { KeysBy::Command };
        let installation = Installation { settings: &settings, programs: &programs, root: &self.root.root, keys };
        let installed = installation.make(self.dry_run).await.map_err(|error| explained("install", error))?;
        if !installed.changed {
            ui.note("everything is as it should be; nothing was changed")?;
        }
        if keys == KeysBy::File {
            ui.note(
                "sshd reads a file of keys, so a key that nobody knows cannot redeem a token: newcomers cannot join by \
                 themselves, and their keys are added with `paas keys add`",
            )?;
        }
        ui.answer(&installed)
    }
}

/// A line for each step.
pub(super) fn told(steps: &[Step], dry_run: bool) -> String {
    let mut table = Table::headed(if dry_run { ["WOULD BE", "WHAT"] } else { ["DONE", "WHAT"] });
    for Step { what, did } in steps {
        let did = match did {
            Did::Made => "made",
            Did::Changed => "changed",
            Did::Removed => "removed",
            Did::Nothing => "unchanged",
        };
        table.row([did, what]);
    }
    table.to_string()
}

/// What is left to do.
pub(super) fn left(by_hand: &[String]) -> String {
    let lines: Vec<String> = by_hand.iter().map(|one| format!("- {one}\n")).collect();
    if lines.is_empty() { String::new() } else { format!("\nLeft to do by hand:\n{}", lines.concat()) }
}

/// Adds what to do about it.
pub(super) fn explained(command: &str, error: InstallError) -> Failure {
    let failed = || Failure::new(Exit::Failed, format_args!("`paas {command}` did not get to its end"));
    match error {
        InstallError::NotRoot => Failure::new(Exit::Refused, format_args!("`paas {command}` needs root"))
            .because(error)
            .advise(format_args!("`sudo paas {command}`")),
        InstallError::InTheWay(problems) => {
            let list: Vec<String> = problems.iter().map(in_list).collect();
            Failure::new(Exit::Failed, format_args!("nothing was installed; in the way:\n{}", list.join("\n")))
        }
        InstallError::Foreign(_) => {
            Failure::new(Exit::Refused, error).advise("see what it is for; move it away, if it is not needed")
        }
        InstallError::BrokenSshd(_) => failed().because(error).advise("mend it first: `sshd -t` says where"),
        InstallError::NotInEffect { ref path, ref config, .. } => {
            let directory = path.parent().unwrap_or(path).display();
            let advice = format!(
                "put `Include {directory}/*.conf` at the top of {}, before any `Match`, and run this again",
                config.display()
            );
            failed().because(error).advise(advice)
        }
        InstallError::Refused { .. } => failed()
            .because(error)
            .advise("see whether this sshd is older than OpenSSH 8.2; `--dry-run` shows the rest"),
        InstallError::Systemd(_) => {
            failed().because(error).advise("see `systemctl status paas` and `journalctl -u paas`")
        }
        InstallError::NoPlatform(_) => {
            Failure::new(Exit::Refused, error).advise("name the platform's home with `--home DIR`")
        }
        InstallError::User { .. } => failed().because(error).advise("end that user's processes, and run this again"),
        error => failed().because(error),
    }
}

fn in_list(problem: &Problem) -> String {
    format!("- {problem}\n  try: {}", problem.advice())
}
