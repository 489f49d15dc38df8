//! General checks, which tell what they see of a task and do nothing about it.

use std::net::SocketAddr;
use std::time::Duration;

use super::health::{CLIENT, Subject, connects};
use super::readiness::socket;
use super::{Report, Tasks};
use crate::marathon::{Check, CheckCommand, CheckKind, CheckPort, CheckResult, HttpCheck};

impl Tasks {
    /// Looks after the check's delay, and then after each interval, until it is stopped.
    pub(super) async fn follow_check(&self, subject: &Subject, check: &Check) {
        const SHORTEST: Duration = Duration::from_millis(50);
        let up_for = self.setting().clock.now().since(subject.started);
        tokio::time::sleep(Duration::from_secs(check.delay_seconds).saturating_sub(up_for)).await;
        let patience = Duration::from_secs(check.timeout_seconds.max(1));
        loop {
            // What could not be found out is no result.
            if let Some(result) = self.see(subject, &check.kind, patience).await {
                self.report(Report::Checked { task: subject.task.clone(), result });
            }
            tokio::time::sleep(Duration::from_secs(check.interval_seconds).max(SHORTEST)).await;
        }
    }

    async fn see(&self, subject: &Subject, kind: &CheckKind, patience: Duration) -> Option<CheckResult> {
        match kind {
            CheckKind::Http(check) => {
                let asked = status(check, target(subject, check.port)?);
                let status_code = tokio::time::timeout(patience, asked).await.ok()??;
                Some(CheckResult::Http { status_code })
            }
            CheckKind::Tcp(port) => {
                let asked = connects(target(subject, *port)?);
                let succeeded = tokio::time::timeout(patience, asked).await.is_ok_and(|outcome| outcome.is_ok());
                Some(CheckResult::Tcp { succeeded })
            }
            CheckKind::Exec(check) => {
                let argv = match &check.command {
                    CheckCommand::Shell(line) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
                    CheckCommand::Argv(argv) => argv.clone(),
                };
                let status = self.run_with(subject, argv, patience).await.ok()?;
                Some(CheckResult::Command { exit_code: i32::try_from(status).ok()? })
            }
        }
    }
}

fn target(subject: &Subject, at: CheckPort) -> Option<SocketAddr> {
    let by_index = || subject.listen.get(usize::from(at.port_index.unwrap_or(0))).copied();
    at.port.or_else(by_index).map(|port| socket(subject, port))
}

async fn status(check: &HttpCheck, target: SocketAddr) -> Option<u16> {
    let path = check.path.as_deref().unwrap_or("/");
    let slash = if path.starts_with('/') { "" } else { "/" };
    let url = format!("{}://{target}{slash}{path}", check.scheme.in_url());
    let answer = CLIENT.as_ref()?.get(url).send().await.ok()?;
    Some(answer.status().as_u16())
}
