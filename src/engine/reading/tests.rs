//! What the recorded transcripts do not ask.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::marathon::{App, ContainerKind, NetworkMode, PathId};

pub(super) fn read_app_change(
    body: &[u8],
    id: &PathId,
    current: Option<&App>,
    partial: bool,
    rules: &Rules,
) -> Result<AppRequest, Refusal> {
    AppDraft::read(body)?.change(id, current, partial, rules)
}
pub(super) fn read_app_changes<'a>(
    body: &[u8],
    partial: bool,
    create: bool,
    find: impl Fn(&PathId) -> Option<&'a App>,
    rules: &Rules,
) -> Result<Vec<(PathId, AppRequest)>, Refusal> {
    AppDrafts::read(body, partial)?.changes(create, find, rules)
}
fn rules() -> Rules {
    Rules { commands: true, ..Rules::default() }
}
fn read(app: &Value) -> Result<App, Refusal> {
    read_app(app.to_string().as_bytes(), &rules())
}
fn changed(current: &App, change: &Value) -> Result<App, Refusal> {
    match read_app_change(change.to_string().as_bytes(), &current.id, Some(current), true, &rules())? {
        AppRequest::Define(app) => Ok(*app),
        AppRequest::RollBack(version) => panic!("a roll back to {version}"),
    }
}
/// The one error at that path.
fn error_at(refusal: &Refusal, path: &str) -> String {
    let details = refusal.body["details"].as_array().unwrap_or_else(|| panic!("no details: {refusal:?}"));
    let detail = details.iter().find(|detail| detail["path"] == path);
    let detail = detail.unwrap_or_else(|| panic!("nothing at {path}: {refusal:?}"));
    detail["errors"][0].as_str().unwrap().to_owned()
}
fn command(id: &str) -> Value {
    json!({"id": id, "cmd": "sleep 1"})
}
fn with(mut app: Value, field: &str, value: Value) -> Value {
    app[field] = value;
    app
}

