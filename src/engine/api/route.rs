//! Which resource a path names, and which methods it takes.

use axum::http::Method;

/// A resource of Marathon's API. Ids are as they stand in the URL, without slashes around them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Resource {
    Root,
    Ping,
    Metrics,
    Prometheus,
    Info,
    Leader,
    Events,
    Apps,
    App(String),
    /// `/v2/apps/<group>/*`
    AppsBelow(String),
    Restart(String),
    AppVersions(String),
    AppVersion(String, String),
    AppTasks(String),
    AppTask(String, String),
    TasksBelow(String),
    Group(String),
    GroupApps(String),
    GroupVersions(String),
    GroupVersion(String, String),
    Tasks,
    TasksDelete,
    Deployments,
    Deployment(String),
    Queue,
    QueueDelay(String),
    /// Mesos' master: its agents, of which this engine is the only one.
    Agents,
    /// Mesos' agent: what it runs and ran, and where their files are.
    AgentState,
    FilesRead,
}

impl Resource {
    /// The resource of a URL's path; none when there is no such.
    pub(super) fn of(path: &str) -> Option<Self> {
        if path == "/" {
            return Some(Self::Root);
        }
        // The first segment is there; after it, empty ones do not count.
        let mut raw = path.strip_prefix('/')?.split('/');
        let first = decoded(raw.next()?)?;
        let rest = raw.filter(|segment| !segment.is_empty()).map(decoded).collect::<Option<Vec<_>>>()?;
        let rest = rest.iter().map(String::as_str).collect::<Vec<_>>();
        match (first.as_str(), rest.as_slice()) {
            ("ping", []) => Some(Self::Ping),
            ("metrics", []) => Some(Self::Metrics),
            ("metrics", ["prometheus"]) => Some(Self::Prometheus),
            ("v2", ["info"]) => Some(Self::Info),
            ("v2", ["leader"]) => Some(Self::Leader),
            ("v2", ["events"]) => Some(Self::Events),
            ("v2", ["apps", id @ ..]) => Some(Self::of_apps(id)),
            ("v2", ["groups", id @ ..]) => Some(Self::of_groups(id)),
            ("v2", ["tasks"]) => Some(Self::Tasks),
            ("v2", ["tasks", "delete"]) => Some(Self::TasksDelete),
            ("v2", ["deployments"]) => Some(Self::Deployments),
            ("v2", ["deployments", id]) => Some(Self::Deployment((*id).to_owned())),
            ("v2", ["queue"]) => Some(Self::Queue),
            ("v2", ["queue", id @ .., "delay"]) => Some(Self::QueueDelay(id.join("/"))),
            ("slaves", []) | ("master", ["slaves"]) => Some(Self::Agents),
            ("state", []) | ("slave(1)", ["state"]) => Some(Self::AgentState),
            ("files", ["read"]) => Some(Self::FilesRead),
            _ => None,
        }
    }

    fn of_apps(segments: &[&str]) -> Self {
        match segments {
            [] => Self::Apps,
            [group @ .., "*"] => Self::AppsBelow(group.join("/")),
            [group @ .., "*", "tasks"] => Self::TasksBelow(group.join("/")),
            [id @ .., "restart"] => Self::Restart(id.join("/")),
            [id @ .., "versions"] => Self::AppVersions(id.join("/")),
            [id @ .., "versions", version] => Self::AppVersion(id.join("/"), (*version).to_owned()),
            [id @ .., "tasks"] => Self::AppTasks(id.join("/")),
            [id @ .., "tasks", task] => Self::AppTask(id.join("/"), (*task).to_owned()),
            id => Self::App(id.join("/")),
        }
    }

    fn of_groups(segments: &[&str]) -> Self {
        match segments {
            [id @ .., "apps"] => Self::GroupApps(id.join("/")),
            [id @ .., "versions"] => Self::GroupVersions(id.join("/")),
            [id @ .., "versions", version] => Self::GroupVersion(id.join("/"), (*version).to_owned()),
            id => Self::Group(id.join("/")),
        }
    }

    /// The methods it takes besides OPTIONS.
    pub(super) fn methods(&self) -> &'static [Method] {
        const READ: &[Method] = &[Method::GET, Method::HEAD];
        const REMOVE: &[Method] = &[Method::DELETE];
        const POST: &[Method] = &[Method::POST];
        match self {
            Self::Apps => &[Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH],
            Self::App(_) => &[Method::GET, Method::HEAD, Method::PUT, Method::PATCH, Method::DELETE],
            Self::Group(_) => &[Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE],
            Self::AppTasks(_) => &[Method::GET, Method::HEAD, Method::DELETE],
            Self::AppTask(..) | Self::Deployment(_) | Self::QueueDelay(_) => REMOVE,
            Self::Restart(_) | Self::TasksDelete => POST,
            _ => READ,
        }
    }
}

/// The segment with its `%xx`; none when that is no text.
fn decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[2..];
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_resources_and_empty_segments_do_not_count() {
        let app = |id: &str| Resource::App(id.into());
        for (path, resource) in [
            ("/v2/apps", Resource::Apps),
            ("/v2/apps/", Resource::Apps),
            ("/v2/apps//shop/web", app("shop/web")),
            ("/v2/apps/%2Fshop%2Fweb", app("/shop/web")),
            ("/v2/apps/shop/*", Resource::AppsBelow("shop".into())),
            ("/v2/apps/*", Resource::AppsBelow(String::new())),
            ("/v2/apps/shop/%2A/tasks", Resource::TasksBelow("shop".into())),
            ("/v2/apps/shop/web/tasks/x._app.1", Resource::AppTask("shop/web".into(), "x._app.1".into())),
            ("/v2/groups", Resource::Group(String::new())),
            ("/v2/groups/g/versions/t", Resource::GroupVersion("g".into(), "t".into())),
            ("/v2/queue//q/a/delay", Resource::QueueDelay("q/a".into())),
        ] {
            assert_eq!(Resource::of(path), Some(resource), "{path}");
        }
    }

    #[test]
    fn what_no_resource_matches_is_none() {
        for path in ["//v2/apps", "/v2", "/v2/nope", "/nope", "/v2/apps/%zz", "/v2/deployments/a/b"] {
            assert_eq!(Resource::of(path), None, "{path}");
        }
    }
}
