//! Marathon's API description, held against answers and events: which type each answer has, and whether it fits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use jsonschema::{Registry, Validator};
use serde_json::{Value, json};

/// Where the description is: Marathon's own (`schema/`) and what that leaves out (`answers.json`).
const PLACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/marathon");
const BASE: &str = "https://schema.invalid/marathon";

/// What a body has to be.
#[derive(Debug, PartialEq, Eq)]
enum Body {
    /// JSON that fits each of these, `file#Type`.
    Json(&'static [&'static str]),
    Empty,
    /// Anything: no answer of Marathon's, or no JSON.
    Free,
}

/// Where what Marathon answers is not as its own description says: what was seen wins.
struct Exemption {
    /// The end of the place in the answer.
    at: &'static str,
    /// The end of the place in the description.
    rule: &'static str,
    /// Whether the recordings show it.
    is_recorded: bool,
}

const EXEMPTIONS: [Exemption; 2] = [
    // An app with `cpus: 0` is taken and shown as such: app-errors.json, `/probe/e9`.
    Exemption { at: "/cpus", rule: "/App/properties/cpus/minimum", is_recorded: true },
    // A readiness check's result names a task, whose id is longer than the instance's that the description wants there.
    Exemption { at: "/taskId", rule: "/InstanceId/pattern", is_recorded: false },
];

/// What does not fit.
struct Violation {
    /// The place in the answer, and that in the description which says so.
    at: String,
    rule: String,
    text: String,
}

impl Violation {
    fn plain(text: impl Into<String>) -> Self {
        Self { at: String::new(), rule: String::new(), text: text.into() }
    }
    fn is_of(&self, exemption: &Exemption) -> bool {
        self.at.ends_with(exemption.at) && self.rule.ends_with(exemption.rule)
    }
    fn is_exempt(&self) -> bool {
        EXEMPTIONS.iter().any(|exemption| self.is_of(exemption))
    }
}

/// Says how the answer to a request breaks the contract; nothing when it fits.
pub fn check_answer(method: &str, target: &str, status: u16, body: &str) -> Result<(), String> {
    let said = said_of(violations_of_answer(method, target, status, body));
    said.map_err(|said| format!("{method} {target} → {status}: {said}\n  {body}"))
}

/// Says how an event breaks the contract.
pub fn check_event(kind: &str, data: &Value) -> Result<(), String> {
    said_of(violations_of_event(kind, data)).map_err(|said| format!("event {kind}: {said}\n  {data}"))
}

fn said_of(violations: Vec<Violation>) -> Result<(), String> {
    let broken = violations.into_iter().filter(|one| !one.is_exempt());
    let said = broken.map(|one| one.text).collect::<Vec<_>>().join("; ");
    if said.is_empty() { Ok(()) } else { Err(said) }
}

fn violations_of_answer(method: &str, target: &str, status: u16, body: &str) -> Vec<Violation> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    match body_of(method, path, query, status) {
        None => vec![Violation::plain("no such answer is described")],
        Some(Body::Empty) if !body.is_empty() => vec![Violation::plain("the body is to be empty")],
        Some(Body::Empty | Body::Free) => Vec::new(),
        // Like the one without credentials, a page of the servlet container.
        Some(_) if status == 503 && body.contains("Too many concurrent requests! Allowed: ") => Vec::new(),
        Some(Body::Json(kinds)) => match serde_json::from_str(body) {
            Ok(value) => kinds.iter().flat_map(|kind| violations(kind, &value)).collect(),
            Err(error) => vec![Violation::plain(format!("no JSON: {error}"))],
        },
    }
}

fn violations_of_event(kind: &str, data: &Value) -> Vec<Violation> {
    if EVENT_KINDS.contains(&kind) {
        violations(&format!("answers#{kind}"), data)
    } else {
        vec![Violation::plain("no event of Marathon's")]
    }
}

/// The kinds of events that a Marathon sends.
static EVENT_KINDS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let all: Value = serde_json::from_str(&std::fs::read_to_string(format!("{PLACE}/answers.json")).unwrap()).unwrap();
    let kinds = all["$defs"].as_object().unwrap().iter();
    kinds.filter(|(_, one)| one["properties"]["eventType"].is_object()).map(|(kind, _)| &*kind.clone().leak()).collect()
});

