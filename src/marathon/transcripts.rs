//! What a real Marathon was asked and answered, for tests (`tests/marathon/transcripts`).

use serde_json::Value;

/// The names of all transcripts.
pub(crate) const NAMES: [&str; 12] = [
    "app-defaults",
    "app-errors",
    "app-queries",
    "app-updates",
    "command-app",
    "dependent-group",
    "docker-release",
    "failing-app",
    "groups",
    "locked-app",
    "system",
    "waiting-app",
];

/// The steps of one transcript.
pub(crate) fn steps(name: &str) -> Vec<Value> {
    let path = format!("{}/tests/marathon/transcripts/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let mut transcript: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    transcript["steps"].as_array_mut().unwrap().drain(..).collect()
}

/// Every value below a key of that name, anywhere in the answers of all transcripts.
pub(crate) fn answers_with(key: &str) -> Vec<Value> {
    let mut found = Vec::new();
    for step in NAMES.iter().flat_map(|name| steps(name)) {
        collect(&step["response"]["json"], key, &mut found);
    }
    found
}

fn collect(value: &Value, key: &str, found: &mut Vec<Value>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get(key).cloned());
            fields.values().for_each(|field| collect(field, key, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, key, found)),
        _ => {}
    }
}

/// The value with every number as a float, since Marathon's `0` and `0.0` are the same.
pub(crate) fn numbers_alike(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().into(),
        Value::Array(items) => items.iter().map(numbers_alike).collect(),
        Value::Object(fields) => fields.iter().map(|(key, field)| (key.clone(), numbers_alike(field))).collect(),
        other => other.clone(),
    }
}

mod tests {
    use super::*;
    use crate::marathon::{Deployment, Event, EventKind, Group, GroupInfo, Info, Queue, Task};

    /// Reads a recorded value and writes it again; what is written must be what was recorded.
    fn is_kept<T: serde::Serialize + serde::de::DeserializeOwned>(recorded: &Value) {
        let read: T = serde_json::from_value(recorded.clone()).unwrap_or_else(|e| panic!("{e}: {recorded}"));
        let written = serde_json::to_value(&read).unwrap();
        assert_eq!(numbers_alike(&written), numbers_alike(recorded));
    }

    #[test]
    fn all_recorded_events_are_known_and_kept() {
        let mut count = 0;
        for step in NAMES.iter().flat_map(|name| steps(name)) {
            for heard in step["heard"].as_array().into_iter().flatten() {
                is_kept::<Event>(&heard[1]);
                let event: Event = serde_json::from_value(heard[1].clone()).unwrap();
                assert_eq!(event.kind.name(), heard[0].as_str().unwrap());
                assert!(!matches!(event.kind, EventKind::Other(_)), "{heard}");
                count += 1;
            }
        }
        assert!(count > 400, "{count} events");
    }

    #[test]
    fn an_unknown_event_is_kept_whole() {
        let odd = serde_json::json!({"eventType": "pod_created_event", "timestamp": "t", "uri": "/x", "clientIp": "h"});
        let event: Event = serde_json::from_value(odd).unwrap();
        assert_eq!((event.kind.name(), event.timestamp.as_str()), ("pod_created_event", "t"));
        assert!(matches!(event.kind, EventKind::Other(object) if object["uri"] == "/x"));
    }

    #[test]
    fn all_recorded_answers_are_kept() {
        answers_with("app").iter().filter(|app| app.is_object()).for_each(is_kept::<crate::marathon::AppInfo>);
        answers_with("apps")
            .iter()
            .flat_map(|apps| apps.as_array().unwrap())
            .for_each(is_kept::<crate::marathon::AppInfo>);
        answers_with("tasks").iter().flat_map(|tasks| tasks.as_array().unwrap()).for_each(is_kept::<Task>);
        for step in NAMES.iter().flat_map(|name| steps(name)) {
            let answer = &step["response"]["json"];
            if step["response"]["status"] != 200 || step["request"]["method"] != "GET" {
                continue;
            }
            match step["request"]["path"].as_str().unwrap().split('?').next().unwrap() {
                "/v2/deployments" => answer.as_array().unwrap().iter().for_each(is_kept::<Deployment>),
                "/v2/queue" => is_kept::<Queue>(answer),
                "/v2/info" => is_kept::<Info>(answer),
                path if path.starts_with("/v2/groups") && answer["groups"].is_array() => {
                    is_kept::<Group>(&without_embedded(answer));
                    is_kept::<GroupInfo>(answer);
                }
                _ => {}
            }
        }
    }

    /// The group without what `embed` adds to its apps.
    fn without_embedded(group: &Value) -> Value {
        let info: GroupInfo = serde_json::from_value(group.clone()).unwrap();
        serde_json::to_value(info.map(&mut |info| info.app.clone())).unwrap()
    }
}
