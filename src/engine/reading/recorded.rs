//! Every POST, PUT and PATCH of the recorded transcripts, read and applied to a tree that follows the recording.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::tests::{read_app_change, read_app_changes};
use super::*;
use crate::engine::Moment;
use crate::engine::group::settle_versions;
use crate::marathon::transcripts::{numbers_alike, steps};
use crate::marathon::{App, PathId};

/// The transcripts whose every change is one of a definition. The others also kill tasks or cancel deployments, which
/// changes definitions too and is no matter of reading.
const FOLLOWED: [&str; 8] = [
    "app-defaults",
    "app-errors",
    "app-queries",
    "app-updates",
    "dependent-group",
    "docker-release",
    "failing-app",
    "groups",
];

/// What a step comes to.
enum Outcome {
    /// The tree after it, and the app that a POST answers.
    Changed(Group, Option<Box<App>>),
    Refused(Refusal),
    /// Nothing of this room: a GET, a restart, a deployment.
    Elsewhere,
}

/// A tree that follows a recording: its clock is the recorded answers' versions.
struct Replay {
    root: Group,
    past: BTreeMap<Moment, Group>,
    rules: Rules,
}

impl Replay {
    fn new() -> Self {
        let rules = Rules { commands: true, ..Rules::default() };
        Self { root: Group::empty(PathId::root()), past: BTreeMap::new(), rules }
    }

