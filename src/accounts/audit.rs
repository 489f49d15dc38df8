//! The audit log: every change and every refused try, as lines of JSON in files of this host.
//!
//! It is only ever added to. One who appends has the directory locked, so that lines never mix, and gives the lock back
//! before the disk is asked to keep the line, so that nobody waits for another's disk.

mod follow;
mod read;
mod segments;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::Stream;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::access::{self, AccessError, Action, Caller};
use super::{tenants, users};
use crate::model::{Fingerprint, TenantName};
use crate::store::Store;

/// Longest text in an event, in characters; what is longer is cut, so that nobody can drown the log.
const MAX_TEXT_CHARS: usize = 1000;

/// What somebody did, or tried to. Secrets have no place in it: `what` and `object` name things, never values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub at: Timestamp,
    /// As [`Caller::name`](super::access::Caller::name) gives it.
    pub user: String,
    /// Absent for the host's own processes.
    #[serde(default)]
    pub key: Option<Fingerprint>,
    #[serde(default)]
    pub from: Option<IpAddr>,
    /// The command or push, such as `tenant members add`.
    pub what: String,
    /// What it was done to, such as an app's or a user's name.
    #[serde(default)]
    pub object: Option<String>,
    /// The tenant it was done in, whose owners may read of it.
    #[serde(default)]
    pub tenant: Option<TenantName>,
    pub outcome: Outcome,
}

impl Event {
    /// What the caller did just now.
    pub fn by(caller: &Caller, what: &str, outcome: Outcome) -> Self {
        let (key, from) = match caller {
            Caller::Host => (None, None),
            Caller::Key(who) => (Some(who.key.clone()), who.from),
        };
        let (at, user) = (Timestamp::now(), caller.name());
        Self { at, user, key, from, what: what.to_owned(), object: None, tenant: None, outcome }
    }
    #[must_use]
    pub fn in_tenant(self, tenant: &TenantName) -> Self {
        Self { tenant: Some(tenant.clone()), ..self }
    }
    /// What it was done to, by name.
    #[must_use]
    pub fn on(self, object: impl std::fmt::Display) -> Self {
        Self { object: Some(object.to_string()), ..self }
    }
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Done,
    /// The role did not allow it, or a rule.
    Refused,
    /// It was begun and did not succeed, for this reason.
    Failed(String),
}

/// Which events are wanted; each that is named has to fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub tenant: Option<TenantName>,
    pub user: Option<String>,
    /// At this time or later.
    pub since: Option<Timestamp>,
}

impl Filter {
    fn takes(&self, event: &Event) -> bool {
        self.tenant.as_ref().is_none_or(|tenant| event.tenant.as_ref() == Some(tenant))
            && self.user.as_ref().is_none_or(|user| event.user == *user)
            && self.since.is_none_or(|since| event.at >= since)
    }
}

/// What of the log somebody may see, as the store says it while this is there: an admin all, an owner what was done in
/// their tenants, and everybody what they did themselves outside of any.
#[derive(Debug)]
pub struct Sight<'a> {
    store: &'a dyn Store,
    caller: &'a Caller,
    sees_all: Option<bool>,
    /// Of the tenants that were asked about, since when what was done in them is seen.
    tenants: HashMap<TenantName, Option<Timestamp>>,
}

impl<'a> Sight<'a> {
    pub fn of(store: &'a dyn Store, caller: &'a Caller) -> Self {
        Self { store, caller, sees_all: None, tenants: HashMap::new() }
    }

    async fn reaches(&mut self, event: &Event) -> Result<bool, AccessError> {
        if self.sees_all().await? {
            return Ok(true);
        }
        match &event.tenant {
            Some(tenant) => Ok(self.sees_since(tenant).await?.is_some_and(|since| event.at >= since)),
            None => Ok(event.user == self.caller.name() && self.is_since_they_are_there(event).await?),
        }
    }

    /// Those of the events that are to be seen. Whoever asks has read them before: then nobody is told of what happened
    /// after they lost the right to see it.
    pub async fn of_these(mut self, events: Vec<Event>) -> Result<Vec<Event>, AccessError> {
        let mut seen = Vec::new();
        for event in events {
            if self.reaches(&event).await? {
                seen.push(event);
            }
        }
        Ok(seen)
    }

