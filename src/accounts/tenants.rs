//! Tenants: each has a Marathon of its own, which the root Marathon runs as an app.
//!
//! What is written here holds for one machine and for a cluster alike; only [`TenantEngines`] knows what kind of
//! Marathon is started. What a tenant leaves on the receive host (repositories, logs) is the caller's to remove.

mod definition;
mod quota;

use std::time::Duration;

use base64::Engine as _;
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};

use super::{Place, names_below, tokens};
use crate::marathon::{App, AppInfo, Client, ClientError, InvalidMarathonUrl, PathId, Task};
use crate::model::{Quota, Secret, TenantName};
use crate::store::{Change, Store, StoreError, Version};

pub use definition::TenantEngines;
pub use quota::{in_use, set_quota};

/// How long a tenant's Marathon may take until it serves.
const START_PATIENCE: Duration = Duration::from_mins(2);
/// How long a tenant's apps and then its Marathon may take to end.
const END_PATIENCE: Duration = Duration::from_mins(2);
/// So many random bytes are in a password: as many as are in a key of AES-192.
const PASSWORD_BYTES: usize = 24;

/// A tenant as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    pub name: TenantName,
    pub created: jiff::Timestamp,
    pub quota: Quota,
    /// `user:password` of its Marathon.
    credentials: Secret,
}

/// The record's value; the name is the record's own.
#[derive(Debug, Serialize, Deserialize)]
struct TenantRecord {
    created: jiff::Timestamp,
    credentials: Secret,
    /// A record that is older than quotas has none.
    #[serde(default)]
    quota: Quota,
}

impl TenantRecord {
    fn of(tenant: &Tenant) -> Self {
        Self { created: tenant.created, credentials: tenant.credentials.clone(), quota: tenant.quota }
    }
    fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a plain record")
    }
}

