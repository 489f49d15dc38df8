//! What a definition asks for that this engine does not do, or not for everybody: said when it is to run, never passed
//! over in silence.

use std::fmt::Display;

use serde_json::json;

use super::constraints;
use super::core::is_container;
use super::group::Group;
use super::ports::is_on_host_network;
use super::reading::{Refusal, Rules};
use super::tasks::fetch::{Source, Wanted};
use super::volume::HostVolume;
use crate::docker::RunOption;
use crate::marathon::{App, NetworkMode};

/// Refuses a tree in which an app that changed is to run and cannot. A definition without instances is kept for whoever
/// can run it.
pub fn admit(old: &Group, new: &Group, rules: &Rules) -> Result<(), Refusal> {
    for app in new.apps_unlike(Some(old)).into_iter().filter(|app| app.instances > 0) {
        let faults = faults(app, rules);
        if !faults.is_empty() {
            let details = faults.iter().map(|(path, error)| json!({ "path": path, "errors": [error] }));
            let details = details.collect::<Vec<_>>();
            return Err(Refusal { status: 422, body: json!({ "message": "Object is not valid", "details": details }) });
        }
    }
    Ok(())
}

const NOT_HERE: &str = "is not supported by this engine";
const NOT_SAFE: &str = "is refused by this engine, which keeps apps from the machine that it runs on";

/// What is refused, by path.
#[derive(Default)]
struct Faults(Vec<(String, String)>);

impl Faults {
    fn refuse(&mut self, refused: bool, path: impl Into<String>, error: impl Display) {
        if refused {
            self.0.push((path.into(), error.to_string()));
        }
    }
}

fn faults(app: &App, rules: &Rules) -> Vec<(String, String)> {
    let mut faults = Faults::default();
    if is_container(app) {
        of_container(app, rules, &mut faults);
    } else {
        of_command(app, rules, &mut faults);
    }
    for (index, artifact) in app.fetch.iter().enumerate() {
        match Wanted::read(artifact) {
            Err(error) => faults.refuse(true, format!("/fetch({index})/{}", error.field()), error),
            Ok(wanted) => {
                let is_ours = matches!(wanted.source, Source::File(_));
                faults.refuse(is_ours && !rules.commands, format!("/fetch({index})/uri"), NOT_SAFE);
            }
        }
    }
    for (index, constraint) in app.constraints.iter().enumerate() {
        let error = "has a pattern that this engine does not know: neither looking around nor references back";
        faults.refuse(!constraints::is_known(constraint), format!("/constraints({index})"), error);
    }
    faults.0
}

fn of_container(app: &App, rules: &Rules, faults: &mut Faults) {
    let networks = app.networks.iter().filter(|network| network.mode == NetworkMode::Container).count();
    let own = is_on_host_network(app) || networks > 0;
    faults.refuse(!rules.commands && own, "/networks", NOT_SAFE);
    let one = "this engine gives a container one network";
    faults.refuse(rules.commands && networks > 1, "/networks", one);
    let Some(container) = &app.container else { return };
    let docker = container.docker.as_ref();
    let privileged = docker.is_some_and(|docker| docker.privileged);
    faults.refuse(!rules.commands && privileged, "/container/docker/privileged", NOT_SAFE);
    for (index, volume) in container.volumes.iter().enumerate() {
        let path = format!("/container/volumes({index})");
        match HostVolume::read(volume) {
            Ok(_) => faults.refuse(!rules.commands, path, NOT_SAFE),
            Err(error) => faults.refuse(true, path, error),
        }
    }
    for (index, parameter) in docker.iter().flat_map(|docker| &docker.parameters).enumerate() {
        let path = format!("/container/docker/parameters({index})");
        let key = &parameter.key;
        match RunOption::parse(key, &parameter.value) {
            Ok(_) if rules.commands || RunOption::is_confined(key) => {}
            Ok(_) => faults.refuse(true, path, format_args!("`{key}` {NOT_SAFE}")),
            Err(error) => faults.refuse(true, path, error),
        }
    }
}

fn of_command(app: &App, rules: &Rules, faults: &mut Faults) {
    let text = "commands run on the host's network; give a container with an image, or `host` networking";
    faults.refuse(!is_on_host_network(app), "/networks", text);
    let volumes = app.container.as_ref().is_some_and(|container| !container.volumes.is_empty());
    let text = "commands see the host's files as they are; volumes are for containers with an image";
    faults.refuse(volumes, "/container/volumes", text);
    faults.refuse(!rules.users && app.user.is_some(), "/user", "commands run as the engine's own user");
    faults.refuse(app.tty == Some(true), "/tty", NOT_HERE);
}

#[cfg(test)]
mod tests {
    use super::super::samples::{bridge, command};
    use super::*;
    use crate::marathon::{Artifact, Parameter};

    const TENANTS: fn() -> Rules = Rules::default;
    fn paths(app: &App, rules: &Rules) -> Vec<String> {
        faults(app, rules).into_iter().map(|(path, _)| path).collect()
    }
    fn roots() -> Rules {
        Rules { commands: true, ..Rules::default() }
    }

