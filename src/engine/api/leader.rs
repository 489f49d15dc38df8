//! `DELETE /v2/leader`: this engine gives up, and a supervisor of processes starts it again.

use std::time::Duration;

use super::super::reading::Refusal;
use super::Api;
use super::answer::Answer;
use super::request::Asked;

/// So long the answer has to reach the client.
const LAST_WORDS: Duration = Duration::from_millis(500);

impl Api {
    pub(super) fn abdicate(&self, asked: &Asked) -> Result<Answer, Refusal> {
        if let Some(name) = ["backup", "restore"].into_iter().find(|name| asked.one(name).is_some()) {
            let text = format!("{name} is not supported by this engine: its state is the files of its --state");
            return Err(Refusal::unprocessable(text));
        }
        let abdication = self.shared().abdication.clone();
        // Owned by nobody: it ends by itself, with the process at the latest.
        tokio::spawn(async move {
            tokio::time::sleep(LAST_WORDS).await;
            abdication.cancel();
        });
        Ok(Answer::named("message", &"Leadership abdicated"))
    }
}