/// Why there is no tenant, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    #[error("there is no tenant `{0}`")]
    NotFound(TenantName),
    #[error("there is a tenant `{0}` already")]
    Exists(TenantName),
    #[error("tenant `{tenant}` still runs {}", apps.join(", "))]
    AppsRunning { tenant: TenantName, apps: Vec<String> },
    #[error("the Marathon of tenant `{0}` does not serve now")]
    NotServing(TenantName),
    #[error("the Marathon of tenant `{tenant}` did not come up: {reason}")]
    NotUp { tenant: TenantName, reason: String },
    #[error("the Marathon of tenant `{tenant}` has not ended within {} s", END_PATIENCE.as_secs())]
    NotEnded { tenant: TenantName },
    #[error("the quota of tenant `{tenant}` is held by {holder}")]
    Busy { tenant: TenantName, holder: String },
    #[error("the record of tenant `{0}` cannot be read")]
    Unreadable(TenantName, #[source] serde_json::Error),
    #[error("the root Marathon did not do its part")]
    Root(#[source] ClientError),
    #[error("the Marathon of tenant `{tenant}` did not do its part")]
    Marathon {
        tenant: TenantName,
        #[source]
        cause: ClientError,
    },
    #[error(transparent)]
    Address(#[from] InvalidMarathonUrl),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// New credentials of the root engine.
pub fn root_credentials() -> Secret {
    credentials("root")
}

/// `user:` and a random password, in letters that need no escaping anywhere.
fn credentials(user: &str) -> Secret {
    let mut random = [0; PASSWORD_BYTES];
    getrandom::fill(&mut random).expect("Linux has random numbers");
    Secret::new(format!("{user}:{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random)))
}

/// The tenant of that name.
pub async fn get(store: &dyn Store, name: &TenantName) -> Result<Option<Tenant>, TenantError> {
    Ok(read(store, name).await?.map(|(tenant, _)| tenant))
}

/// All tenants, by name.
pub async fn list(store: &dyn Store) -> Result<Vec<Tenant>, TenantError> {
    let mut tenants = Vec::new();
    // A record that goes meanwhile, or that no name leads to, is no tenant.
    for name in names_below(store, Place::Tenants).await?.into_iter().filter_map(|name| TenantName::try_from(name).ok())
    {
        tenants.extend(get(store, &name).await?);
    }
    Ok(tenants)
}

async fn read(store: &dyn Store, name: &TenantName) -> Result<Option<(Tenant, Version)>, TenantError> {
    let Some(record) = store.get(&Place::Tenant(name).path()).await? else { return Ok(None) };
    // A place that was only made to stand above another one.
    if record.value.is_empty() {
        return Ok(None);
    }
    let TenantRecord { created, credentials, quota } =
        serde_json::from_slice(&record.value).map_err(|cause| TenantError::Unreadable(name.clone(), cause))?;
    Ok(Some((Tenant { name: name.clone(), created, quota, credentials }, record.version)))
}

/// The tenant, and the change that makes a transaction fail unless it is still the same.
pub(super) async fn held(store: &dyn Store, name: &TenantName) -> Result<Option<(Tenant, Change)>, TenantError> {
    let found = read(store, name).await?;
    Ok(found.map(|(tenant, expected)| (tenant, Change::Check { path: Place::Tenant(name).path(), expected })))
}

/// Makes the tenant and waits until its Marathon serves; nothing is left when that fails.
///
/// A tenant that was recorded but whose Marathon was never posted (whoever made it was killed) is taken up again.
/// `say` is told what is going on. Dropping the future leaves the tenant as far as it was.
pub async fn create(
    store: &dyn Store,
    root: &Client,
    engines: &TenantEngines,
    name: &TenantName,
    say: &(dyn Fn(&str) + Send + Sync),
) -> Result<Tenant, TenantError> {
    // Asked first: without it there is nothing to record.
    let posted = root.app(&definition::app_id(name)).await.map_err(TenantError::Root)?;
    let tenant = match get(store, name).await? {
        Some(_) if posted.is_some() => return Err(TenantError::Exists(name.clone())),
        Some(unfinished) => unfinished,
        None => record(store, name).await?,
    };
    let app = engines.app(name, &tenant.credentials, &tenant.quota);
    let came_up = bring_up(root, &app, name, say).await;
    if let Err(reason) = came_up {
        // What cannot be undone is found again by the next attempt; the reason is what matters now.
        let _ = root.delete_app(&app.id, true).await;
        forget(store, name).await?;
        return Err(reason);
    }
    Ok(tenant)
}

pub(super) async fn record(store: &dyn Store, name: &TenantName) -> Result<Tenant, TenantError> {
    let (created, credentials) = (jiff::Timestamp::now(), credentials(name.as_str()));
    let tenant = Tenant { name: name.clone(), created, quota: Quota::default(), credentials };
    store.ensure(&Place::Tenants.path()).await?;
    match store.create(&Place::Tenant(name).path(), TenantRecord::of(&tenant).to_bytes()).await {
        Err(StoreError::Exists(_)) => Err(TenantError::Exists(name.clone())),
        done => Ok(done.map(|()| tenant)?),
    }
}

async fn bring_up(
    root: &Client,
    app: &App,
    tenant: &TenantName,
    say: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), TenantError> {
    say("posting it to the root Marathon");
    let changes = Changes::follow(root).await.map_err(TenantError::Root)?;
    root.put_app(app, false).await.map_err(TenantError::Root)?;
    say("waiting until it is healthy");
    let up = until(root, changes, START_PATIENCE, || came_up(root, &app.id));
    let reason = match up.await.map_err(TenantError::Root)? {
        Some(Ok(())) => return Ok(()),
        Some(Err(reason)) => reason,
        None => format!("it was not healthy within {} s", START_PATIENCE.as_secs()),
    };
    Err(TenantError::NotUp { tenant: tenant.clone(), reason })
}

/// Whether the app serves; with why it never will, if that is plain.
async fn came_up(root: &Client, id: &PathId) -> Result<Option<Result<(), String>>, ClientError> {
    let Some(found) = root.app(id).await? else { return Ok(Some(Err("the root Marathon forgot it".to_owned()))) };
    if serving_task(&found).is_some() {
        return Ok(Some(Ok(())));
    }
    let failure = found.last_task_failure.map(|failure| failure.message);
    Ok(failure.map(|message| Err(if message.is_empty() { "it ended at once".to_owned() } else { message })))
}

fn serving_task(app: &AppInfo) -> Option<&Task> {
    app.tasks.iter().flatten().find(|task| task.is_healthy() && !task.ports.is_empty())
}

/// Asks `check` now and after each change that the Marathon tells of, until it has an answer; `None` when the
/// patience is at its end.
async fn until<T, F: Future<Output = Result<Option<T>, ClientError>>>(
    marathon: &Client,
    mut changes: Changes,
    patience: Duration,
    check: impl Fn() -> F,
) -> Result<Option<T>, ClientError> {
    let looking = async {
        loop {
            if let Some(answer) = check().await? {
                return Ok(answer);
            }
            if !changes.next().await? {
                changes = Changes::follow(marathon).await?;
            }
        }
    };
    match tokio::time::timeout(patience, looking).await {
        Ok(answer) => answer.map(Some),
        Err(_) => Ok(None),
    }
}

/// That something changed at a Marathon; what it was is asked for anew, since events are no record.
struct Changes(futures_util::stream::BoxStream<'static, Result<crate::marathon::Event, ClientError>>);

impl Changes {
    const KINDS: [&str; 4] =
        ["deployment_success", "status_update_event", "instance_health_changed_event", "health_status_changed_event"];

    async fn follow(marathon: &Client) -> Result<Self, ClientError> {
        marathon.events(&Self::KINDS).await.map(Self)
    }

    /// Waits for the next one; false when the stream has ended.
    async fn next(&mut self) -> Result<bool, ClientError> {
        self.0.next().await.transpose().map(|event| event.is_some())
    }
}

/// Where a tenant's Marathon is, and how it knows us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantMarathon {
    pub url: String,
    pub credentials: Secret,
}

impl TenantMarathon {
    pub fn client(&self) -> Result<Client, InvalidMarathonUrl> {
        Client::new(&self.url, Some(self.credentials.clone()))
    }
}

/// Finds a tenant's Marathon by its healthy task at the root Marathon.
pub async fn marathon_of(store: &dyn Store, root: &Client, name: &TenantName) -> Result<TenantMarathon, TenantError> {
    let tenant = get(store, name).await?.ok_or_else(|| TenantError::NotFound(name.clone()))?;
    let app = root.app(&definition::app_id(name)).await.map_err(TenantError::Root)?;
    let url = app.as_ref().and_then(serving_task).map(|task| format!("http://{}:{}", task.host, task.ports[0]));
    let url = url.ok_or_else(|| TenantError::NotServing(name.clone()))?;
    Ok(TenantMarathon { url, credentials: tenant.credentials })
}

/// The ids of the apps that a tenant's Marathon is asked to run, without their leading slash.
pub async fn apps(marathon: &TenantMarathon, name: &TenantName) -> Result<Vec<String>, TenantError> {
    let found = marathon.client()?.apps().await.map_err(|cause| failed(name, cause))?;
    let running = found.iter().filter(|app| app.app.instances > 0);
    Ok(running.map(|app| app.app.id.to_string().trim_start_matches('/').to_owned()).collect())
}

/// Empties the tenant and ends its Marathon. The store still knows it until [`forget`]: whatever is to be removed
/// besides comes in between, so that what was interrupted can be repeated.
///
/// Refuses while apps run unless `force`, which also goes on when the tenant's Marathon does not answer.
pub async fn end(
    store: &dyn Store,
    root: &Client,
    name: &TenantName,
    force: bool,
    say: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), TenantError> {
    if get(store, name).await?.is_none() {
        return Err(TenantError::NotFound(name.clone()));
    }
    let id = definition::app_id(name);
    if root.app(&id).await.map_err(TenantError::Root)?.is_none() {
        return Ok(());
    }
    match marathon_of(store, root, name).await {
        Ok(marathon) => match empty(&marathon, name, force, say).await {
            Err(TenantError::Marathon { .. }) if force => {}
            done => done?,
        },
        Err(TenantError::NotServing(_)) if force => {}
        Err(reason) => return Err(reason),
    }
    say("ending its Marathon");
    let changes = Changes::follow(root).await.map_err(TenantError::Root)?;
    match root.delete_app(&id, true).await {
        Err(ClientError::NotFound { .. }) => return Ok(()),
        asked => asked.map_err(TenantError::Root)?,
    };
    let ended = until(root, changes, END_PATIENCE, || async {
        let busy = root.deployments().await?.iter().any(|deployment| deployment.affected_apps.contains(&id));
        Ok((!busy && root.app(&id).await?.is_none()).then_some(()))
    });
    ended.await.map_err(TenantError::Root)?.ok_or_else(|| TenantError::NotEnded { tenant: name.clone() })
}

/// Ends all apps of a tenant and waits until they have ended.
async fn empty(
    marathon: &TenantMarathon,
    name: &TenantName,
    force: bool,
    say: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), TenantError> {
    let running = apps(marathon, name).await?;
    if !running.is_empty() && !force {
        return Err(TenantError::AppsRunning { tenant: name.clone(), apps: running });
    }
    say("ending its apps");
    let client = marathon.client()?;
    let emptied = async {
        let changes = Changes::follow(&client).await?;
        client.delete_group(&PathId::root(), true).await?;
        until(&client, changes, END_PATIENCE, || async {
            Ok((client.deployments().await?.is_empty() && client.all_tasks().await?.is_empty()).then_some(()))
        })
        .await
    };
    let emptied = emptied.await.map_err(|cause| failed(name, cause))?;
    emptied.ok_or_else(|| TenantError::NotEnded { tenant: name.clone() })
}

fn failed(tenant: &TenantName, cause: ClientError) -> TenantError {
    TenantError::Marathon { tenant: tenant.clone(), cause }
}

/// Removes the tenant's record and all records below it, among them its members, and its tokens.
pub async fn forget(store: &dyn Store, name: &TenantName) -> Result<(), TenantError> {
    tokens::forget(store, name).await?;
    let mut left = vec![Place::Tenant(name).path()];
    while let Some(path) = left.pop() {
        match store.delete(&path, None).await {
            Ok(()) | Err(StoreError::NotFound(_)) => {}
            Err(StoreError::NotEmpty(_)) => {
                let below = store.children(&path).await?;
                left.push(path.clone());
                left.extend(below.iter().filter_map(|name| path.try_join(name).ok()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::SqliteStore;

    pub(super) fn store() -> (tempfile::TempDir, SqliteStore) {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path()).unwrap();
        (directory, store)
    }

    pub(super) fn name(text: &str) -> TenantName {
        text.parse().unwrap()
    }

    /// A root Marathon at an address where nobody listens.
    fn nobody() -> Client {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Client::new(&format!("http://127.0.0.1:{port}"), None).unwrap()
    }

    #[test]
    fn passwords_are_long_and_no_two_are_the_same() {
        let (one, other) = (root_credentials(), root_credentials());
        assert!(one.reveal().starts_with("root:") && one.reveal().len() == "root:".len() + PASSWORD_BYTES * 4 / 3);
        assert_ne!(one, other);
        assert!(!one.reveal().contains(|c: char| !c.is_ascii_alphanumeric() && !"-_:".contains(c)));
    }

    #[tokio::test]
    async fn a_recorded_tenant_is_found_and_listed_by_name() {
        let (_directory, store) = store();
        assert!(list(&store).await.unwrap().is_empty());
        for text in ["prod", "dev"] {
            record(&store, &name(text)).await.unwrap();
        }
        let names: Vec<_> = list(&store).await.unwrap().into_iter().map(|tenant| tenant.name).collect();
        assert_eq!(names, [name("dev"), name("prod")]);
        assert!(matches!(record(&store, &name("dev")).await, Err(TenantError::Exists(_))));
        assert_eq!(get(&store, &name("test")).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_place_that_only_stands_above_others_is_no_tenant() {
        let (_directory, store) = store();
        store.ensure(&Place::Tenant(&name("dev")).path().join("apps")).await.unwrap();
        assert!(get(&store, &name("dev")).await.unwrap().is_none() && list(&store).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn forgetting_a_tenant_takes_all_records_below_it_and_no_other() {
        let (_directory, store) = store();
        for text in ["dev", "prod"] {
            record(&store, &name(text)).await.unwrap();
            let apps = Place::Tenant(&name(text)).path().join("apps");
            store.ensure(&apps.join("shop").join("releases").join("0000000001")).await.unwrap();
            store.ensure(&apps.join("wiki")).await.unwrap();
        }
        forget(&store, &name("dev")).await.unwrap();
        forget(&store, &name("dev")).await.unwrap();
        assert_eq!(store.children(&Place::Tenants.path()).await.unwrap(), ["prod"]);
        assert_eq!(store.children(&Place::Tenant(&name("prod")).path().join("apps")).await.unwrap(), ["shop", "wiki"]);
    }

    #[tokio::test]
    async fn without_a_root_marathon_nothing_is_recorded() {
        let (_directory, store) = store();
        let engines = definition::samples::engines("/srv/paas");
        let refused = create(&store, &nobody(), &engines, &name("dev"), &|_| {}).await;
        assert!(matches!(refused, Err(TenantError::Root(ClientError::Unreachable { .. }))), "{refused:?}");
        assert_eq!(get(&store, &name("dev")).await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_unknown_tenant_has_no_marathon_and_cannot_be_ended() {
        let (_directory, store) = store();
        assert!(matches!(marathon_of(&store, &nobody(), &name("dev")).await, Err(TenantError::NotFound(_))));
        let ended = end(&store, &nobody(), &name("dev"), true, &|_| {}).await;
        assert!(matches!(ended, Err(TenantError::NotFound(_))));
    }
}