fn body_of(method: &str, path: &str, query: &str, status: u16) -> Option<Body> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let is_set = |name: &str| query.to_ascii_lowercase().split('&').any(|pair| pair == format!("{name}=true"));
    match status {
        _ if method == "HEAD" => Some(Body::Empty),
        302 | 307 => Some(Body::Empty),
        // 401 is the servlet container's page.
        401 => Some(Body::Free),
        _ if is_free(method, &segments) => Some(Body::Free),
        400.. => body_of_refusal(status),
        _ if changes(method, &segments) => body_of_change(method, &segments, status, is_set),
        200 => body_of_read(&segments),
        _ => None,
    }
}

/// What is no JSON of Marathon's: pages, text, settings of the engine's own, and Mesos' part of the API, which Marathon's
/// description does not know.
fn is_free(method: &str, segments: &[&str]) -> bool {
    const MESOS: [&str; 14] = [
        "containers",
        "files",
        "frameworks",
        "health",
        "master",
        "monitor",
        "redirect",
        "roles",
        "slave(1)",
        "slaves",
        "state",
        "state-summary",
        "tasks",
        "version",
    ];
    method == "OPTIONS"
        || match segments {
            []
            | ["ping" | "config" | "help" | "ui" | "public" | "api-console", ..]
            | ["metrics", "prometheus"]
            | ["v2", "events"]
            | ["v2", "plugins", ..] => true,
            [first, ..] => MESOS.contains(first),
        }
}

fn body_of_refusal(status: u16) -> Option<Body> {
    Some(Body::Json(match status {
        400 => &["answers#BadRequest"],
        404 => &["error#Error", "answers#NotFound"],
        409 => &["error#Error", "answers#Conflict"],
        422 => &["error#Error", "answers#Invalid"],
        403 | 405 | 406 | 408 | 413 | 415 | 500 | 503 => &["error#Error", "answers#Message"],
        _ => return None,
    }))
}

/// Whether a request may change something.
fn changes(method: &str, segments: &[&str]) -> bool {
    method != "GET" && segments.first() == Some(&"v2")
}

fn body_of_change(method: &str, segments: &[&str], status: u16, is_set: impl Fn(&str) -> bool) -> Option<Body> {
    Some(match (method, segments, status) {
        ("DELETE", ["v2", "leader"], 200) => Body::Json(&["answers#Message"]),
        ("POST", ["v2", "apps"], 201) => Body::Json(&["app#AppInfo"]),
        ("PUT", ["v2", "groups", ..], 200) if is_set("dryrun") => Body::Json(&["deploymentSteps#DeploymentSteps"]),
        ("PATCH", ["v2", "groups", ..], 200)
        | ("DELETE", ["v2", "deployments", _], 202)
        | ("DELETE", ["v2", "queue", .., "delay"], 204) => Body::Empty,
        ("DELETE", ["v2", "apps", .., "tasks"], 200) | ("POST", ["v2", "tasks", "delete"], 200) if !is_set("scale") => {
            Body::Json(&["task#TaskList"])
        }
        ("DELETE", ["v2", "apps", .., "tasks", _], 200) if !is_set("scale") => Body::Json(&["task#TaskSingle"]),
        (_, ["v2", "apps" | "groups" | "deployments", ..] | ["v2", "tasks", "delete"], 200 | 201) => {
            Body::Json(&["deploymentResult#DeploymentResult"])
        }
        _ => return None,
    })
}

fn body_of_read(segments: &[&str]) -> Option<Body> {
    Some(Body::Json(match segments {
        ["metrics"] => &["newMetrics#NewMetrics"],
        ["logging"] => &["logging#Loggers"],
        ["v2", "info"] => &["info#MarathonInfo"],
        ["v2", "leader"] => &["info#LeaderInfo"],
        ["v2", "apps"] => &["app#AppList"],
        ["v2", "tasks"] | ["v2", "apps", .., "tasks"] => &["task#TaskList"],
        ["v2", "apps", .., "*" | "%2A"] => &["answers#AppsBelow"],
        ["v2", "apps", .., "versions"] => &["app#VersionList"],
        ["v2", "apps", .., "versions", _] => &["app#App"],
        ["v2", "apps", ..] => &["answers#AppAlone"],
        ["v2", "groups", .., "versions"] => &["answers#Times"],
        ["v2", "groups", .., "apps"] => &["answers#Apps"],
        ["v2", "groups", ..] => &["group#GroupInfo"],
        ["v2", "deployments"] => &["answers#Deployments"],
        ["v2", "queue"] => &["queue#Queue"],
        ["v2", "pods"] => &["answers#Pods"],
        ["v2", "pods", "::status"] | ["v2", "pods::status"] => &["answers#PodStatuses"],
        _ => return None,
    }))
}

