//! More pushes than build slots: who waits, at which place, and who comes next.

use std::num::NonZeroU32;

use paas::store::{Lease, LeaseAttempt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::*;

type Said = (&'static str, String);

/// A host with one build slot, which is somebody's.
struct Busy {
    lab: Lab,
    slot: Option<Lease>,
    says: UnboundedSender<Said>,
    said: UnboundedReceiver<Said>,
}

impl Busy {
    async fn new() -> Self {
        let lab = Lab::serving(|platform| platform.parallel = NonZeroU32::MIN);
        let slot = StorePath::root().join("builds").join(1);
        let held = lab.platform.store.try_lease(&slot, "bob's push of 3f2c1ab to dev/wiki").await.unwrap();
        let LeaseAttempt::Held(slot) = held else { panic!("{held:?}") };
        let (says, said) = unbounded_channel();
        Self { lab, slot: Some(slot), says, said }
    }

    /// Begins a push to an app of that name, which another may be before.
    fn push(&self, name: &'static str, tenant: &str, project: &Project) -> JoinHandle<Result<(), String>> {
        let platform =
            Platform { build_logs: self.lab.home.path().join("logs-of").join(name), ..self.lab.platform.clone() };
        let push = Push {
            tenant: tenant.parse().unwrap(),
            app: name.parse().unwrap(),
            ..Lab::push_of(project, PushOptions::default())
        };
        let says = self.says.clone();
        tokio::spawn(async move {
            let say = |progress: Progress| {
                if let Progress::Step(text) = progress {
                    let _ = says.send((name, text));
                }
            };
            run(push, &platform, permission(&platform), &say).await.map(drop).map_err(|error| error.reason())
        })
    }

    /// The next thing said that is about turns.
    async fn next(&mut self) -> (&'static str, String) {
        loop {
            let (name, text) = self.said.recv().await.unwrap();
            if ["Waiting", "Place", "Building"].iter().any(|word| text.starts_with(word)) {
                return (name, text);
            }
        }
    }
}

#[tokio::test]
async fn pushes_are_told_their_places_and_build_in_the_order_in_which_they_came_also_when_one_is_killed() {
    let mut busy = Busy::new().await;
    let project = Project::built_by("true");
    let waits = |place: u32, more: &str| {
        format!("Waiting at most 1m for a build slot: place {place} of the queue, 1 build is under way{more}")
    };
    let mut pushes = Vec::new();
    for (place, name, tenant) in [(1, "first", "dev"), (2, "second", "dev"), (3, "third", "prod"), (4, "last", "dev")] {
        pushes.push(busy.push(name, tenant, &project));
        let (who, text) = busy.next().await;
        // Another tenant's builds are nobody's business.
        let more = if tenant == "dev" { ": bob's push of 3f2c1ab to wiki since " } else { "" };
        assert_eq!(who, name);
        assert!(text.starts_with(&waits(place, more)), "{text}");
        assert!(tenant == "dev" || text.ends_with("under way"), "{text}");
    }
    assert!(busy.lab.containers().is_empty(), "something builds already");
    let killed = pushes.remove(1);
    killed.abort();
    assert!(killed.await.unwrap_err().is_cancelled());
    assert_eq!(busy.next().await, ("third", "Place 2 of the queue".to_owned()));
    assert_eq!(busy.next().await, ("last", "Place 3 of the queue".to_owned()));

    let Busy { lab, slot, says, said } = busy;
    drop(slot);
    let mut told = Vec::new();
    for push in pushes {
        push.await.unwrap().unwrap();
    }
    drop(says);
    let mut said = said;
    while let Some((name, text)) = said.recv().await {
        if text.starts_with("Building") {
            told.push(name);
        }
    }
    assert_eq!(told, ["first", "third", "last"]);
    let log = std::fs::read_to_string(lab.home.path().join("logs-of/last/1.log")).unwrap();
    assert!(
        log.contains("-----> Waiting at most 1m for a build slot: place 4") && log.contains("-----> Place 1"),
        "{log}"
    );
}

#[tokio::test]
async fn whoever_does_not_wait_is_refused_before_the_build_has_a_number() {
    let busy = Busy::new().await;
    let options = PushOptions { no_wait: true, ..PushOptions::default() };
    let refused = busy.lab.run(Lab::push_of(&Project::built_by("true"), options)).await;
    let reason = "build failed: as many builds are under way as this host allows at once (1, builds.parallel)";
    assert!(refused.reason().starts_with(reason), "{}", refused.reason());
    assert!(!busy.lab.home.path().join("logs").exists());
}

/// A tenant whose own builds are as many as it may have leaves the host's slots to others.
#[tokio::test]
async fn a_build_that_waits_for_its_tenant_takes_no_slot_of_the_hosts() {
    let mut busy = Busy::new().await;
    let project = Project::built_by("true");
    let of_tenant = StorePath::root().join("tenants").join("dev").join("builds").join(1);
    let held = busy.lab.platform.store.try_lease(&of_tenant, "bob's push of 3f2c1ab to dev/wiki").await.unwrap();
    busy.lab.platform.tenancy.quota.builds = NonZeroU32::new(1);
    let limited = busy.push("limited", "dev", &project);
    let (_, text) = busy.next().await;
    assert!(text.contains("of tenant `dev`, whose quota allows 1 at once: place 1 of the queue"), "{text}");
    busy.lab.platform.tenancy.quota.builds = None;
    let other = busy.push("other", "prod", &project);
    assert!(busy.next().await.1.contains("a build slot: place 1 of the queue"));
    drop(busy.slot.take());
    other.await.unwrap().unwrap();
    drop(held);
    limited.await.unwrap().unwrap();
}