#[test]
fn a_definition_that_was_answered_can_be_sent_again() {
    for app in [
        command("/a"),
        json!({"id": "/b", "container": {"docker": {"image": "i"}}, "networks": [{"mode": "container/bridge"}],
               "healthChecks": [{"protocol": "MESOS_HTTP", "path": "/x"}, {}], "fetch": [{"uri": "u"}],
               "upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0}}),
        json!({"id": "/c", "cmd": "sleep 1", "resourceLimits": {"cpus": "unlimited", "mem": 512}, "tty": false,
               "executorResources": {"cpus": 0.2}, "unreachableStrategy": "disabled", "killSelection": "oldest_first"}),
    ] {
        let first = read(&app).unwrap();
        let again = read(&serde_json::to_value(&first).unwrap()).unwrap();
        assert_eq!(again, first);
    }
}

#[test]
fn old_spellings_of_a_network_become_new_ones() {
    let bridged = read(&json!({"id": "/a", "cmd": "sleep 1", "ipAddress": {"networkName": "mesos-bridge",
        "discovery": {"ports": [{"name": "http", "number": 80}]}}}))
    .unwrap();
    assert_eq!(bridged.networks[0].mode, NetworkMode::Bridge);
    let container = bridged.container.unwrap();
    assert_eq!(container.kind, ContainerKind::Mesos);
    let mapping = &container.port_mappings.unwrap()[0];
    assert_eq!((mapping.container_port, mapping.host_port, mapping.name.as_deref()), (80, Some(0), Some("http")));

    let user = json!({"id": "/a", "container": {"docker": {"image": "i", "network": "USER"}}});
    let text = "Network name must be specified when container network is selected.";
    assert_eq!(error_at(&read(&user).unwrap_err(), "/networks"), text);
    let named = with(user, "ipAddress", json!({"networkName": "n"}));
    let network = &read(&named).unwrap().networks[0];
    assert_eq!((network.mode, network.name.as_deref()), (NetworkMode::Container, Some("n")));
}

#[test]
fn old_and_new_spellings_do_not_mix() {
    let old = json!({"docker": {"image": "i", "network": "BRIDGE"}});
    for (field, value, path) in [
        ("ports", json!([1, 1]), "/"),
        ("ipAddress", json!({"discovery": {}}), "/ipAddress"),
        ("networks", json!([{"mode": "host"}]), "/"),
        ("uris", json!(["a b"]), "/uris(0)"),
    ] {
        let app = with(with(command("/a"), "container", old.clone()), field, value);
        error_at(&read(&app).unwrap_err(), path);
    }
    let both = json!({"docker": {"image": "i", "portMappings": [{}]}, "portMappings": [{}]});
    let refusal = read(&with(command("/a"), "container", both)).unwrap_err();
    assert_eq!((refusal.status, refusal.text()), (422, "cannot specify both portMappings and docker.portMappings"));
}

#[test]
fn a_change_in_old_spelling_replaces_what_the_new_one_says() {
    let app = with(command("/a"), "fetch", json!([{"uri": "http://h/old"}]));
    let current = read(&with(app, "portDefinitions", json!([{"port": 9000}]))).unwrap();
    let new = changed(&current, &json!({"uris": ["http://h/new.zip"], "ports": [9001, 9002]})).unwrap();
    assert_eq!((new.fetch.len(), new.fetch[0].uri.as_str(), new.fetch[0].extract), (1, "http://h/new.zip", true));
    let ports: Vec<u16> = new.port_definitions.unwrap().iter().map(|port| port.port).collect();
    assert_eq!(ports, [9001, 9002]);
}

#[test]
fn a_change_of_network_takes_the_ports_along_or_drops_them() {
    let current = read(&with(command("/a"), "portDefinitions", json!([{"port": 1}, {"port": 2}]))).unwrap();
    let bridged =
        changed(&current, &json!({"networks": [{"mode": "container/bridge"}], "container": {"type": "MESOS"}}));
    let bridged = bridged.unwrap();
    assert_eq!(bridged.port_definitions, None);
    assert_eq!(bridged.container.as_ref().unwrap().port_mappings.as_ref().unwrap().len(), 2);
    let back = changed(&bridged, &json!({"networks": [{"mode": "host"}]})).unwrap();
    assert_eq!(back.container.unwrap().port_mappings, None);
    assert_eq!(back.port_definitions.unwrap()[0].name.as_deref(), Some("default"));
}

#[test]
fn a_change_keeps_the_version_and_loses_the_limits() {
    let mut current = read(&with(command("/a"), "resourceLimits", json!({"cpus": 2}))).unwrap();
    current.version = "2026-11-23T09:41:28.791Z".to_owned();
    let new = changed(&current, &json!({"mem": 64})).unwrap();
    assert_eq!((new.version, new.resource_limits, new.mem), (current.version, None, 64.0));
}

#[test]
fn what_belongs_to_a_health_check_depends_on_its_protocol() {
    let checks =
        json!([{"protocol": "TCP", "path": "/x", "portIndex": 0}, {"protocol": "HTTPS", "path": "/x", "portIndex": 0}]);
    let app = read(&with(command("/a"), "healthChecks", checks)).unwrap();
    assert_eq!(app.health_checks.iter().map(|c| c.path.as_deref()).collect::<Vec<_>>(), [None, Some("/x")]);
    assert_eq!(app.health_checks.iter().map(|c| c.ignore_http1xx).collect::<Vec<_>>(), [None, Some(false)]);
    for bad in [
        json!([{"protocol": "HTTP", "command": {"value": "true"}}]),
        json!([{"protocol": "COMMAND", "command": {"value": "true"}, "path": "/x"}]),
    ] {
        let refusal = read(&with(command("/a"), "healthChecks", bad.clone())).unwrap_err();
        assert_eq!(refusal.status, 422, "{bad}");
    }
}

#[test]
fn what_this_engine_does_not_do_is_said() {
    for (field, value, path, says) in [
        ("gpus", json!(1), "/", "Feature gpu_resources is not enabled."),
        ("secrets", json!({"s": {"source": "x"}}), "/secrets", "Feature secrets is not enabled."),
        (
            "container",
            json!({"type": "MESOS", "appc": {"image": "i"}}),
            "/container/appc",
            "not supported by this engine",
        ),
    ] {
        let refusal = read(&with(command("/a"), field, value)).unwrap_err();
        assert_eq!(refusal.status, 422);
        assert!(error_at(&refusal, path).contains(says), "{field}: {refusal:?}");
    }
    for (volume, path, says) in [
        (json!({"persistent": {"size": 1}}), "/container/volumes(0)/persistent", "not supported"),
        (json!({"external": {"name": "n"}}), "/container/volumes(0)", "Feature external_volumes is not enabled."),
        (json!({"secret": "s"}), "/container/volumes(0)", "Feature secrets is not enabled."),
    ] {
        let volume = with(with(volume, "containerPath", json!("p")), "mode", json!("RW"));
        let app = with(command("/a"), "container", json!({"type": "MESOS", "volumes": [volume]}));
        assert!(error_at(&read(&app).unwrap_err(), path).contains(says), "{app}");
    }
}

#[test]
fn an_engine_without_commands_takes_images_alone() {
    let tenant = Rules::default();
    let refusal = read_app(command("/a").to_string().as_bytes(), &tenant).unwrap_err();
    assert_eq!((refusal.status, error_at(&refusal, "/").contains("docker image")), (422, true));
    let empty = with(command("/a"), "container", json!({"type": "MESOS"}));
    assert!(read_app(empty.to_string().as_bytes(), &tenant).is_err(), "an empty container is no image");
    let image = with(command("/a"), "container", json!({"docker": {"image": "i"}}));
    assert!(read_app(image.to_string().as_bytes(), &tenant).is_ok());
    let group = json!({"groups": [{"id": "n", "apps": [command("x")]}]}).to_string();
    let refusal = read_group(group.as_bytes(), &"/g".parse().unwrap(), &tenant).unwrap_err();
    assert!(error_at(&refusal, "/groups(0)/apps(0)").contains("docker image"), "{refusal:?}");
    let list = json!([command("/x")]).to_string();
    assert!(read_app_changes(list.as_bytes(), true, true, |_| None, &tenant).is_err());
    let change = read_app_change(command("/x").to_string().as_bytes(), &"/x".parse().unwrap(), None, true, &tenant);
    assert!(change.is_err(), "a PUT that creates is no way around it");
    let with_image = read(&image).unwrap();
    let swap = json!({"container": {"type": "MESOS"}}).to_string();
    let swapped = read_app_change(swap.as_bytes(), &with_image.id, Some(&with_image), true, &tenant);
    assert!(swapped.is_err(), "nor is a change that takes the image away");
}

#[test]
fn an_app_keeps_a_role_that_a_new_one_may_not_have() {
    let current = App { role: "elsewhere".to_owned(), ..read(&command("/a")).unwrap() };
    assert_eq!(changed(&current, &json!({"mem": 1})).unwrap().role, "elsewhere");
    assert_eq!(
        error_at(&changed(&current, &json!({"role": "x"})).unwrap_err(), "/role"),
        "got x, expected one of: [*]"
    );
    assert_eq!(read(&with(command("/g/a"), "role", json!("g"))).unwrap().role, "g");
}

#[test]
fn a_single_instance_app_says_so_in_its_strategy_too() {
    let app = with(command("/a"), "labels", json!({"MARATHON_SINGLE_INSTANCE_APP": "true"}));
    error_at(&read(&app).unwrap_err(), "/upgradeStrategy/minimumHealthCapacity");
    let zero = json!({"minimumHealthCapacity": 0, "maximumOverCapacity": 0});
    let app = with(app, "upgradeStrategy", zero);
    assert!(read(&app).is_ok());
    error_at(&read(&with(app, "instances", json!(2))).unwrap_err(), "/");
}

#[test]
fn a_limit_is_not_below_the_request() {
    let app = with(command("/a"), "resourceLimits", json!({"mem": 1}));
    error_at(&read(&app).unwrap_err(), "/resourceLimits/mem");
}

fn tree(apps: &[&str]) -> Group {
    let mut root = Group::empty(PathId::root());
    for id in apps {
        root.put_app(Arc::new(App { instances: 3, ..read(&command(id)).unwrap() }));
    }
    root
}
fn grouped(root: &Group, url: &str, body: &Value) -> Result<Group, Refusal> {
    let request = read_group(body.to_string().as_bytes(), &url.parse().unwrap(), &rules())?;
    apply_group(root, &request)
}
fn ids(root: &Group) -> Vec<String> {
    root.all_apps().into_iter().map(|app| app.id.to_string()).collect()
}

#[test]
fn lists_that_a_group_change_leaves_out_are_kept_and_those_in_it_are_whole() {
    let root = tree(&["/g/a", "/g/b", "/g/n/c", "/g/m/d", "/other"]);
    let apps = grouped(&root, "/g", &json!({"apps": [command("a")]})).unwrap();
    assert_eq!(ids(&apps), ["/other", "/g/a", "/g/m/d", "/g/n/c"]);
    let groups = grouped(&root, "/g", &json!({"groups": [{"id": "n"}]})).unwrap();
    assert_eq!(ids(&groups), ["/other", "/g/a", "/g/b", "/g/n/c"]);
    let nothing = grouped(&root, "/", &json!({"apps": [], "groups": []})).unwrap();
    assert!(nothing.is_empty());
}

#[test]
fn scaling_a_group_rounds_up_and_reaches_everything_below() {
    let root = tree(&["/g/a", "/g/n/c", "/other"]);
    let scaled = grouped(&root, "/g", &json!({"scaleBy": 1.5})).unwrap();
    let instances: Vec<u32> = scaled.all_apps().into_iter().map(|app| app.instances).collect();
    assert_eq!(instances, [3, 5, 5]);
    assert_eq!(grouped(&root, "/none", &json!({"scaleBy": 2})).unwrap_err().status, 404);
    let huge = grouped(&root, "/g", &json!({"scaleBy": 1e300})).unwrap();
    assert_eq!(huge.all_apps()[1].instances, 2_147_483_647);
}

#[test]
fn what_is_wrong_within_a_group_is_found_by_its_place() {
    let root = tree(&[]);
    for (body, path) in [
        (json!({"apps": [command("a"), {"id": "b"}]}), "/apps(1)"),
        (json!({"groups": [{"id": "n", "apps": [with(command("c"), "role", json!("x"))]}]}), "/groups(0)/apps(0)/role"),
        (json!({"groups": [{"id": "/elsewhere"}]}), "/groups(0)/id"),
        (json!({"groups": [{}]}), "/groups(0)/id"),
        (json!({"groups": [{"id": "n", "scaleBy": 2}]}), "/groups(0)/scaleBy"),
        (json!({"dependencies": ["bad id"]}), "/dependencies(0)"),
        (json!({"enforceRole": true}), "/enforceRole"),
        (json!({"pods": [{"id": "p"}]}), "/pods"),
    ] {
        error_at(&grouped(&root, "/g", &body).unwrap_err(), path);
    }
}

#[test]
fn dependencies_are_relative_to_the_group() {
    let body = json!({"apps": [with(command("a"), "dependencies", json!(["b", "/x", "../y"]))]});
    let root = grouped(&tree(&[]), "/g", &body).unwrap();
    let dependencies: Vec<String> = root.all_apps()[0].dependencies.iter().map(ToString::to_string).collect();
    assert_eq!(dependencies, ["/g/b", "/x", "/y"]);
}

#[test]
fn a_tree_is_settled_or_refused_as_a_whole() {
    let old = tree(&[]);
    let mut new = tree(&["/a", "/b/c"]);
    settle(&old, &mut new).unwrap();
    let port = |id: &str| new.app(&id.parse().unwrap()).unwrap().port_definitions.as_ref().unwrap()[0].port;
    assert_eq!((port("/a"), port("/b/c")), (10_000, 10_001));
    let refusal = settle(&old, &mut tree(&["/a", "/a/b"])).unwrap_err();
    assert_eq!(error_at(&refusal, "/"), "Groups and Applications may not have the same identifier.");
}

#[test]
fn task_ids_are_looked_at_before_they_are_used() {
    let uuid = "1bbd9755-e722-11f1-aa61-0242189058f9";
    let good = [format!("a_b.instance-{uuid}._app.1"), format!("a.{uuid}"), format!("a.marathon-{uuid}.c")];
    let read = |ids: &[String]| read_task_ids(json!({ "ids": ids }).to_string().as_bytes());
    assert_eq!(read(&good), Ok(good.to_vec()));
    for bad in ["nope", "", "a.instance-x._app.1", &format!("a.instance-{uuid}"), &format!(".{uuid}")] {
        assert_eq!(read(&[bad.to_owned()]).unwrap_err().status, 400, "{bad}");
    }
    assert_eq!(read_task_ids(b"{}").unwrap_err().body["details"][0]["errors"][0], "'ids' is undefined on object: {}");
    assert_eq!(read_task_ids(b"[]").unwrap_err().status, 422);
}

/// JSON of all shapes, with field names and words that the readers look for.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "id",
        "cmd",
        "args",
        "container",
        "docker",
        "image",
        "type",
        "MESOS",
        "networks",
        "mode",
        "host",
        "container/bridge",
        "portDefinitions",
        "portMappings",
        "port",
        "name",
        "healthChecks",
        "protocol",
        "COMMAND",
        "command",
        "value",
        "/a",
        "a",
        "..",
        "ipAddress",
        "network",
        "BRIDGE",
        "constraints",
        "LIKE",
        "(",
        "env",
        "secret",
        "apps",
        "groups",
        "scaleBy",
        "version",
        "volumes",
        "persistent",
        "dependencies",
        "ids",
        "%",
        "ä",
        "uris",
        "fetch",
        "uri",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(word.clone(), inner, 0..6)
                .prop_map(|fields| fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_is_sent_is_a_value_or_a_clients_error(body in any_json(), cut in any::<prop::sample::Index>()) {
        let text = body.to_string();
        let current = read(&command("/a")).unwrap();
        let root = tree(&["/a/b"]);
        for bytes in [text.as_bytes(), &text.as_bytes()[..cut.index(text.len())]] {
            let refusals = [
                read_app(bytes, &rules()).err(),
                read_app_change(bytes, &current.id, Some(&current), true, &rules()).err(),
                read_app_change(bytes, &current.id, None, true, &rules()).err(),
                read_app_changes(bytes, true, true, |_| None, &rules()).err(),
                read_group(bytes, &PathId::root(), &rules()).and_then(|request| apply_group(&root, &request)).err(),
                read_task_ids(bytes).err(),
            ];
            for refusal in refusals.into_iter().flatten() {
                prop_assert!(matches!(refusal.status, 400 | 404 | 422), "{:?}", refusal);
            }
        }
    }
}

#[test]
fn what_a_list_says_twice_of_an_app_counts_one_after_the_other() {
    let list = json!([{"id": "/a", "cmd": "sleep 1", "mem": 8}, {"id": "/a", "cpus": 0.5}]).to_string();
    let changes = read_app_changes(list.as_bytes(), true, true, |_| None, &rules()).unwrap();
    let [(_, AppRequest::Define(app))] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!((app.cmd.as_deref(), app.mem, app.cpus), (Some("sleep 1"), 8.0, 0.5));
}