    /// What is older was done by another of the same name; and whose key opens nothing any more has done nothing.
    async fn is_since_they_are_there(&self, event: &Event) -> Result<bool, AccessError> {
        let Caller::Key(who) = self.caller else { return Ok(false) };
        let known = access::may(self.store, self.caller, Action::Own).await?;
        Ok(known && users::get(self.store, &who.user).await?.is_some_and(|user| event.at >= user.created))
    }

    async fn sees_all(&mut self) -> Result<bool, AccessError> {
        if let Some(known) = self.sees_all {
            return Ok(known);
        }
        let all = access::may(self.store, self.caller, Action::SeeHost).await?;
        self.sees_all = Some(all);
        Ok(all)
    }

    /// What was done in an earlier tenant of the same name is none of its present owners' business.
    async fn sees_since(&mut self, tenant: &TenantName) -> Result<Option<Timestamp>, AccessError> {
        if let Some(known) = self.tenants.get(tenant) {
            return Ok(*known);
        }
        let is_theirs = access::may(self.store, self.caller, Action::Manage(tenant)).await?;
        let found = if is_theirs { tenants::get(self.store, tenant).await? } else { None };
        let since = found.map(|found| found.created);
        self.tenants.insert(tenant.clone(), since);
        Ok(since)
    }
}

/// How much is kept. The oldest goes first, in pieces of a sixteenth, whenever a piece is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// At most, of all files together.
    pub bytes: u64,
    /// An event is kept so long, and a sixteenth longer at most as long as events come.
    pub age: Duration,
}

impl Default for Bounds {
    /// 64 MiB, which hold some 200 000 events, and 400 days: a year and a month.
    fn default() -> Self {
        Self { bytes: 64 << 20, age: Duration::from_hours(400 * 24) }
    }
}

/// Why the log was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("cannot write the audit log in {place}")]
    Write {
        place: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot read the audit log in {place}")]
    Read {
        place: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot look out for changes of the audit log in {place}")]
    Watch {
        place: PathBuf,
        #[source]
        cause: io::Error,
    },
}

/// The log in a directory, which is made with the first event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditLog {
    dir: PathBuf,
    bounds: Bounds,
}

impl AuditLog {
    pub fn in_directory(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), bounds: Bounds::default() }
    }

    #[must_use]
    pub fn with_bounds(self, bounds: Bounds) -> Self {
        Self { bounds, ..self }
    }

    /// The same, where what was done stays done: a log that cannot be written is told of in the program's own.
    pub fn note(&self, event: &Event) {
        if let Err(error) = self.append(event) {
            tracing::error!(error = &error as &dyn std::error::Error, "the audit log lacks an event");
        }
    }

    /// Adds the event; it is on disk when this returns. Blocks for as long as the disk takes. When the disk is full,
    /// nothing of the event is in the log.
    pub fn append(&self, event: &Event) -> Result<(), AuditError> {
        let mut line = serde_json::to_vec(&cut(event.clone())).expect("an event of texts and times");
        line.push(b'\n');
        segments::append(&self.dir, &line, self.bounds, Timestamp::now())
            .map_err(|cause| AuditError::Write { place: self.dir.clone(), cause })
    }

    /// The events that the filter takes, oldest first. Lines that are none are passed over.
    pub fn read(&self, filter: &Filter) -> Result<Vec<Event>, AuditError> {
        let mut events =
            read::Reader::new(&self.dir).read().map_err(|cause| AuditError::Read { place: self.dir.clone(), cause })?;
        events.retain(|event| filter.takes(event));
        Ok(events)
    }

    /// The events that the filter takes, oldest first, and then those that are added, as soon as they are: each time
    /// one or more. It ends with an error only.
    pub fn follow(
        &self,
        filter: Filter,
    ) -> Result<impl Stream<Item = Result<Vec<Event>, AuditError>> + use<>, AuditError> {
        follow::follow(&self.dir, filter)
    }
}

fn cut(event: Event) -> Event {
    let outcome = match event.outcome {
        Outcome::Failed(reason) => Outcome::Failed(cut_text(reason)),
        outcome => outcome,
    };
    let Event { user, what, object, .. } = event;
    Event { user: cut_text(user), what: cut_text(what), object: object.map(cut_text), outcome, ..event }
}

fn cut_text(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_TEXT_CHARS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests;
