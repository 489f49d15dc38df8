//! Host ports for tasks: any free ones of a range, or exactly those an app requires.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, TcpListener};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::Moment;
use super::instance::Ports;
use crate::marathon::{App, NetworkMode, PortDefinition, PortMapping};

/// The ports of this machine that tasks may have.
#[derive(Debug)]
pub struct HostPorts {
    range: RangeInclusive<u16>,
    address: IpAddr,
    /// The one to try next, so that a port is not given again right after it was freed.
    next: u16,
    /// Ports that turned out to be taken by others, and until when they are left alone.
    avoided: BTreeMap<u16, Moment>,
}

/// No set of ports fits the app now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoPorts;

/// One port that a task needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Any,
    Exactly(u16),
    /// None of the host's: reachable inside the container network alone.
    Inside(u16),
}

impl HostPorts {
    pub fn new(range: RangeInclusive<u16>, address: IpAddr) -> Self {
        let next = *range.start();
        Self { range, address, next, avoided: BTreeMap::new() }
    }

    /// The same ports, tried from anywhere on: several engines of one machine that share a range seldom meet then.
    #[must_use]
    pub fn beginning_anywhere(mut self, random: u16) -> Self {
        let size = u32::from(*self.range.end() - *self.range.start()) + 1;
        let offset = u32::from(random) % size;
        self.next = *self.range.start() + u16::try_from(offset).unwrap_or(0);
        self
    }

    /// Ports for one more task of the app, none of which is in `used`.
    pub fn take(&mut self, app: &App, used: &BTreeSet<u16>, now: Moment) -> Result<Ports, NoPorts> {
        self.avoided.retain(|_, until| *until > now);
        let mut given: Vec<u16> = Vec::new();
        let mut ports = Ports::default();
        for (need, container_port) in needs(app) {
            let host = match need {
                Need::Any => Some(self.any(used, &given).ok_or(NoPorts)?),
                Need::Exactly(port) if used.contains(&port) || given.contains(&port) || !self.is_free(port) => {
                    return Err(NoPorts);
                }
                Need::Exactly(port) => Some(port),
                Need::Inside(_) => None,
            };
            given.extend(host);
            ports.host.extend(host);
            let inside = if let Need::Inside(port) = need { port } else { container_port.unwrap_or(0) };
            ports.listen.push(match (inside, host) {
                (0, Some(host)) => host,
                (0, None) => free_inside(app, &ports.listen),
                _ => inside,
            });
        }
        Ok(ports)
    }

    /// Leaves ports alone for a while that another program has.
    pub fn avoid(&mut self, ports: &[u16], now: Moment) {
        const A_WHILE: Duration = Duration::from_mins(1);
        self.avoided.extend(ports.iter().map(|port| (*port, now.plus(A_WHILE))));
    }

    fn any(&mut self, used: &BTreeSet<u16>, given: &[u16]) -> Option<u16> {
        let (first, last) = (*self.range.start(), *self.range.end());
        for _ in self.range.clone() {
            let port = self.next;
            self.next = if port >= last { first } else { port + 1 };
            if !used.contains(&port)
                && !given.contains(&port)
                && !self.avoided.contains_key(&port)
                && self.is_free(port)
            {
                return Some(port);
            }
        }
        None
    }

    /// Whether nobody listens there now; somebody may a moment later, which the launch finds out.
    fn is_free(&self, port: u16) -> bool {
        TcpListener::bind((self.address, port)).is_ok()
    }
}

/// What each of the app's ports needs, and the container's port where that is fixed.
fn needs(app: &App) -> Vec<(Need, Option<u16>)> {
    if is_on_host_network(app) {
        let wanted = app.port_definitions.as_deref().unwrap_or_default();
        return wanted.iter().map(|definition| (host_need(app, definition), None)).collect();
    }
    mappings(app).iter().map(|mapping| (mapping_need(mapping), Some(mapping.container_port))).collect()
}

fn host_need(app: &App, definition: &PortDefinition) -> Need {
    if app.require_ports && definition.port != 0 { Need::Exactly(definition.port) } else { Need::Any }
}

fn mapping_need(mapping: &PortMapping) -> Need {
    match mapping.host_port {
        None => Need::Inside(mapping.container_port),
        Some(0) => Need::Any,
        Some(port) => Need::Exactly(port),
    }
}

