//! What a push says while it runs; how it looks is the business of who called.

use crate::model::ReleaseNumber;

/// One thing to tell the person who pushes. Every text is one line, free of terminal control but for colours in `Output`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// A stage began, or its outcome: `-----> …`.
    Step(String),
    /// More about the step: seven spaces before it.
    Detail(String),
    /// A line that the build, or an instance that failed, wrote.
    Output(String),
    /// Something is not as it should be: ` !     …`.
    Warning(String),
    /// Its build has this number, by which it can be followed from now on. People are told with what follows.
    Building(u32),
    /// From here on the push ends as it would have, also when nobody listens any more: the release is about to be posted.
    Deploying(ReleaseNumber),
    /// What was reached: `=====> …`.
    Milestone(String),
}

impl Progress {
    /// As people read it, if it is for them.
    pub fn line(&self) -> Option<String> {
        Some(match self {
            Self::Building(_) => return None,
            Self::Step(text) => format!("-----> {text}"),
            Self::Detail(text) => format!("       {text}"),
            // The stack's own steps come through as they are, so that a build reads like one with them.
            Self::Output(text) if text.starts_with("----->") || text.starts_with(" !") => text.clone(),
            Self::Output(text) => format!("       {}", text.strip_prefix("       ").unwrap_or(text)),
            Self::Warning(text) => format!(" !     {text}"),
            Self::Deploying(number) => format!("-----> Deploying {number}"),
            Self::Milestone(text) => format!("=====> {text}"),
        })
    }
}

/// Where a push says what it does.
pub type Say<'a> = &'a (dyn Fn(Progress) + Send + Sync);
