//! The labels by which everything of ours in Docker is found again, and nothing else is touched.

/// On all we make (containers, networks, volumes, images): the home of the platform it belongs to.
pub const HOME: &str = "paas.home";
/// On an instance's container: the engine that runs it (the id in its state directory).
pub const ENGINE: &str = "paas.engine";
/// On an instance's container, as Mesos does it: the task's id.
pub const TASK: &str = "MESOS_TASK_ID";
/// On a build's container: the push it belongs to, so that a push which was cut off can be cleaned up.
/// Empty on slugs and their instances, which inherit it.
pub const PUSH: &str = "paas.push";
pub const TENANT: &str = "paas.tenant";
pub const APP: &str = "paas.app";
/// On a slug image: its content key (see `pipeline`).
pub const SLUG: &str = "paas.slug";
/// On what the steps of a Dockerfile leave, containers and images: the app, as `<tenant>/<app>`. Empty on slugs and their
/// instances, which inherit it.
pub const STEP: &str = "paas.step";
/// On the builder image that `paas stack build` makes: its recipe. Slugs inherit it.
pub const STACK: &str = "paas.stack";
/// On the image below that one: which packages it has. Everything on top inherits it.
pub const STACK_BASE: &str = "paas.stack.base";

/// Whether a label says something to us, so that nobody else may set it.
pub fn is_ours(key: &str) -> bool {
    key == TASK || key.starts_with("paas.")
}
