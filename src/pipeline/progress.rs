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
    /// From here on the push ends as it would have, also when nobody listens any more: the release is about to be posted.
    Deploying(ReleaseNumber),
    /// What was reached: `=====> …`.
    Milestone(String),
}

/// Where a push says what it does.
pub type Say<'a> = &'a (dyn Fn(Progress) + Send + Sync);
