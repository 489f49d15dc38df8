//! Service ports: the numbers by which load balancers know an app's ports, each used once in the whole tree.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::Refusal;
use crate::engine::group::Group;
use crate::marathon::App;

/// Marathon's `--local_port_min` and `--local_port_max`.
pub const SERVICE_PORTS: RangeInclusive<u16> = 10_000..=20_000;

/// Gives every port of `new` that has none (0) the lowest of `range` that neither tree uses. An app that already was in
/// `old` first gets back the ports it had and no longer names, so that sending 0 again is no change.
pub fn assign_service_ports(old: &Group, new: &mut Group, range: RangeInclusive<u16>) -> Result<(), Refusal> {
    // Counted when a port is wanted that nobody had, which is seldom.
    let asked = new.clone();
    let unused = || {
        let used = old.all_apps().into_iter().chain(asked.all_apps()).flat_map(|app| ports(app));
        let used: BTreeSet<u16> = used.collect();
        range.clone().filter(move |port| !used.contains(port))
    };
    let mut free = None;
    let mut exhausted = false;
    new.map_apps_unlike(old, &mut |app| {
        let named = ports(app);
        if !named.contains(&0) {
            return None;
        }
        let before = old.app(&app.id).map(|app| ports(app)).unwrap_or_default();
        let mut own = before.into_iter().filter(|port| range.contains(port) && !named.contains(port));
        let mut app = app.clone();
        for port in ports_mut(&mut app).filter(|port| **port == 0) {
            match own.next().or_else(|| free.get_or_insert_with(unused).next()) {
                Some(given) => *port = given,
                None => exhausted = true,
            }
        }
        Some(app)
    });
    if exhausted { Err(Refusal::service_ports_exhausted(&range)) } else { Ok(()) }
}

/// The service ports of an app, 0 for one that is not assigned yet.
fn ports(app: &App) -> Vec<u16> {
    match app.container.as_ref().and_then(|container| container.port_mappings.as_ref()) {
        Some(mappings) => mappings.iter().map(|mapping| mapping.service_port).collect(),
        None => app.port_definitions.iter().flatten().map(|port| port.port).collect(),
    }
}

fn ports_mut(app: &mut App) -> Box<dyn Iterator<Item = &mut u16> + '_> {
    match app.container.as_mut().and_then(|container| container.port_mappings.as_mut()) {
        Some(mappings) => Box::new(mappings.iter_mut().map(|mapping| &mut mapping.service_port)),
        None => Box::new(app.port_definitions.iter_mut().flatten().map(|port| &mut port.port)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::marathon::{PathId, PortDefinition};

    fn app(id: &str, wanted: &[u16]) -> Arc<App> {
        let port =
            |port: &u16| PortDefinition { port: *port, labels: BTreeMap::new(), name: None, protocol: "tcp".into() };
        let port_definitions = Some(wanted.iter().map(port).collect());
        Arc::new(App { port_definitions, ..App::new(id.parse().unwrap()) })
    }
    fn tree(apps: &[Arc<App>]) -> Group {
        let mut root = Group::empty(PathId::root());
        for app in apps {
            root.put_app(app.clone());
        }
        root
    }
    fn assigned(old: &Group, apps: &[Arc<App>], range: RangeInclusive<u16>) -> Result<Vec<Vec<u16>>, Refusal> {
        let mut new = tree(apps);
        assign_service_ports(old, &mut new, range)?;
        Ok(new.all_apps().into_iter().map(|app| ports(app)).collect())
    }

    #[test]
    fn the_lowest_free_one_is_given() {
        let nothing = tree(&[]);
        let apps = [app("/a", &[0, 10_001]), app("/b", &[0]), app("/c", &[9001])];
        assert_eq!(assigned(&nothing, &apps, SERVICE_PORTS), Ok(vec![vec![10_000, 10_001], vec![10_002], vec![9001]]));
    }

    #[test]
    fn zero_again_is_the_port_of_before() {
        let old = tree(&[app("/a", &[10_005, 10_007])]);
        assert_eq!(assigned(&old, &[app("/a", &[0, 0])], SERVICE_PORTS), Ok(vec![vec![10_005, 10_007]]));
        assert_eq!(
            assigned(&old, &[app("/a", &[10_005, 0, 0])], SERVICE_PORTS),
            Ok(vec![vec![10_005, 10_007, 10_000]])
        );
    }

    #[test]
    fn ports_of_an_app_that_goes_are_not_given_in_the_same_change() {
        let old = tree(&[app("/gone", &[10_000])]);
        assert_eq!(assigned(&old, &[app("/new", &[0])], SERVICE_PORTS), Ok(vec![vec![10_001]]));
    }

    #[test]
    fn a_range_may_be_exhausted() {
        let nothing = tree(&[]);
        assert_eq!(assigned(&nothing, &[app("/a", &[0])], 1..=1), Ok(vec![vec![1]]));
        assert_eq!(assigned(&nothing, &[app("/a", &[0, 0])], 1..=1).unwrap_err().status, 500);
    }
}
