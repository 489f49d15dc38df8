//! Which resource a path names, and which methods it takes.

use axum::http::Method;

use super::mesos::Page;

/// A resource of Marathon's API. Ids are as they stand in the URL, without slashes around them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Resource {
    Root,
    Ping,
    Metrics,
    Prometheus,
    Logging,
    Config,
    /// What a browser shows.
    Ui,
    Help,
    /// Files that a Marathon has beside its API.
    Public,
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
    Pods,
    /// A pod, or something of one: none is ever there.
    Pod(String),
    PodStatuses,
    Plugins,
    Plugin(String),
    /// Something of Mesos' API.
    Mesos(Page),
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
            ("logging", []) => Some(Self::Logging),
            ("config", []) => Some(Self::Config),
            ("ui", _) => Some(Self::Ui),
            ("help", []) => Some(Self::Help),
            ("public" | "api-console", _) => Some(Self::Public),
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
            ("v2", ["pods"]) => Some(Self::Pods),
            ("v2", ["pods", "::status"] | ["pods::status"]) => Some(Self::PodStatuses),
            ("v2", ["pods", id @ ..]) => Some(Self::of_pods(id)),
            ("v2", ["plugins"]) => Some(Self::Plugins),
            ("v2", ["plugins", id, ..]) => Some(Self::Plugin((*id).to_owned())),
            (first, rest) => Page::of(first, rest).map(Self::Mesos),
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

    /// `::status` and the like follow the id of a pod.
    fn of_pods(segments: &[&str]) -> Self {
        let whole = segments.join("/");
        Self::Pod(whole.split_once("::").map_or(whole.as_str(), |(id, _)| id).to_owned())
    }

    /// The resource as a request of that method sees it: words after a group's id are its parts for who reads, and
    /// names of groups for who changes.
    pub(super) fn asked_by(self, method: &Method) -> Self {
        if matches!(*method, Method::GET | Method::HEAD) {
            return self;
        }
        let below = |id: &str, parts: &[&str]| {
            let id = Some(id).filter(|id| !id.is_empty()).into_iter().chain(parts.iter().copied());
            Self::Group(id.collect::<Vec<_>>().join("/"))
        };
        match self {
            Self::GroupApps(id) => below(&id, &["apps"]),
            Self::GroupVersions(id) => below(&id, &["versions"]),
            Self::GroupVersion(id, version) => below(&id, &["versions", &version]),
            other => other,
        }
    }

    /// The media type that it answers with; none when that depends, or is its own matter.
    pub(super) fn gives(&self) -> Option<&'static str> {
        match self {
            Self::Root | Self::Ping | Self::Events | Self::Ui | Self::Help | Self::Public | Self::Mesos(_) => None,
            Self::Prometheus => Some("text/plain"),
            _ => Some("application/json"),
        }
    }

    /// The methods it takes besides OPTIONS.
    pub(super) fn methods(&self) -> &'static [Method] {
        const READ: &[Method] = &[Method::GET, Method::HEAD];
        const REMOVE: &[Method] = &[Method::DELETE];
        const POST: &[Method] = &[Method::POST];
        match self {
            Self::Apps => &[Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH],
            Self::Group(id) if id.is_empty() => &[Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE],
            Self::Logging | Self::Pods => &[Method::GET, Method::HEAD, Method::POST],
            Self::Pod(_) => &[Method::GET, Method::HEAD, Method::PUT, Method::DELETE],
            Self::Plugin(_) => &[Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE],
            Self::App(_) => &[Method::GET, Method::HEAD, Method::PUT, Method::PATCH, Method::DELETE],
            Self::Group(_) => &[Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE],
            Self::Leader | Self::AppTasks(_) => &[Method::GET, Method::HEAD, Method::DELETE],
            Self::AppTask(..) | Self::Deployment(_) | Self::QueueDelay(_) => REMOVE,
            Self::Restart(_) | Self::TasksDelete => POST,
            Self::Mesos(page) => page.methods(),
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
    use std::collections::{BTreeMap, BTreeSet};

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
            ("/v2/pods/::status", Resource::PodStatuses),
            ("/v2/pods/a/b::versions/x", Resource::Pod("a/b".into())),
            ("/v2/plugins/p/x", Resource::Plugin("p".into())),
        ] {
            assert_eq!(Resource::of(path), Some(resource), "{path}");
        }
    }

    #[test]
    fn a_group_may_be_called_as_a_part_of_one_is() {
        let put = |path: &str| Resource::of(path).unwrap().asked_by(&Method::PUT);
        assert_eq!(put("/v2/groups/apps"), Resource::Group("apps".into()));
        assert_eq!(put("/v2/groups/g/versions/x"), Resource::Group("g/versions/x".into()));
        assert_eq!(Resource::of("/v2/groups/apps").unwrap().asked_by(&Method::GET), Resource::GroupApps(String::new()));
    }

    #[test]
    fn what_no_resource_matches_is_none() {
        for path in ["//v2/apps", "/v2", "/v2/nope", "/nope", "/v2/apps/%zz", "/v2/deployments/a/b"] {
            assert_eq!(Resource::of(path), None, "{path}");
        }
    }

    /// The rows of the documented table: method and path, sample names in the path's gaps.
    fn documented() -> Vec<(Method, String)> {
        const DOCS: &str = include_str!("../../../docs/marathon-api.md");
        let rows = DOCS.lines().filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            let (method, path) = (cells.next()?, cells.next()?.trim_matches('`'));
            let method = method.parse::<Method>().ok().filter(|_| path.starts_with('/'))?;
            let sample = path.replace("{version}", "2026-01-01T00:00:00.000Z").replace(['{', '}'], "");
            Some((method, sample))
        });
        rows.collect()
    }

    /// A number for each kind of resource that is Marathon's; those of Mesos are described elsewhere.
    fn number(resource: &Resource) -> Option<usize> {
        Some(match resource {
            Resource::Root => 0,
            Resource::Ping => 1,
            Resource::Metrics => 2,
            Resource::Prometheus => 3,
            Resource::Logging => 4,
            Resource::Config => 5,
            Resource::Ui => 6,
            Resource::Help => 7,
            Resource::Public => 8,
            Resource::Info => 9,
            Resource::Leader => 10,
            Resource::Events => 11,
            Resource::Apps => 12,
            Resource::App(_) => 13,
            Resource::AppsBelow(_) => 14,
            Resource::Restart(_) => 15,
            Resource::AppVersions(_) => 16,
            Resource::AppVersion(..) => 17,
            Resource::AppTasks(_) => 18,
            Resource::AppTask(..) => 19,
            Resource::TasksBelow(_) => 20,
            Resource::Group(id) if id.is_empty() => 21,
            Resource::Group(_) => 22,
            Resource::GroupApps(_) => 23,
            Resource::GroupVersions(_) => 24,
            Resource::GroupVersion(..) => 25,
            Resource::Tasks => 26,
            Resource::TasksDelete => 27,
            Resource::Deployments => 28,
            Resource::Deployment(_) => 29,
            Resource::Queue => 30,
            Resource::QueueDelay(_) => 31,
            Resource::Pods => 32,
            Resource::Pod(_) => 33,
            Resource::PodStatuses => 34,
            Resource::Plugins => 35,
            Resource::Plugin(_) => 36,
            Resource::Mesos(_) => return None,
        })
    }

    #[test]
    fn every_resource_and_method_has_its_row_in_the_docs() {
        let mut rows: BTreeMap<usize, (Resource, BTreeSet<String>)> = BTreeMap::new();
        for (method, path) in documented() {
            let resource = Resource::of(&path).unwrap_or_else(|| panic!("{path} is documented, and no resource"));
            let number = number(&resource).unwrap_or_else(|| panic!("{path} is not Marathon's"));
            assert!(resource.methods().contains(&method), "{method} {path} is documented, and not taken");
            rows.entry(number).or_insert_with(|| (resource, BTreeSet::new())).1.insert(method.to_string());
        }
        let numbers: Vec<_> = rows.keys().copied().collect();
        assert_eq!(numbers, (0..37).collect::<Vec<_>>(), "a resource has no row");
        for (resource, documented) in rows.values() {
            let taken = resource.methods().iter().filter(|method| *method != Method::HEAD);
            assert_eq!(*documented, taken.map(ToString::to_string).collect(), "{resource:?}");
        }
    }
}
