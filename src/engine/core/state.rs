//! What is asked for and what is there, at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::Moment;
use super::super::backoff::Backoff;
use super::super::deployment::Deployment;
use super::super::event::Place;
use super::super::group::Group;
use super::super::instance::{Instance, InstanceId};
use super::super::ledger::Books;
use super::super::waiting::Waiting;
use crate::marathon::{App, LastTaskFailure, PathId, ReadinessResult};

/// The instances of one app.
pub type Crew = BTreeMap<InstanceId, Arc<Instance>>;

/// The definitions of one app that are in use, by version.
type Versions = BTreeMap<String, Arc<App>>;

/// The state, to be read. A clone shares everything with its original until one of them changes, so that whoever reads
/// has a moment of its own while the owner goes on.
#[derive(Debug, Clone)]
pub struct State {
    pub place: Arc<Place>,
    pub(super) now: Moment,
    pub(super) root: Arc<Group>,
    pub(super) root_version: Moment,
    pub(super) definitions: Arc<BTreeMap<PathId, Arc<Versions>>>,
    pub(super) crews: Arc<BTreeMap<PathId, Arc<Crew>>>,
    pub(super) deployments: Vec<Arc<Deployment>>,
    pub(super) failures: Arc<BTreeMap<PathId, Arc<LastTaskFailure>>>,
    pub(super) backoff: Arc<Backoff>,
    pub(super) books: Books,
    /// The apps that wait for room.
    pub(super) waiting: Arc<BTreeMap<PathId, Waiting>>,
}

impl State {
    /// The same state, read at a later time.
    #[must_use]
    pub fn at(mut self, now: Moment) -> Self {
        self.now = self.now.max(now);
        self
    }
    pub fn now(&self) -> Moment {
        self.now
    }
    pub fn root(&self) -> &Group {
        &self.root
    }
    pub fn root_version(&self) -> Moment {
        self.root_version
    }
    pub fn app(&self, id: &PathId) -> Option<&Arc<App>> {
        self.root.app(id)
    }
    pub fn deployments(&self) -> &[Arc<Deployment>] {
        &self.deployments
    }
    pub fn failure(&self, app: &PathId) -> Option<&Arc<LastTaskFailure>> {
        self.failures.get(app)
    }
    pub fn crew(&self, app: &PathId) -> Option<&Arc<Crew>> {
        self.crews.get(app)
    }
    pub fn instances(&self, app: &PathId) -> impl Iterator<Item = &Instance> {
        self.crews.get(app).into_iter().flat_map(|crew| crew.values()).map(|instance| &**instance)
    }
    pub fn all_instances(&self) -> impl Iterator<Item = &Instance> {
        self.shared_instances().map(|instance| &**instance)
    }
    /// All instances, ordered by id. One that changes becomes another in the states after it.
    pub fn shared_instances(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.crews.values().flat_map(|crew| crew.values())
    }
    pub fn instance(&self, id: &InstanceId) -> Option<&Instance> {
        self.crews.get(id.app())?.get(id).map(|instance| &**instance)
    }
    /// The definition that an instance's tasks are made from.
    pub fn definition(&self, instance: &Instance) -> Option<&Arc<App>> {
        self.definition_of(instance.app(), &instance.version)
    }
    /// The definition of an app in one of the versions that are in use.
    pub fn definition_of(&self, app: &PathId, version: &str) -> Option<&Arc<App>> {
        self.definitions.get(app)?.get(version)
    }
    /// Until when launches of the app are held back; none when they are not.
    pub fn held_until(&self, app: &App) -> Option<Moment> {
        self.backoff.not_before(app, self.now)
    }
    /// What there is to give, and what is given.
    pub fn books(&self) -> Books {
        self.books
    }
    /// What the readiness checks of the app's instances found; nothing once no deployment waits for them.
    pub fn readiness(&self, app: &PathId) -> Vec<ReadinessResult> {
        self.instances(app).filter_map(|instance| instance.live()?.readiness.clone()).collect()
    }
    /// Whether a deployment is at work on the app.
    pub fn is_deploying(&self, app: &PathId) -> bool {
        self.deployments.iter().any(|deployment| deployment.affects(app))
    }
    /// How the app has been waiting for room; none when it has not asked.
    pub fn waiting(&self, app: &PathId) -> Option<&Waiting> {
        self.waiting.get(app)
    }

    pub(super) fn instance_mut(&mut self, id: &InstanceId) -> Option<&mut Instance> {
        // Looked up first: what is not there is no reason to part from those who read.
        self.instance(id)?;
        let crew = Arc::make_mut(&mut self.crews).get_mut(id.app())?;
        Arc::make_mut(crew).get_mut(id).map(Arc::make_mut)
    }
    pub(super) fn put_instance(&mut self, instance: Instance) {
        let crew = Arc::make_mut(&mut self.crews).entry(instance.app().clone()).or_default();
        Arc::make_mut(crew).insert(instance.id.clone(), Arc::new(instance));
    }
    pub(super) fn take_instance(&mut self, id: &InstanceId) -> Option<Arc<Instance>> {
        self.instance(id)?;
        let crews = Arc::make_mut(&mut self.crews);
        let crew = Arc::make_mut(crews.get_mut(id.app())?);
        let taken = crew.remove(id);
        if crew.is_empty() {
            crews.remove(id.app());
        }
        taken
    }
    pub(super) fn define(&mut self, app: Arc<App>) {
        let known = Arc::make_mut(&mut self.definitions).entry(app.id.clone()).or_default();
        Arc::make_mut(known).insert(app.version.clone(), app);
    }
    /// Drops definitions of the app that nothing refers to any more.
    pub(super) fn forget_definitions(&mut self, app: &PathId) {
        let Some(known) = self.definitions.get(app) else { return };
        let left: BTreeMap<_, _> = known
            .iter()
            .filter(|(version, _)| self.is_in_use(app, version))
            .map(|(version, definition)| (version.clone(), definition.clone()))
            .collect();
        if left.len() == known.len() {
            return;
        }
        let definitions = Arc::make_mut(&mut self.definitions);
        if left.is_empty() {
            definitions.remove(app);
        } else {
            definitions.insert(app.clone(), Arc::new(left));
        }
    }
    fn is_in_use(&self, app: &PathId, version: &str) -> bool {
        let of_change = |deployment: &Arc<Deployment>| {
            let versions = deployment.changes.get(app).map(|change| [&change.before, &change.after]);
            versions.into_iter().flatten().flatten().any(|used| used == version)
        };
        self.root.app(app).is_some_and(|app| app.version == version)
            || self.instances(app).any(|instance| instance.version == version)
            || self.deployments.iter().any(of_change)
    }
}
