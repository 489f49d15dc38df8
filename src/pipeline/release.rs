//! Releases: numbered per app, never a number twice, each kept whole so that it can run again.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Push;
use super::app_record::AppRecord;
use super::formation::{Command, Formation};
use super::places::Places;
use super::slug::SlugKey;
use crate::marathon::DeploymentId;
use crate::model::{AppName, CommitId, ImageRef, ReleaseNumber, Secret, TenantName, TokenId, UserName};
use crate::store::{Change, Store, StoreError};

/// Slug, config and formation: all it takes to run it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Release {
    pub number: ReleaseNumber,
    pub tenant: TenantName,
    pub app: AppName,
    pub image: ImageRef,
    pub slug: SlugKey,
    /// The build that made the slug, in this app or in another.
    pub build: BuildOf,
    pub commit: CommitId,
    /// What the branch was at before.
    pub previous_commit: Option<CommitId>,
    pub user: UserName,
    /// The push that made it.
    pub push: String,
    /// The deploy token that let its user push, who is no member then. Older records have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenId>,
    pub formation: Formation,
    /// What was done once before any of its instances ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,
    /// From the manifest.
    pub env: BTreeMap<String, String>,
    /// Config vars as they were when it was made; they win over `env`.
    pub config: BTreeMap<String, Secret>,
    pub domains: Vec<String>,
    /// What served when it was made.
    pub replaces: Option<ReleaseNumber>,
    pub created: Timestamp,
    pub state: ReleaseState,
}

/// A build is numbered within its app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildOf {
    /// Another tenant than that of the release, which was given the slug.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantName>,
    pub app: AppName,
    pub number: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "state")]
pub enum ReleaseState {
    /// Made; its deployment, once posted, has not come to a verdict.
    Pending { deployment: Option<DeploymentId> },
    /// It served. A later one may have taken its place.
    Succeeded { at: Timestamp },
    Failed {
        at: Timestamp,
        reason: String,
        /// Marathon may still be at it: nobody saw it undone.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unsettled: bool,
    },
}

impl ReleaseState {
    /// What Marathon was last told of it may still be under way, with nobody who follows it.
    pub(super) fn is_unsettled(&self) -> bool {
        matches!(self, Self::Pending { .. } | Self::Failed { unsettled: true, .. })
    }
}

/// What goes into a release; its number, time and state come from recording it.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub image: ImageRef,
    pub slug: SlugKey,
    pub build: BuildOf,
    pub formation: Formation,
    pub command: Option<Command>,
    pub env: BTreeMap<String, String>,
    pub domains: Vec<String>,
    pub token: Option<TokenId>,
}

/// Why a release could not be recorded or marked.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    #[error("the store would not take the record")]
    Store(#[from] StoreError),
    #[error("the record `{path}` in the store cannot be read")]
    Unreadable {
        path: String,
        #[source]
        cause: serde_json::Error,
    },
}

/// The releases of one app, in the store. Whoever writes holds the app's lease; the transactions keep numbers apart
/// even if somebody does not.
#[derive(Debug)]
pub(super) struct Releases<'a> {
    store: &'a dyn Store,
    places: Places,
}

impl<'a> Releases<'a> {
    pub(super) fn of(store: &'a dyn Store, places: Places) -> Self {
        Self { store, places }
    }

    pub(super) async fn get(&self, number: ReleaseNumber) -> Result<Option<Release>, ReleaseError> {
        let path = self.places.release(number);
        let Some(record) = self.store.get(&path).await? else { return Ok(None) };
        let cause = |cause| ReleaseError::Unreadable { path: path.to_string(), cause };
        serde_json::from_slice(&record.value).map(Some).map_err(cause)
    }

    /// The release that serves, if one does.
    pub(super) async fn serving(&self) -> Result<Option<Release>, ReleaseError> {
        match AppRecord::read(self.store, &self.places).await?.value.serving {
            Some(number) => self.get(number).await,
            None => Ok(None),
        }
    }

    /// What a push released, if it came to that: looked for from the newest down to those that were made before `since`.
    pub(super) async fn of_push(&self, push: &str, since: Timestamp) -> Result<Option<Release>, ReleaseError> {
        for number in (1..=AppRecord::read(self.store, &self.places).await?.value.releases).rev() {
            match self.get(ReleaseNumber::new(number)).await? {
                Some(release) if release.push == push => return Ok(Some(release)),
                Some(release) if release.created < since => break,
                _ => {}
            }
        }
        Ok(None)
    }

    pub(super) async fn newest(&self) -> Result<Option<Release>, ReleaseError> {
        match AppRecord::read(self.store, &self.places).await?.value.releases {
            0 => Ok(None),
            newest => self.get(ReleaseNumber::new(newest)).await,
        }
    }

