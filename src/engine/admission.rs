//! What a definition asks for that this engine does not do, or not for everybody: said when it is to run, never passed
//! over in silence.

use serde_json::json;

use super::core::is_container;
use super::group::Group;
use super::ports::is_on_host_network;
use super::reading::{Refusal, Rules};
use crate::marathon::{App, Constraint, ContainerKind, IpProtocol};

/// Refuses a tree in which an app that changed is to run and cannot. A definition without instances is kept for whoever
/// can run it.
pub fn admit(old: &Group, new: &Group, rules: &Rules) -> Result<(), Refusal> {
    for app in new.all_apps().into_iter().filter(|app| app.instances > 0) {
        let same = old.app(&app.id).is_some_and(|before| std::ptr::eq(&raw const **before, &raw const **app));
        let faults = if same { Vec::new() } else { faults(app, rules) };
        if !faults.is_empty() {
            let details = faults.iter().map(|(path, error)| json!({ "path": path, "errors": [error] }));
            let details = details.collect::<Vec<_>>();
            return Err(Refusal { status: 422, body: json!({ "message": "Object is not valid", "details": details }) });
        }
    }
    Ok(())
}

fn faults(app: &App, rules: &Rules) -> Vec<(String, &'static str)> {
    const NOT_HERE: &str = "is not supported by this engine";
    const NOT_SAFE: &str = "is refused by this engine, which keeps apps from the machine that it runs on";
    let mut faults = Vec::new();
    let mut refuse = |refused: bool, path: &str, error: &'static str| {
        if refused {
            faults.push((path.to_owned(), error));
        }
    };
    let container = app.container.as_ref();
    let docker = container.and_then(|container| container.docker.as_ref());
    let is_mesos = container.is_some_and(|container| container.kind == ContainerKind::Mesos);
    refuse(is_mesos && docker.is_some(), "/container/type", "MESOS with an image is not supported; use DOCKER");
    refuse(container.is_some_and(|container| !container.volumes.is_empty()), "/container/volumes", NOT_HERE);
    refuse(docker.is_some_and(|docker| !docker.parameters.is_empty()), "/container/docker/parameters", NOT_HERE);
    refuse(!rules.commands && docker.is_some_and(|docker| docker.privileged), "/container/docker/privileged", NOT_SAFE);
    refuse(!rules.commands && is_container(app) && is_on_host_network(app), "/networks", NOT_SAFE);
    refuse(!app.fetch.is_empty(), "/fetch", NOT_HERE);
    refuse(!is_container(app) && app.user.is_some(), "/user", "commands run as the engine's own user");
    refuse(!is_container(app) && app.tty == Some(true), "/tty", NOT_HERE);
    for (index, check) in app.health_checks.iter().enumerate() {
        refuse(check.ip_protocol == IpProtocol::V6, &format!("/healthChecks({index})/ipProtocol"), NOT_HERE);
    }
    for (index, constraint) in app.constraints.iter().enumerate() {
        let error = "is not supported by this engine: it knows UNIQUE, MAX_PER, CLUSTER, IS and GROUP_BY of hostname";
        refuse(!is_known(constraint), &format!("/constraints({index})"), error);
    }
    faults
}

fn is_known(constraint: &Constraint) -> bool {
    let [field, operator, ..] = constraint.as_slice() else { return false };
    matches!(field.as_str(), "hostname" | "@hostname")
        && matches!(operator.as_str(), "UNIQUE" | "MAX_PER" | "CLUSTER" | "IS" | "GROUP_BY")
}

#[cfg(test)]
mod tests {
    use super::super::samples::{bridge, command};
    use super::*;

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
        assert_eq!(paths(&app, &TENANTS()), ["/container/docker/privileged", "/networks"]);
        assert!(paths(&app, &roots()).is_empty());
    }

    #[test]
    fn what_is_not_done_is_said() {
        let mut app = bridge("/a", &[]);
        app.container.as_mut().unwrap().volumes.push(json!({}));
        app.constraints =
            vec![vec!["rack".into(), "UNIQUE".into()], vec!["hostname".into(), "LIKE".into(), "a".into()]];
        assert_eq!(paths(&app, &roots()), ["/container/volumes", "/constraints(0)", "/constraints(1)"]);
        let user = App { user: Some("nobody".into()), ..command("/a") };
        assert_eq!(paths(&user, &roots()), ["/user"]);
    }
}
