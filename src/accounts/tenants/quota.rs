//! A tenant's quota: kept in its record, and held by its Marathon, which is started anew with every other one.

use std::time::Duration;

use super::{
    Changes, Place, START_PATIENCE, Tenant, TenantEngines, TenantError, TenantMarathon, TenantRecord, definition,
    failed, names_below, read, serving_task, until,
};
use crate::marathon::{App, Client, ClientError, DeploymentResult};
use crate::model::{InUse, QuotaChange, TenantName};
use crate::store::{Lease, LeaseAttempt, Store, StoreError};

/// How long others may take who hold the quota: a push while it is posted, a change while the Marathon starts anew.
const TURN_PATIENCE: Duration = Duration::from_mins(4);
/// How long pushes may take to end before the Marathon does.
const PUSHES_PATIENCE: Duration = Duration::from_mins(1);
/// As others are told who holds what they wait for.
const CHANGE: &str = "a change of the quota";

/// Changes the quota, and waits until the tenant's Marathon serves with it. Its apps run on meanwhile.
///
/// The change is kept before the Marathon is told, so that it holds for all later pushes; whoever was interrupted, or
/// had an error, makes it again. Dropping the future leaves it as far as it was.
pub async fn set_quota(
    store: &dyn Store,
    root: &Client,
    engines: &TenantEngines,
    name: &TenantName,
    change: &QuotaChange,
    say: &(dyn Fn(&str) + Send + Sync),
) -> Result<Tenant, TenantError> {
    // Apps before the quota, as a push takes them.
    let _no_pushes = if change.is_of_share() {
        say("letting the pushes end that are under way");
        no_pushes(store, name).await?
    } else {
        Vec::new()
    };
    let _turn = turn(store, name).await?;
    let tenant = keep(store, name, change).await?;
    let wanted = engines.app(name, &tenant.credentials, &tenant.quota);
    let posted = root.app(&definition::app_id(name)).await.map_err(TenantError::Root)?;
    let posted = posted.ok_or_else(|| TenantError::NotServing(name.clone()))?;
    if change.is_of_share() && posted.app.args != wanted.args {
        start_anew(root, &wanted, name, say).await?;
    }
    Ok(tenant)
}

/// Waits a while for the pushes that are under way, since whoever follows a deployment loses sight of it with the
/// Marathon, and keeps others from beginning. One that takes long does not hold up the change for ever.
async fn no_pushes(store: &dyn Store, name: &TenantName) -> Result<Vec<Lease>, TenantError> {
    let deadline = tokio::time::Instant::now() + PUSHES_PATIENCE;
    let apps = Place::Apps(name);
    let mut held = Vec::new();
    for app in names_below(store, apps).await? {
        let Ok(app) = apps.path().try_join(&app) else { continue };
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        if let LeaseAttempt::Held(lease) = store.lease(&app, CHANGE, left).await? {
            held.push(lease);
        }
    }
    Ok(held)
}

/// What the apps of a tenant's Marathon ask for in all.
pub async fn in_use(marathon: &TenantMarathon, name: &TenantName) -> Result<InUse, TenantError> {
    let found = marathon.client()?.apps().await.map_err(|cause| failed(name, cause))?;
    Ok(InUse::sum(found.iter().map(|found| {
        let app = &found.app;
        (app.id.segments().first().map_or("", String::as_str), app.instances, app.share())
    })))
}

async fn turn(store: &dyn Store, name: &TenantName) -> Result<Lease, TenantError> {
    match store.lease(&Place::Quota(name).path(), CHANGE, TURN_PATIENCE).await? {
        LeaseAttempt::Held(lease) => Ok(lease),
        LeaseAttempt::Busy(holder) => {
            let holder = holder.map_or_else(|| "somebody".to_owned(), |holder| holder.who);
            Err(TenantError::Busy { tenant: name.clone(), holder })
        }
    }
}

async fn keep(store: &dyn Store, name: &TenantName, change: &QuotaChange) -> Result<Tenant, TenantError> {
    loop {
        let (mut tenant, version) = read(store, name).await?.ok_or_else(|| TenantError::NotFound(name.clone()))?;
        tenant.quota = change.applied_to(&tenant.quota);
        let record = TenantRecord::of(&tenant).to_bytes();
        match store.put(&Place::Tenant(name).path(), record, Some(version)).await {
            Ok(()) => return Ok(tenant),
            Err(StoreError::Changed(_)) => {}
            Err(StoreError::NotFound(_)) => return Err(TenantError::NotFound(name.clone())),
            Err(error) => return Err(error.into()),
        }
    }
}

