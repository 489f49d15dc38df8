//! `paas up`: the one-machine platform, in the foreground or detached.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::accounts::tenants;
use crate::platform::{self, Happening, News, Problem, Programs, UpError};
use crate::settings::{AccountName, Home, Overrides, Settings, SshServer};
use crate::ui::{Exit, Failure, Ui};

/// Start the one-machine platform: the root engine and an sshd of its own
///
/// It stays in the foreground until Ctrl-C or SIGTERM, which end both and leave the apps running. As root it creates
/// and uses the system user `paas`; as another user it runs as that user. What it is told by flags and PAAS_*
/// variables holds for all commands until the next start.
#[derive(Debug, clap::Args)]
pub(super) struct Up {
    /// Return once everything serves, and go on in the background
    #[arg(long)]
    detach: bool,
    /// Port of the platform's sshd [default: 2222]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    ssh_port: Option<u16>,
    /// Port of the root engine [default: 8080]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    engine_port: Option<u16>,
    /// The system user, when started by root [default: paas]
    #[arg(long, value_name = "NAME")]
    user: Option<AccountName>,
    /// Set for the process that `--detach` leaves behind: tell the parent on stdout how the start went.
    #[arg(long, hide = true, conflicts_with = "detach")]
    report: bool,
}

/// What the process left behind tells the one that started it: one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
enum Report {
    Serving,
    /// The links of the failure, the advice, and the exit status.
    Failed {
        what: Vec<String>,
        advice: Vec<String>,
        status: u8,
    },
}

impl Up {
    pub(super) async fn run(
        self,
        home: Option<PathBuf>,
        vars: Vec<(String, String)>,
        ui: &mut Ui,
    ) -> anyhow::Result<()> {
        let home = Home::locate(home, vars.iter().cloned())?;
        let overrides = Overrides::from_vars(vars.iter().cloned())?;
        let overrides = overrides.user(self.user.clone()).ssh_port(self.ssh_port).engine_port(self.engine_port);
        let settings = Settings::to_start_with(home, &overrides)?;
        if self.detach {
            return self.detached(&settings, &vars, ui).await;
        }
        let started = serve(&settings, &overrides, self.report, ui).await;
        if let (true, Err(error)) = (self.report, &started) {
            report(&Report::of(error))?;
        }
        started
    }

    /// Starts this program again in a session of its own, and waits until it serves or says why not.
    async fn detached(&self, settings: &Settings, vars: &[(String, String)], ui: &mut Ui) -> anyhow::Result<()> {
        if let Some(process) = platform::serving(&settings.home)? {
            return Err(failure(UpError::Serving(process)).into());
        }
        let log = platform::log_file(&settings.home)?;
        let mut command = tokio::process::Command::new(Programs::of_process()?.paas);
        command.arg("up").arg("--report").arg("--home").arg(settings.home.path()).args(self.flags());
        command.env_clear().envs(vars.iter().filter(|(name, _)| name.starts_with("PAAS_") || name == "PATH").cloned());
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().context("cannot start `paas up` in the background")?;
        let answers = child.stdout.take().expect("it was piped");
        let mut answers = BufReader::new(answers).lines();
        let progress = ui.progress("Starting the platform");
        let mut interrupted = signal(SignalKind::interrupt())?;
        let line = tokio::select! {
            line = progress.during(answers.next_line()) => line?,
            _ = interrupted.recv() => {
                end(&child).await?;
                return Err(Failure::new(Exit::Failed, "the start was interrupted; nothing is left running").into());
            }
        };
        drop(progress);
        let report = line.as_deref().map(serde_json::from_str::<Report>);
        if !matches!(report, Some(Ok(Report::Serving))) {
            // Whoever is told that it failed finds nothing left of it.
            child.wait().await?;
        }
        match report {
            Some(Ok(Report::Serving)) => Ok(welcome(settings, ui)?),
            Some(Ok(Report::Failed { what, advice, status })) => Err(Report::failure(&what, &advice, status).into()),
            _ => Err(Failure::new(Exit::Failed, "the platform ended before it served")
                .advise(format_args!("its log is {}", settings.home.log().display()))
                .into()),
        }
    }

    fn flags(&self) -> Vec<String> {
        let flag = |name: &str, value: Option<String>| value.map(|value| [name.to_owned(), value]);
        [
            flag("--ssh-port", self.ssh_port.map(|port| port.to_string())),
            flag("--engine-port", self.engine_port.map(|port| port.to_string())),
            flag("--user", self.user.as_ref().map(ToString::to_string)),
        ]
        .into_iter()
        .flatten()
        .flatten()
        .collect()
    }
}

