//! The double's containers: what they were asked to be, and what they are doing.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};

use super::Happening;

/// Docker remembers so many events for those who ask later.
const REMEMBERED: usize = 256;
/// Docker's word for never.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// All there is.
#[derive(Debug, Default)]
pub(super) struct Containers {
    made: u64,
    by_id: HashMap<String, Container>,
    by_name: HashMap<String, String>,
    /// Host ports of containers that run, and whose they are.
    ports: BTreeMap<u64, String>,
    networks: BTreeSet<String>,
    events: VecDeque<Arc<Happening>>,
}

#[derive(Debug)]
struct Container {
    id: String,
    name: String,
    image: String,
    labels: BTreeMap<String, String>,
    network: String,
    /// Container's port, as `80/tcp`, and the host's.
    ports: Vec<(String, u64)>,
    created: jiff::Timestamp,
    state: State,
}

#[derive(Debug)]
enum State {
    Created,
    Running { since: jiff::Timestamp },
    Ended { since: jiff::Timestamp, at: jiff::Timestamp, status: i64 },
}

/// Why something is not done: Docker's status and words.
pub(super) type Refused = (u16, String);

fn no_such(id: &str) -> Refused {
    (404, format!("No such container: {id}"))
}

impl Containers {
    /// Makes a container from the body of a request, and gives its id.
    pub(super) fn create(&mut self, name: &str, asked: &Value) -> Result<String, Refused> {
        if let Some(holder) = self.by_name.get(name) {
            let text = format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". You have to \
                 remove (or rename) that container to be able to reuse that name."
            );
            return Err((409, text));
        }
        self.made += 1;
        // As long as Docker's, and different in the first twelve digits.
        let id = format!("{:012x}{:052x}", self.made, self.made);
        let host = &asked["HostConfig"];
        let bound = host["PortBindings"].as_object().into_iter().flatten();
        let ports = bound.flat_map(|(port, bindings)| {
            let host_ports = bindings.as_array().cloned().unwrap_or_default();
            host_ports.into_iter().map(move |binding| (port.clone(), host_port(&binding)))
        });
        let labels = asked["Labels"].as_object().into_iter().flatten();
        let container = Container {
            id: id.clone(),
            name: name.to_owned(),
            image: asked["Image"].as_str().unwrap_or_default().to_owned(),
            labels: labels.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect(),
            network: host["NetworkMode"].as_str().unwrap_or("bridge").to_owned(),
            ports: ports.collect(),
            created: jiff::Timestamp::now(),
            state: State::Created,
        };
        self.by_name.insert(name.to_owned(), id.clone());
        self.by_id.insert(id.clone(), container);
        Ok(id)
    }

    /// Runs a container; false when it runs already.
    pub(super) fn start(&mut self, id: &str) -> Result<Option<Happening>, Refused> {
        let known = self.networks.clone();
        let container = self.find(id).ok_or_else(|| no_such(id))?;
        if matches!(container.state, State::Running { .. }) {
            return Ok(None);
        }
        let (id, ports) = (container.id.clone(), container.ports.clone());
        if !known.contains(&container.network) && !matches!(container.network.as_str(), "bridge" | "host" | "none") {
            return Err((404, format!("network {} not found", container.network)));
        }
        if let Some((_, port)) = ports.iter().find(|(_, port)| self.ports.contains_key(port)) {
            let text = "driver failed programming external connectivity on endpoint";
            return Err((500, format!("{text}: Bind for 127.0.0.1:{port} failed: port is already allocated")));
        }
        self.ports.extend(ports.into_iter().map(|(_, port)| (port, id.clone())));
        let container = self.by_id.get_mut(&id).expect("it was just looked at");
        container.state = State::Running { since: jiff::Timestamp::now() };
        Ok(Some(container.happened("start", None)))
    }

    /// Ends a container that runs; none when none does by that id.
    pub(super) fn end(&mut self, id: &str, status: i64) -> Option<Happening> {
        let id = self.find(id)?.id.clone();
        self.ports.retain(|_, holder| *holder != id);
        let container = self.by_id.get_mut(&id)?;
        let State::Running { since } = container.state else { return None };
        container.state = State::Ended { since, at: jiff::Timestamp::now(), status };
        Some(container.happened("die", Some(status)))
    }

    pub(super) fn remove(&mut self, id: &str) -> Result<Happening, Refused> {
        let container = self.find(id).ok_or_else(|| no_such(id))?;
        let (id, name) = (container.id.clone(), container.name.clone());
        self.by_name.remove(&name);
        let container = self.by_id.remove(&id).expect("it was just looked at");
        Ok(container.happened("destroy", None))
    }

    /// Whether it runs; an error when there is none.
    pub(super) fn runs(&mut self, id: &str) -> Result<bool, Refused> {
        self.find(id).map(|found| matches!(found.state, State::Running { .. })).ok_or_else(|| no_such(id))
    }
    /// The status it ended with, once it has.
    pub(super) fn status(&mut self, id: &str) -> Result<Option<i64>, Refused> {
        let found = self.find(id).ok_or_else(|| no_such(id))?;
        Ok(if let State::Ended { status, .. } = found.state { Some(status) } else { None })
    }
    pub(super) fn inspect(&mut self, id: &str) -> Result<Value, Refused> {
        self.find(id).map(|found| found.inspected()).ok_or_else(|| no_such(id))
    }
    /// Those with all of the labels (`k=v`), also those that do not run with `all`.
    pub(super) fn list(&self, labels: &[String], all: bool) -> Vec<Value> {
        let wanted = self.by_id.values().filter(|found| all || matches!(found.state, State::Running { .. }));
        wanted.filter(|found| found.has(labels)).map(Container::listed).collect()
    }
    pub(super) fn running(&self) -> Vec<String> {
        let running = self.by_id.values().filter(|found| matches!(found.state, State::Running { .. }));
        running.map(|found| found.id.clone()).collect()
    }

    pub(super) fn has_network(&self, name: &str) -> bool {
        self.networks.contains(name)
    }
    /// False when there is one of that name.
    pub(super) fn make_network(&mut self, name: &str) -> bool {
        self.networks.insert(name.to_owned())
    }
    /// False when there is none of that name.
    pub(super) fn remove_network(&mut self, name: &str) -> bool {
        self.networks.remove(name)
    }

    pub(super) fn remember(&mut self, happened: Happening) -> Arc<Happening> {
        let happened = Arc::new(happened);
        self.events.push_back(happened.clone());
        if self.events.len() > REMEMBERED {
            self.events.pop_front();
        }
        happened
    }
    pub(super) fn remembered(&self) -> Vec<Arc<Happening>> {
        self.events.iter().cloned().collect()
    }

    /// By id or by name.
    fn find(&mut self, id: &str) -> Option<&mut Container> {
        let id = self.by_name.get(id).cloned().unwrap_or_else(|| id.to_owned());
        self.by_id.get_mut(&id)
    }
}