async fn start_anew(
    root: &Client,
    app: &App,
    tenant: &TenantName,
    say: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), TenantError> {
    say("starting its Marathon anew, with these limits");
    let changes = Changes::follow(root).await.map_err(TenantError::Root)?;
    let posted = root.put_app(app, false).await.map_err(TenantError::Root)?;
    say("waiting until it is healthy");
    let up = until(root, changes, START_PATIENCE, || serves_anew(root, app, &posted)).await;
    let reason = match up.map_err(TenantError::Root)? {
        Some(Ok(())) => return Ok(()),
        Some(Err(reason)) => reason,
        None => format!("it was not healthy within {} s", START_PATIENCE.as_secs()),
    };
    Err(TenantError::NotUp { tenant: tenant.clone(), reason })
}

/// Whether what was posted serves; with why it never will, if that is plain.
async fn serves_anew(
    root: &Client,
    app: &App,
    posted: &DeploymentResult,
) -> Result<Option<Result<(), String>>, ClientError> {
    // In this order: a deployment that has ended leaves no old task.
    let deploying = root.deployments().await?.iter().any(|deployment| deployment.id == posted.deployment_id);
    let Some(found) = root.app(&app.id).await? else { return Ok(Some(Err("the root Marathon forgot it".to_owned()))) };
    if let Some(failure) = found.last_task_failure.as_ref().filter(|failure| failure.version == posted.version) {
        return Ok(Some(Err(format!("it ended: {}", failure.message))));
    }
    Ok((!deploying && serving_task(&found).is_some()).then_some(Ok(())))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{name, store};
    use super::super::{get, record};
    use super::*;
    use crate::model::{Limit, Quota};

    #[tokio::test]
    async fn a_quota_is_kept_in_the_tenants_record_beside_its_credentials() {
        let (_directory, store) = store();
        let dev = name("dev");
        let made = record(&store, &dev).await.unwrap();
        assert_eq!(made.quota, Quota::default());
        let change = QuotaChange { mem: Some(Limit::To(512)), apps: Some(Limit::To(2)), ..QuotaChange::default() };
        keep(&store, &dev, &change).await.unwrap();
        let lifted = QuotaChange { apps: Some(Limit::Lifted), ..QuotaChange::default() };
        keep(&store, &dev, &lifted).await.unwrap();
        let expected = Tenant { quota: Quota { mem: Some(512), ..Quota::default() }, ..made };
        assert_eq!(get(&store, &dev).await.unwrap(), Some(expected));
        assert!(matches!(keep(&store, &name("prod"), &change).await, Err(TenantError::NotFound(_))));
    }

    #[tokio::test]
    async fn a_record_from_before_there_were_quotas_has_no_limit() {
        let (_directory, store) = store();
        store.ensure(&Place::Tenants.path()).await.unwrap();
        let old = br#"{"created":"2026-11-23T12:03:04Z","credentials":"dev:hunter2"}"#;
        store.create(&Place::Tenant(&name("dev")).path(), old.to_vec()).await.unwrap();
        assert_eq!(get(&store, &name("dev")).await.unwrap().unwrap().quota, Quota::default());
    }

    #[tokio::test]
    async fn a_change_waits_for_the_pushes_that_are_under_way_and_keeps_others_from_beginning() {
        let (_directory, store) = store();
        let dev = name("dev");
        let shop = Place::Apps(&dev).path().join("shop");
        store.ensure(&shop).await.unwrap();
        let LeaseAttempt::Held(push) = store.try_lease(&shop, "a push").await.unwrap() else { panic!("it is free") };
        let mut waiting = std::pin::pin!(no_pushes(&store, &dev));
        assert!(tokio::time::timeout(Duration::from_millis(100), &mut waiting).await.is_err());
        drop(push);
        let held = waiting.await.unwrap();
        assert_eq!(store.lease_holder(&shop).await.unwrap().unwrap().who, CHANGE);
        drop(held);
        assert!(no_pushes(&store, &name("prod")).await.unwrap().is_empty());
    }
}