/// Brings the platform up in this process and stays until a signal ends it.
async fn serve(settings: &Settings, overrides: &Overrides, detached: bool, ui: &mut Ui) -> anyhow::Result<()> {
    if detached {
        rustix::process::setsid().context("cannot leave the terminal's session")?;
    }
    let (tell, mut news) = mpsc::unbounded_channel();
    let say = move |one| {
        // The receiver is gone only when everything here is being dropped.
        let _ = tell.send(one);
    };
    let programs = Programs::of_process()?;
    let end = signals()?;
    let up = platform::run(settings, overrides, &programs, tenants::root_credentials, &say, end);
    tokio::pin!(up);
    loop {
        tokio::select! {
            biased;
            Some(one) = news.recv() => {
                if detached && matches!(one, News::Serving) {
                    report(&Report::Serving)?;
                }
                // Nobody may be listening any more; the platform goes on serving.
                let _ = show(&one, settings, ui);
            }
            ended = &mut up => {
                while let Ok(one) = news.try_recv() {
                    let _ = show(&one, settings, ui);
                }
                return ended.map_err(|error| failure(error).into());
            }
        }
    }
}

/// Resolves at the first signal that asks to end.
fn signals() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hang_up.recv() => {}
        }
    })
}

fn show(news: &News, settings: &Settings, ui: &mut Ui) -> anyhow::Result<()> {
    match news {
        News::Configured => {
            ui.note(format_args!("Wrote {}, with every setting and its default", settings.home.config().display()))?;
        }
        News::Of(name, Happening::Said(line)) => ui.note(format_args!("{name}: {}", crate::ui::printable(line)))?,
        News::Of(_, Happening::Ready) => {}
        News::Of(name, Happening::Died { how, pause }) => {
            ui.warn(format_args!("{name} ended unasked, with {how}; it is started again in {} ms", pause.as_millis()))?;
        }
        News::Of(name, Happening::NotStarted { why, pause }) => {
            ui.warn(format_args!("{name} could not be started: {why}; tried again in {} ms", pause.as_millis()))?;
        }
        News::Serving => welcome(settings, ui)?,
        News::Ending => ui.note(match settings.ssh.server {
            SshServer::Own => "Ending sshd and the root engine; apps keep running",
            SshServer::Host => "Ending the root engine; apps keep running",
        })?,
    }
    Ok(())
}

fn welcome(settings: &Settings, ui: &mut Ui) -> Result<(), crate::ui::Closed> {
    let ssh = SocketAddr::new(settings.ssh.listen, settings.ssh.port);
    let engine = SocketAddr::new(settings.engine.listen, settings.engine.port);
    ui.note(format_args!(
        "The platform serves: ssh on {ssh}, root engine on {engine}, home {}",
        settings.home.path().display()
    ))?;
    ui.note("Next: `paas keys add`, then `paas tenant create dev`")
}

fn report(report: &Report) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    std::io::stdout().write_all(&line).context("the command that started this is gone")
}

impl Report {
    fn of(error: &anyhow::Error) -> Self {
        let advice = error.chain().filter_map(|link| link.downcast_ref::<Failure>());
        Self::Failed {
            what: error.chain().map(ToString::to_string).collect(),
            advice: advice.flat_map(Failure::advice).map(ToOwned::to_owned).collect(),
            status: super::failures::exit_of(error).status(),
        }
    }

    /// The failure as it was over there.
    fn failure(what: &[String], advice: &[String], status: u8) -> Failure {
        let known = [Exit::Refused, Exit::Unreachable].into_iter().find(|exit| exit.status() == status);
        let exit = known.unwrap_or(Exit::Failed);
        let inside_out = what.iter().rev().fold(None, |inner: Option<Failure>, text| {
            let failure = Failure::new(exit, text);
            Some(match inner {
                None => failure,
                Some(cause) => failure.because(cause),
            })
        });
        let whole = inside_out.unwrap_or_else(|| Failure::new(exit, "the platform did not start"));
        advice.iter().fold(whole, Failure::advise)
    }
}

/// Ends a platform that is only just starting.
async fn end(child: &tokio::process::Child) -> anyhow::Result<()> {
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(process) = pid.and_then(platform::Process::with_pid) {
        process.end(std::time::Duration::from_mins(1)).await?;
    }
    Ok(())
}

/// One problem is told as the failure it is; several as a list, each with what to do.
fn failure(error: UpError) -> Failure {
    match error {
        UpError::InTheWay(mut problems) if problems.len() == 1 => {
            let problem = problems.remove(0);
            let advice = problem.advice();
            Failure::new(Exit::Failed, "the platform cannot start").because(problem).advise(advice)
        }
        UpError::InTheWay(problems) => {
            let list: Vec<String> = problems.iter().map(in_list).collect();
            Failure::new(
                Exit::Failed,
                format_args!("{} things are in the way of the platform:\n{}", list.len(), list.join("\n")),
            )
        }
        UpError::Serving(_) | UpError::Starting => Failure::new(Exit::Refused, &error)
            .advise("`paas status` shows it, `paas down` ends it; another platform needs another `--home`"),
        error => Failure::new(Exit::Failed, "the platform did not start").because(error),
    }
}

fn in_list(problem: &Problem) -> String {
    format!("- {problem}\n  try: {}", problem.advice())
}