    /// Gives the draft the app's next number and keeps it. Two racing calls never get the same one.
    pub(super) async fn record(&self, draft: Draft, push: &Push, now: Timestamp) -> Result<Release, ReleaseError> {
        self.store.ensure(&self.places.releases()).await?;
        loop {
            let record = AppRecord::read(self.store, &self.places).await?;
            let release = draft.clone().numbered(record.value.releases + 1, record.value.serving, push, now);
            let counted = AppRecord { releases: release.number.get(), ..record.value.clone() };
            let changes = vec![
                record.put(&self.places, &counted),
                Change::Create { path: self.places.release(release.number), value: json(&release) },
            ];
            match self.store.commit(changes).await {
                Ok(()) => return Ok(release),
                Err(StoreError::Changed(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Keeps the release with another state.
    pub(super) async fn mark(&self, release: &mut Release, state: ReleaseState) -> Result<(), ReleaseError> {
        release.state = state;
        let path = self.places.release(release.number);
        self.store.put(&path, json(release), None).await.map_err(ReleaseError::from)
    }

    /// Marks it as serving, in one step with the app's note of which one does.
    pub(super) async fn mark_serving(&self, release: &mut Release, now: Timestamp) -> Result<(), ReleaseError> {
        release.state = ReleaseState::Succeeded { at: now };
        loop {
            let record = AppRecord::read(self.store, &self.places).await?;
            let serving = AppRecord { serving: Some(release.number), ..record.value.clone() };
            let path = self.places.release(release.number);
            let changes =
                vec![record.put(&self.places, &serving), Change::Put { path, value: json(release), expected: None }];
            match self.store.commit(changes).await {
                Err(StoreError::Changed(path)) if path == *self.places.app() => {}
                done => return done.map_err(ReleaseError::from),
            }
        }
    }
}

impl Draft {
    pub(super) fn numbered(self, number: u32, serving: Option<ReleaseNumber>, push: &Push, now: Timestamp) -> Release {
        Release {
            number: ReleaseNumber::new(number),
            tenant: push.tenant.clone(),
            app: push.app.clone(),
            image: self.image,
            slug: self.slug,
            build: self.build,
            commit: push.commit.clone(),
            previous_commit: push.previous.clone(),
            user: push.user.clone(),
            push: push.push.to_string(),
            token: self.token,
            formation: self.formation,
            command: self.command,
            env: self.env,
            config: BTreeMap::new(),
            domains: self.domains,
            replaces: serving,
            created: now,
            state: ReleaseState::Pending { deployment: None },
        }
    }
}

pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("records are maps with text keys")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::manifest::Process as Wish;
    use crate::pipeline::formation::formation;

    /// v12 of `shop` in `dev`: two of `web`, one `worker`.
    pub(in crate::pipeline) fn release() -> Release {
        let web = Wish { instances: Some(2), ..Wish::default() };
        let worker = Wish { instances: Some(1), command: Some("./work; $(hostile)".to_owned()), ..Wish::default() };
        let wishes = BTreeMap::from([("web".parse().unwrap(), web), ("worker".parse().unwrap(), worker)]);
        let pairs = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>()
        };
        Release {
            number: ReleaseNumber::new(12),
            tenant: "dev".parse().unwrap(),
            app: "shop".parse().unwrap(),
            image: format!("sha256:{}", "a".repeat(64)).parse().unwrap(),
            slug: serde_json::from_str("\"key\"").unwrap(),
            build: BuildOf { tenant: None, app: "shop".parse().unwrap(), number: 4 },
            commit: "3f2c1ab000000000000000000000000000000000".parse().unwrap(),
            previous_commit: None,
            user: "alice".parse().unwrap(),
            push: "p".to_owned(),
            token: Some("0123abcd".parse().unwrap()),
            formation: formation(&["web".parse().unwrap()], &wishes, None).unwrap(),
            command: Some(Command::Start),
            env: pairs(&[("LOG_LEVEL", "info"), ("TITLE", "Shop")]),
            config: BTreeMap::from([("LOG_LEVEL".to_owned(), Secret::new("debug"))]),
            domains: vec!["shop.example.org".to_owned(), "www.example.org".to_owned()],
            replaces: Some(ReleaseNumber::new(11)),
            created: "2026-11-23T09:41:28Z".parse().unwrap(),
            state: ReleaseState::Pending { deployment: None },
        }
    }

    #[test]
    fn a_record_reads_back_whole() {
        let release = release();
        assert_eq!(serde_json::from_slice::<Release>(&json(&release)).unwrap(), release);
    }
}