/// How `value` does not fit `kind`, which is `file#Type`.
fn violations(kind: &str, value: &Value) -> Vec<Violation> {
    let violation = |error: jsonschema::ValidationError<'_>| {
        let (at, rule) = (error.instance_path().to_string(), error.schema_path().to_string());
        Violation { text: format!("{kind} at `{at}`: {error} ({rule})"), at, rule }
    };
    validator(kind).iter_errors(value).map(violation).collect()
}

/// Reading a type of the description takes longer than most checks against it.
fn validator(kind: &str) -> Arc<Validator> {
    static KNOWN: Mutex<BTreeMap<String, Arc<Validator>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(validator) = known.get(kind) {
        return Arc::clone(validator);
    }
    let (file, name) = kind.split_once('#').expect("`file#Type`");
    let schema = json!({ "$ref": format!("{BASE}/{file}.json#/$defs/{name}") });
    let validator = jsonschema::options().with_registry(&DESCRIPTION).offline().build(&schema);
    let validator = Arc::new(validator.unwrap_or_else(|error| panic!("{kind}: {error}")));
    known.insert(kind.to_owned(), Arc::clone(&validator));
    validator
}

static DESCRIPTION: LazyLock<Registry<'static>> = LazyLock::new(|| {
    let own = [PathBuf::from(PLACE).join("answers.json")];
    let files = own.into_iter().chain(json_files(&Path::new(PLACE).join("schema")));
    let registry = files.fold(Registry::new(), |registry, file| {
        let document: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let address = document["$id"].as_str().unwrap().to_owned();
        registry.add(address, document).unwrap()
    });
    registry.prepare().unwrap()
});

/// The JSON files in a directory, sorted.
pub fn json_files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
    files.sort();
    files
}

/// The recordings of a real Marathon.
pub fn transcripts() -> Vec<PathBuf> {
    json_files(&Path::new(PLACE).join("transcripts"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_marathons_recorded_answers_and_events_pass_the_check_with_no_exemption_more_than_needed() {
        let (mut checked, mut violations) = (0, Vec::new());
        for file in transcripts() {
            let transcript: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
            for step in transcript["steps"].as_array().unwrap() {
                let (request, response) = (&step["request"], &step["response"]);
                if request.is_object() {
                    let text = response["text"].as_str().unwrap_or_default().to_owned();
                    let body = response.get("json").map_or(text, Value::to_string);
                    let [method, path] = ["method", "path"].map(|field| request[field].as_str().unwrap());
                    let status = response["status"].as_u64().unwrap().try_into().unwrap();
                    checked += 1;
                    violations.extend(violations_of_answer(method, path, status, &body));
                }
                for heard in step["heard"].as_array().into_iter().flatten() {
                    checked += 1;
                    violations.extend(violations_of_event(heard[0].as_str().unwrap(), &heard[1]));
                }
            }
        }
        assert!(checked > 800, "only {checked} were checked");
        let broken: Vec<_> = violations.iter().filter(|one| !one.is_exempt()).map(|one| &*one.text).collect();
        assert!(broken.is_empty(), "{} of {checked}:\n{}", broken.len(), broken.join("\n"));
        for exemption in EXEMPTIONS.iter().filter(|exemption| exemption.is_recorded) {
            assert!(violations.iter().any(|one| one.is_of(exemption)), "{} is not needed", exemption.rule);
        }
    }

    #[test]
    fn what_does_not_fit_is_found() {
        for (method, path, status, body, why) in [
            ("GET", "/v2/apps", 200, r#"{"apps":[{"id":7}]}"#, "/apps/0/id"),
            ("GET", "/v2/apps/a", 200, r#"{"id":"/a"}"#, "app"),
            ("GET", "/v2/deployments", 200, "{}", "array"),
            ("GET", "/v2/nothing", 200, "{}", "no such answer"),
            ("PUT", "/v2/apps/a", 200, "", "no JSON"),
            ("DELETE", "/v2/queue/a/delay", 204, "{}", "to be empty"),
            ("PUT", "/v2/apps/a", 422, r#"{"message":"m","details":[{"path":"a","errors":[]}]}"#, "errors"),
        ] {
            let said = check_answer(method, path, status, body).expect_err(path);
            assert!(said.contains(why), "{said}");
        }
        let event = json!({ "eventType": "app_terminated_event", "appId": "/a", "timestamp": "now" });
        assert!(check_event("app_terminated_event", &event).unwrap_err().contains("timestamp"));
        assert!(check_event("app_vanished_event", &json!({})).is_err());
    }
}
