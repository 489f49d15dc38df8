//! The last lines of an instance, read as on any cluster: through the files API of the Mesos agent it ran on.
//!
//! Marathon names Mesos' master in `/v2/info`; the master knows the agent's address, the agent the task's sandbox, and
//! the sandbox holds `stdout` and `stderr`. The one-machine engine answers the same requests.

use super::console::clean;
use super::verdict::TaskPlace;
use crate::marathon::{Client, ClientError};
use crate::mesos::{Mesos, MesosError};

/// How many lines a push shows.
const LINES: usize = 50;
/// How much of an output's end is read: fifty long lines.
const TAIL_BYTES: u64 = 32 << 10;

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub(super) enum TaskLogsError {
    #[error("Marathon does not say where its Mesos is")]
    NoMesos,
    #[error(transparent)]
    Marathon(#[from] ClientError),
    #[error(transparent)]
    Mesos(#[from] MesosError),
}

/// The last lines of both outputs, errors last, cleaned for a terminal.
pub(super) async fn last_lines(client: &Client, at: &TaskPlace) -> Result<Vec<String>, TaskLogsError> {
    let info = client.info().await?;
    let master = info.marathon_config["mesos_leader_ui_url"].as_str().ok_or(TaskLogsError::NoMesos)?;
    let mesos = Mesos::new(master, client.credentials_at(master))?;
    let sandbox = mesos.sandbox(&at.task, at.agent.as_deref()).await?;
    let mut text = mesos.tail(&sandbox, "stdout", TAIL_BYTES).await?;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&mesos.tail(&sandbox, "stderr", TAIL_BYTES).await?);
    Ok(last(&text, LINES))
}

fn last(text: &str, lines: usize) -> Vec<String> {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].iter().map(|line| clean(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_much_output_the_end_is_shown() {
        let text = (1..=60).map(|n| format!("line {n}\u{7}")).collect::<Vec<_>>().join("\n");
        let shown = last(&text, LINES);
        assert_eq!((shown.len(), shown[0].as_str(), shown[49].as_str()), (50, "line 11", "line 60"));
        assert!(last("", LINES).is_empty());
    }
}