    #[test]
    fn usual_apps_are_admitted() {
        let unique = App { constraints: vec![vec!["hostname".into(), "UNIQUE".into()]], ..command("/a") };
        assert!(paths(&unique, &roots()).is_empty());
        assert!(paths(&bridge("/a", &[(0, Some(0))]), &TENANTS()).is_empty());
    }

    #[test]
    fn what_reaches_for_the_machine_is_for_engines_that_run_commands() {
        let mut app = bridge("/a", &[]);
        app.networks.clear();
        app.container.as_mut().unwrap().docker.as_mut().unwrap().privileged = true;
        assert_eq!(paths(&app, &TENANTS()), ["/networks", "/container/docker/privileged"]);
        assert!(paths(&app, &roots()).is_empty());
    }

    #[test]
    fn what_is_not_done_is_said() {
        let constraint = |fields: &[&str]| fields.iter().map(ToString::to_string).collect();
        // Whatever can be judged is let in, and waits when this host does not fit.
        let constraints = vec![
            constraint(&["rack", "UNIQUE"]),
            constraint(&["hostname", "LIKE", "a.*"]),
            constraint(&["hostname", "UNLIKE", "(?!a).*"]),
        ];
        let app = App { constraints, ..bridge("/a", &[]) };
        assert_eq!(paths(&app, &roots()), ["/constraints(2)"]);
    }

    #[test]
    fn a_command_is_on_the_hosts_network_and_sees_its_files() {
        let mut app = bridge("/a", &[]);
        let container = app.container.as_mut().unwrap();
        container.docker = None;
        container.volumes.push(json!({ "containerPath": "/a", "hostPath": "/b", "mode": "RO" }));
        app.tty = Some(true);
        assert_eq!(paths(&app, &roots()), ["/networks", "/container/volumes", "/tty"]);
    }

    #[test]
    fn another_user_is_for_commands_of_an_engine_that_is_root() {
        let app = App { user: Some("nobody".into()), ..command("/a") };
        assert_eq!(paths(&app, &roots()), ["/user"]);
        assert!(paths(&app, &Rules { users: true, ..roots() }).is_empty());
        assert!(paths(&App { user: Some("nobody".into()), ..bridge("/a", &[]) }, &TENANTS()).is_empty());
    }

    #[test]
    fn volumes_and_named_networks_are_for_engines_that_trust_their_apps() {
        let mut app = bridge("/a", &[]);
        let volume = json!({ "containerPath": "/a", "hostPath": "/b", "mode": "RW" });
        app.container.as_mut().unwrap().volumes = vec![volume, json!({ "containerPath": "x", "hostPath": "../y" })];
        app.networks[0].mode = NetworkMode::Container;
        app.networks[0].name = Some("net".into());
        assert_eq!(paths(&app, &roots()), ["/container/volumes(1)"]);
        assert_eq!(paths(&app, &TENANTS()), ["/networks", "/container/volumes(0)", "/container/volumes(1)"]);
        app.networks.push(app.networks[0].clone());
        assert_eq!(paths(&app, &roots()), ["/networks", "/container/volumes(1)"]);
    }

    #[test]
    fn parameters_are_named_when_they_are_refused() {
        let mut app = bridge("/a", &[]);
        let options = [("label", "a=b"), ("cap-add", "SYS_ADMIN"), ("userns", "host"), ("init", "maybe")];
        app.container.as_mut().unwrap().docker.as_mut().unwrap().parameters =
            options.map(|(key, value)| Parameter { key: key.into(), value: value.into() }).to_vec();
        let path = |index| format!("/container/docker/parameters({index})");
        assert_eq!(paths(&app, &roots()), [path(2), path(3)]);
        let tenants = faults(&app, &TENANTS());
        assert_eq!(tenants.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>(), [path(1), path(2), path(3)]);
        assert!(tenants[0].1.starts_with("`cap-add` is refused"), "{}", tenants[0].1);
        assert!(tenants[1].1.contains("`userns`") && tenants[1].1.contains("ulimit"), "{}", tenants[1].1);
    }

    #[test]
    fn what_cannot_be_fetched_or_must_not_is_refused() {
        let artifact = |uri: &str, dest_path: Option<&str>| Artifact {
            uri: uri.into(),
            extract: true,
            executable: false,
            cache: false,
            dest_path: dest_path.map(str::to_owned),
        };
        let fetch = vec![
            artifact("http://h/x", None),
            artifact("file:///etc/passwd", None),
            artifact("hdfs://h/x", None),
            artifact("http://h/x", Some("../x")),
        ];
        let app = App { fetch, ..bridge("/a", &[]) };
        assert_eq!(paths(&app, &roots()), ["/fetch(2)/uri", "/fetch(3)/destPath"]);
        assert_eq!(paths(&app, &TENANTS()), ["/fetch(1)/uri", "/fetch(2)/uri", "/fetch(3)/destPath"]);
    }
}