/// A port of the container that nothing of the app asks for.
fn free_inside(app: &App, given: &[u16]) -> u16 {
    const FIRST: u16 = 1025;
    let is_asked_for = |port: &u16| mappings(app).iter().any(|mapping| mapping.container_port == *port);
    (FIRST..=u16::MAX).find(|port| !given.contains(port) && !is_asked_for(port)).unwrap_or(FIRST)
}

/// Tasks of the app use the host's ports themselves.
pub fn is_on_host_network(app: &App) -> bool {
    app.networks.iter().all(|network| network.mode == NetworkMode::Host)
}

/// The place among the app's ports of the one with that name.
pub fn port_named(app: &App, name: &str) -> Option<usize> {
    let is_it = |found: &Option<String>| found.as_deref() == Some(name);
    if is_on_host_network(app) {
        return app.port_definitions.iter().flatten().position(|definition| is_it(&definition.name));
    }
    mappings(app).iter().position(|mapping| is_it(&mapping.name))
}

pub fn mappings(app: &App) -> &[PortMapping] {
    app.container.as_ref().and_then(|container| container.port_mappings.as_deref()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::samples::{bridge, command};
    use super::*;

    fn ports(range: RangeInclusive<u16>) -> HostPorts {
        HostPorts::new(range, IpAddr::from([127, 0, 0, 1]))
    }
    fn now() -> Moment {
        Moment::from_millis(0)
    }
    fn definition(port: u16) -> PortDefinition {
        PortDefinition { port, labels: BTreeMap::default(), name: None, protocol: "tcp".into() }
    }

    #[test]
    fn a_command_gets_ports_of_the_range_for_its_definitions() {
        let app = App { port_definitions: Some(vec![definition(10000), definition(10001)]), ..command("/a") };
        let given = ports(21000..=21100).take(&app, &BTreeSet::new(), now()).unwrap();
        assert_eq!(given.host.len(), 2);
        assert_eq!(given.host, given.listen);
        assert_ne!(given.host[0], given.host[1]);
    }

    #[test]
    fn required_ports_are_exactly_those_or_none() {
        let app = App { port_definitions: Some(vec![definition(21200)]), require_ports: true, ..command("/a") };
        assert_eq!(ports(21000..=21100).take(&app, &BTreeSet::new(), now()).unwrap().host, [21200]);
        assert_eq!(ports(21000..=21100).take(&app, &BTreeSet::from([21200]), now()), Err(NoPorts));
    }

    #[test]
    fn a_container_port_of_zero_is_the_hosts_and_a_mapping_without_host_port_stays_inside() {
        let app = bridge("/a", &[(0, Some(0)), (8080, Some(0)), (9000, None)]);
        let given = ports(21300..=21400).take(&app, &BTreeSet::new(), now()).unwrap();
        assert_eq!(given.host.len(), 2);
        assert_eq!(given.listen, [given.host[0], 8080, 9000]);
    }

    #[test]
    fn a_port_that_is_nobodys_is_one_that_the_container_has_free() {
        let app = bridge("/a", &[(0, None), (1025, None), (0, None)]);
        let given = ports(21300..=21400).take(&app, &BTreeSet::new(), now()).unwrap();
        assert_eq!((given.host, given.listen), (vec![], vec![1026, 1025, 1027]));
    }

    #[test]
    fn wherever_it_begins_every_port_of_the_range_is_given() {
        let app = bridge("/a", &[(0, Some(0)), (0, Some(0)), (0, Some(0))]);
        for random in [0, 1, 2, 3, u16::MAX] {
            let mut given =
                ports(21801..=21803).beginning_anywhere(random).take(&app, &BTreeSet::new(), now()).unwrap();
            given.host.sort_unstable();
            assert_eq!(given.host, [21801, 21802, 21803]);
        }
    }

    #[test]
    fn used_avoided_and_foreign_ports_are_passed_over() {
        let foreign = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = foreign.local_addr().unwrap().port();
        let app = bridge("/a", &[(0, Some(0))]);
        assert_eq!(ports(taken..=taken).take(&app, &BTreeSet::new(), now()), Err(NoPorts));
        let mut pool = ports(21500..=21502);
        pool.avoid(&[21501], now());
        assert_eq!(pool.take(&app, &BTreeSet::from([21500]), now()).unwrap().host, [21502]);
        assert_eq!(pool.take(&app, &BTreeSet::from([21500, 21502]), now()), Err(NoPorts));
        let later = now().plus(Duration::from_secs(61));
        assert_eq!(pool.take(&app, &BTreeSet::from([21500, 21502]), later).unwrap().host, [21501]);
    }
}