impl Container {
    fn has(&self, labels: &[String]) -> bool {
        labels.iter().all(|wanted| match wanted.split_once('=') {
            Some((key, value)) => self.labels.get(key).is_some_and(|found| found == value),
            None => self.labels.contains_key(wanted),
        })
    }

    fn happened(&self, action: &'static str, status: Option<i64>) -> Happening {
        let now = jiff::Timestamp::now();
        let mut attributes = self.labels.clone();
        attributes.extend([("image".to_owned(), self.image.clone()), ("name".to_owned(), self.name.clone())]);
        attributes.extend(status.map(|status| ("exitCode".to_owned(), status.to_string())));
        let line = json!({
            "status": action, "id": self.id, "from": self.image, "Type": "container", "Action": action,
            "Actor": { "ID": self.id, "Attributes": attributes }, "scope": "local",
            "time": now.as_second(), "timeNano": i64::try_from(now.as_nanosecond()).unwrap()
        });
        let labels = self.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        Happening { action, time: now.as_second(), labels, line: format!("{line}\n") }
    }

    fn networks(&self) -> Value {
        // Where a listener of the load may be; checks that ask a container ask there.
        let address = if matches!(self.state, State::Running { .. }) { "127.0.0.1" } else { "" };
        let length = if address.is_empty() { 0 } else { 16 };
        json!({ self.network.as_str(): {
            "IPAMConfig": null, "Links": null, "Aliases": null, "NetworkID": "", "EndpointID": "", "Gateway": "",
            "IPAddress": address, "IPPrefixLen": length, "IPv6Gateway": "", "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0, "MacAddress": "", "DriverOpts": null
        }})
    }

    fn inspected(&self) -> Value {
        let (word, started, finished, code) = match &self.state {
            State::Created => ("created", NEVER.to_owned(), NEVER.to_owned(), 0),
            State::Running { since } => ("running", since.to_string(), NEVER.to_owned(), 0),
            State::Ended { since, at, status } => ("exited", since.to_string(), at.to_string(), *status),
        };
        let runs = word == "running";
        json!({
            "Id": self.id, "Created": self.created.to_string(), "Path": "/start", "Args": [],
            "State": {
                "Status": word, "Running": runs, "Paused": false, "Restarting": false, "OOMKilled": false,
                "Dead": false, "Pid": i32::from(runs), "ExitCode": code, "Error": "", "StartedAt": started,
                "FinishedAt": finished
            },
            "Image": "sha256:0", "Name": format!("/{}", self.name), "RestartCount": 0, "Driver": "overlay2",
            "Platform": "linux", "Mounts": [],
            "Config": { "Image": self.image, "Labels": self.labels, "Env": null, "Cmd": null, "Tty": false },
            "NetworkSettings": { "Ports": {}, "IPAddress": "", "Networks": self.networks() }
        })
    }

    fn listed(&self) -> Value {
        let (word, text) = match &self.state {
            State::Created => ("created", "Created".to_owned()),
            State::Running { .. } => ("running", "Up 2 seconds".to_owned()),
            State::Ended { status, .. } => ("exited", format!("Exited ({status}) 2 seconds ago")),
        };
        let ports = self.ports.iter().map(|(port, host)| {
            let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
            let number = number.parse::<u16>().unwrap_or(0);
            json!({ "IP": "127.0.0.1", "PrivatePort": number, "PublicPort": host, "Type": protocol })
        });
        json!({
            "Id": self.id, "Names": [format!("/{}", self.name)], "Image": self.image, "ImageID": "sha256:0",
            "Command": "/start", "Created": self.created.as_second(), "Ports": ports.collect::<Vec<_>>(),
            "Labels": self.labels, "State": word, "Status": text, "HostConfig": { "NetworkMode": self.network },
            "NetworkSettings": { "Networks": self.networks() }, "Mounts": []
        })
    }
}

fn host_port(binding: &Value) -> u64 {
    binding["HostPort"].as_str().and_then(|port| port.parse().ok()).unwrap_or(0)
}