    fn ask(&self, method: &str, path: &str, body: &[u8]) -> Outcome {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let asked = match path.strip_prefix("/v2/").and_then(|rest| rest.split_once('/').or(Some((rest, "")))) {
            Some(("apps", id)) if !id.ends_with("/restart") => self.ask_app(method, id, query, body),
            Some(("groups", id)) => self.ask_group(method, id, query, body),
            _ => return Outcome::Elsewhere,
        };
        match asked {
            Ok(Some((root, app))) => Outcome::Changed(root, app),
            Ok(None) => Outcome::Elsewhere,
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    fn ask_app(&self, method: &str, id: &str, query: &str, body: &[u8]) -> Asking {
        let partial = !query.contains("partialUpdate=false");
        let mut root = self.root.clone();
        let changes = match (method, id) {
            ("POST", "") => {
                let app = read_app(body, &self.rules)?;
                if root.app(&app.id).is_some() {
                    return Err(Refusal::app_exists(&app.id));
                }
                root.put_app(Arc::new(app.clone()));
                settle(&self.root, &mut root)?;
                return Ok(Some((root, Some(Box::new(app)))));
            }
            ("PUT" | "PATCH", "") => {
                let find = |id: &PathId| self.root.app(id).map(|app| &**app);
                read_app_changes(body, partial, method == "PUT", find, &self.rules)?
            }
            ("PUT" | "PATCH", _) => {
                let id = read_id(id)?;
                let current = self.root.app(&id).map(|app| &**app);
                let request = match method {
                    "PUT" => read_app_change(body, &id, current, partial, &self.rules)?,
                    _ => AppDraft::read(body)?.patch(&id, current, &self.rules)?,
                };
                vec![(id, request)]
            }
            ("DELETE", _) => {
                let id = read_id(id)?;
                root.app(&id).ok_or_else(|| Refusal::unknown_app(&id, Asked::ByChanging))?;
                root.remove_app(&id);
                return Ok(Some((root, None)));
            }
            _ => return Ok(None),
        };
        for (id, request) in changes {
            let app = match request {
                AppRequest::Define(app) => Arc::new(*app),
                AppRequest::RollBack(version) => {
                    let past = self.past.get(&version).and_then(|root| root.app(&id));
                    past.ok_or_else(|| Refusal::unknown_app(&id, Asked::ByChanging))?.clone()
                }
            };
            root.put_app(app);
        }
        settle(&self.root, &mut root)?;
        Ok(Some((root, None)))
    }

    fn ask_group(&self, method: &str, id: &str, query: &str, body: &[u8]) -> Asking {
        let id = read_id(id)?;
        let request = match method {
            "POST" | "PUT" if !query.contains("dryRun") => read_group(body, &id, &self.rules)?,
            "DELETE" => {
                let mut root = self.root.clone();
                root.group(&id).ok_or_else(|| Refusal::unknown_group(&id, Asked::ByChanging))?;
                root.remove_group(&id);
                return Ok(Some((root, None)));
            }
            _ => return Ok(None),
        };
        if method == "POST" && self.root.app(&request.id).is_some() {
            return Err(Refusal::app_in_the_way(&request.id));
        }
        if method == "POST" && self.root.group(&request.id).is_some() {
            return Err(Refusal::group_exists(&request.id));
        }
        let mut root = apply_group(&self.root, &request)?;
        if let GroupChange::RollBack(version) = request.change {
            let past = self.past.get(&version).and_then(|root| root.group(&request.id));
            root.put_group(past.ok_or_else(|| Refusal::group_version_unavailable(&request.id, version))?.clone());
        }
        settle(&self.root, &mut root)?;
        Ok(Some((root, None)))
    }

    fn settle_at(&mut self, root: Group, at: Moment) {
        let before = std::mem::replace(&mut self.root, root);
        settle_versions(&before, &mut self.root, at);
        self.past.insert(at, self.root.clone());
    }
}

type Asking = Result<Option<(Group, Option<Box<App>>)>, Refusal>;

/// What is not compared of an app: what only a running engine knows.
fn comparable(app: &Value) -> Value {
    let mut app = numbers_alike(app);
    let fields = app.as_object_mut().unwrap();
    for free in ["version", "versionInfo", "tasksStaged", "tasksRunning", "tasksHealthy", "tasksUnhealthy"] {
        fields.remove(free);
    }
    for free in ["deployments", "tasks", "lastTaskFailure", "readinessCheckResults", "tasksStats"] {
        fields.remove(free);
    }
    app
}

/// Details in any order; of a 400 only the kind of its details.
fn comparable_body(status: u16, body: &Value) -> Value {
    let mut body = body.clone();
    if status == 400 {
        body["details"] = json!(body["details"].is_string());
    } else if let Some(details) = body["details"].as_array_mut() {
        details.sort_by_key(ToString::to_string);
    }
    body
}

/// What differs at each step of a transcript.
fn differences(name: &str) -> (usize, Vec<String>) {
    let (mut replay, mut compared, mut found) = (Replay::new(), 0, Vec::new());
    for (number, step) in steps(name).iter().enumerate() {
        let (request, response) = (&step["request"], &step["response"]);
        let (Some(method), Some(path)) = (request["method"].as_str(), request["path"].as_str()) else { continue };
        let body = request["text"].as_str().map_or_else(|| request["json"].to_string(), ToOwned::to_owned);
        let (status, recorded) = (response["status"].as_u64().unwrap(), &response["json"]);
        let difference = if method == "GET" {
            shown_difference(&replay, path, status, recorded)
        } else {
            changed_difference(&mut replay, (method, path, body.as_bytes()), status, recorded)
        };
        let Some(difference) = difference else { continue };
        compared += 1;
        if !difference.is_empty() {
            found.push(format!("{name} step {number}: {method} {path} {}\n    {difference}", cut(&body)));
        }
    }
    (compared, found)
}

fn cut(text: &str) -> String {
    text.chars().take(700).collect()
}

/// A GET of an app or group shows whether the tree is as Marathon's is: definitions, ports and versions.
fn shown_difference(replay: &Replay, path: &str, status: u64, recorded: &Value) -> Option<String> {
    let (kind, id) = path.strip_prefix("/v2/")?.split_once('/')?;
    if id.contains(['*', '?']) || id.contains("/versions") || id.ends_with("/apps") || id.ends_with("/tasks") {
        return None;
    }
    let id = read_id(id).ok()?;
    match kind {
        "apps" => {
            let ours: Vec<_> = replay.root.app(&id).into_iter().collect();
            let theirs = recorded.get("app");
            Some(apps_difference(&ours, &theirs.into_iter().collect::<Vec<_>>()))
        }
        "groups" if status == 200 => {
            let ours = replay.root.group(&id).map(Group::all_apps).unwrap_or_default();
            Some(apps_difference(&ours, &apps_below(recorded)))
        }
        _ => None,
    }
}

/// The apps of a recorded group and of all below it.
fn apps_below(group: &Value) -> Vec<&Value> {
    let list = |field: &str| group[field].as_array().into_iter().flatten();
    list("apps").chain(list("groups").flat_map(apps_below)).collect()
}

fn apps_difference(ours: &[&Arc<App>], theirs: &[&Value]) -> String {
    let written = |app: &Value| (comparable(app), app["version"].clone(), app["versionInfo"].clone());
    let ours: BTreeMap<String, _> =
        ours.iter().map(|app| (app.id.to_string(), written(&serde_json::to_value(&***app).unwrap()))).collect();
    let theirs: BTreeMap<String, _> =
        theirs.iter().map(|app| (app["id"].as_str().unwrap().to_owned(), written(app))).collect();
    if ours == theirs { String::new() } else { format!("{ours:?}\n    {theirs:?}") }
}

fn changed_difference(
    replay: &mut Replay,
    (method, path, body): (&str, &str, &[u8]),
    status: u64,
    recorded: &Value,
) -> Option<String> {
    match replay.ask(method, path, body) {
        Outcome::Elsewhere => {
            follow_restart(replay, path, recorded);
            None
        }
        Outcome::Refused(refusal) => Some(refused_difference(&refusal, status, recorded)),
        Outcome::Changed(root, app) if status < 300 => {
            let at = recorded["version"].as_str().unwrap().parse().unwrap();
            replay.settle_at(root, at);
            let app = app.map(|app| serde_json::to_value(*app).unwrap());
            let differs = app.is_some_and(|app| comparable(&app) != comparable(recorded));
            Some(if differs { cut(&recorded.to_string()) } else { String::new() })
        }
        Outcome::Changed(..) => Some(format!("taken, Marathon answers {status} {recorded}")),
    }
}

/// A restart is the engine's, but what follows it depends on it.
fn follow_restart(replay: &mut Replay, path: &str, recorded: &Value) {
    let id = path.strip_prefix("/v2/apps/").and_then(|path| path.strip_suffix("/restart"));
    let Some(app) = id.and_then(|id| replay.root.app(&read_id(id).ok()?)) else { return };
    let at: Moment = recorded["version"].as_str().unwrap().parse().unwrap();
    let restarted = crate::engine::group::restarted(app, at);
    replay.root.put_app(Arc::new(restarted));
}

fn refused_difference(refusal: &Refusal, status: u64, recorded: &Value) -> String {
    let (ours, theirs) = (comparable_body(refusal.status, &refusal.body), comparable_body(refusal.status, recorded));
    let own_mistake = status == 500 && matches!(refusal.status, 400 | 404 | 422);
    if own_mistake || u64::from(refusal.status) == status && ours == theirs {
        return String::new();
    }
    format!("{} {ours}, Marathon {status} {theirs}", refusal.status)
}

#[test]
fn every_recorded_change_is_read_as_marathon_reads_it() {
    let (mut compared, mut found) = (0, Vec::new());
    for name in FOLLOWED {
        let (steps, differing) = differences(name);
        println!("{name}: {steps} steps compared, {} differ", differing.len());
        compared += steps;
        found.extend(differing);
    }
    let report = found.join("\n");
    println!("{compared} compared, {} differ\n{report}", found.len());
    assert!(compared > 230, "only {compared} steps were compared");
    assert!(found.is_empty(), "{} of {compared} recorded steps differ:\n{report}", found.len());
}
