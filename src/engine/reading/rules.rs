//! The rules that a definition of the right shape may still break, in Marathon's words.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Refusal;
use super::draft::Draft;
use super::parts::{DraftContainer, is_segment};
use super::shape::Details;
use crate::marathon::{
    App, Constraint, Container, ContainerKind, EnvValue, HealthCheck, HealthProtocol, IpProtocol, Network, NetworkMode,
    PathId,
};

/// What an engine allows beyond what Marathon checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The role that apps have unless they say another.
    pub role: String,
    /// Apps may run without a container image, as processes of this machine.
    pub commands: bool,
    /// Such apps may run as any user: the engine is root.
    pub users: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self { role: "*".to_owned(), commands: false, users: false }
    }
}

const SEGMENT: &str = "must fully match regular expression '^(([a-z0-9]|[a-z0-9][a-z0-9\\-]*[a-z0-9])\\.)*([a-z0-9]|[a-z0-9][a-z0-9\\-]*[a-z0-9])|(\\.|\\.\\.)$'";
const NOTHING_TO_RUN: &str = "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.";
const RESERVED: [&str; 3] = ["restart", "tasks", "versions"];

/// Most segments of an id. Marathon has no limit; here every group is a level of what is written, and read again.
const MAX_DEPTH: usize = 32;

/// An id of a URL; leading and trailing slashes do not count.
pub fn read_id(text: &str) -> Result<PathId, Refusal> {
    resolve(text, &PathId::root(), SEGMENT).map_err(|error| Details::rule("/", &error))
}

/// The id that a text means below `base`; otherwise what is wrong with it, which is `no_id` if it is none.
pub(super) fn resolve(text: &str, base: &PathId, no_id: &str) -> Result<PathId, String> {
    let segments = || text.split('/').filter(|segment| !segment.is_empty());
    let fits = |segment: &str| segment == "." || segment == ".." || is_segment(segment);
    if segments().count() + base.segments().len() > MAX_DEPTH {
        return Err(format!("must not have more than {MAX_DEPTH} segments"));
    }
    let id = segments().all(fits).then(|| PathId::resolve(text, base).ok()).flatten();
    id.ok_or_else(|| no_id.to_owned())
}

/// The dependencies as absolute ids, each once.
pub(super) fn dependencies(texts: &[String], base: &PathId) -> Result<Vec<PathId>, Refusal> {
    let mut details = Details::default();
    let (mut ids, mut seen) = (Vec::new(), BTreeSet::new());
    for (index, text) in texts.iter().enumerate() {
        match resolve(text, base, SEGMENT) {
            Err(error) => details.add(format!("/dependencies({index})"), error),
            Ok(id) if seen.insert(id.clone()) => ids.push(id),
            Ok(_) => {}
        }
    }
    details.or_valid(ids)
}

/// The app's own id.
pub(super) fn check_identity(draft: &Draft, id: &PathId) -> Result<(), Refusal> {
    let mut details = Details::default();
    details.require(!id.is_root(), "/id", "Path must contain at least one path element");
    details.require(!id.is_root(), "/", "must not be root");
    let reserved = id.segments().last().is_some_and(|last| RESERVED.contains(&last.as_str()));
    let words = "must not end with any of the following reserved keywords: restart, tasks, versions, ., ..";
    details.require(!reserved, "/id", words);
    details.require(draft.cmd.as_ref().is_none_or(|cmd| cmd.chars().count() > 1), "/", "must not be an empty string");
    details.or_valid(())
}

/// Old spellings that contradict new ones, or each other.
pub(super) fn old_spellings(draft: &Draft) -> Result<(), Refusal> {
    let mut details = Details::default();
    let has = |list: Option<usize>| list.is_some_and(|length| length > 0);
    let networks = has(draft.networks.as_ref().map(Vec::len));
    let (ports, definitions) = (draft.ports.as_ref(), draft.port_definitions.as_ref());
    let container = draft.container.as_ref();
    let is_docker = container.is_some_and(|draft| draft.container.kind == ContainerKind::Docker);
    for (index, uri) in draft.uris.iter().flatten().enumerate() {
        details.require(is_uri(uri), &format!("/uris({index})"), "URI has invalid syntax.");
    }
    let both = has(draft.uris.as_ref().map(Vec::len)) && has(draft.fetch.as_ref().map(Vec::len));
    details.require(!both, "/uris", "may not be set in conjunction with fetch");
    let discovery = draft.ip_address.as_ref().is_some_and(|address| address.discovery.is_some());
    let text = "ipAddress/discovery is not allowed for Docker containers";
    details.require(!(is_docker && discovery), "/ipAddress", text);
    let old_network = container.is_some_and(|draft| draft.old_network.is_some());
    let text = "must not specify both container.docker.network and networks";
    details.require(!(old_network && networks), "/", text);
    let text = "must not specify both networks and ipAddress";
    details.require(!(draft.ip_address.is_some() && networks), "/", text);
    details.require(are_unique(ports.into_iter().flatten().filter(|port| **port != 0)), "/", "ports must be unique");
    let some_port = has(ports.map(Vec::len)) || has(definitions.map(Vec::len));
    let text = "cannot specify both an IP address and port";
    details.require(!(draft.ip_address.is_some() && some_port), "/", text);
    let alike = ports.zip(definitions).is_none_or(|(ports, definitions)| {
        definitions.iter().map(|definition| definition.port).eq(ports.iter().copied())
    });
    details.require(alike, "/", "cannot specify both ports and port definitions");
    if let Some(old) = container.filter(|draft| draft.container.kind == ContainerKind::Mesos) {
        details.require(old.old_network.is_none(), "/container/docker/network", "must be empty");
        details.require(old.old_mappings.is_none(), "/container/docker/portMappings", "must be empty");
    }
    let credential = container.is_some_and(|draft| draft.credential);
    details.require(!credential, "/container/docker/credential", "must be empty");
    let old_names = container.and_then(|draft| draft.old_mappings.as_ref()).into_iter().flatten();
    let unique = are_unique(old_names.filter_map(|mapping| mapping.name.as_ref()));
    details.require(unique, "/container/docker/portMappings", "Port names must be unique.");
    details.or_valid(())
}

fn are_unique<T: Ord>(items: impl Iterator<Item = T>) -> bool {
    let mut seen = BTreeSet::new();
    items.into_iter().all(|item| seen.insert(item))
}

/// The container without what only old spellings needed. An image that only Mesos knows is refused.
pub(super) fn check_container(draft: Option<DraftContainer>) -> Result<Option<Container>, Refusal> {
    match draft {
        Some(draft) if draft.appc => Err(Details::rule("/container/appc", "is not supported by this engine")),
        draft => Ok(draft.map(|draft| draft.container)),
    }
}

/// All that Marathon checks of a definition in new spellings, and what this engine cannot do.
pub(super) fn check_app(app: &App, rules: &Rules) -> Result<(), Refusal> {
    let mut details = Details::default();
    what_runs(app, &mut details);
    ports(app, &mut details);
    networks(&app.networks, &mut details);
    health_checks(app, &mut details);
    readiness_checks(app, &mut details);
    environment(app, &mut details);
    placement(app, rules, &mut details);
    strategies(app, &mut details);
    for (index, artifact) in app.fetch.iter().enumerate() {
        details.require(is_uri(&artifact.uri), &format!("/fetch({index})/uri"), "URI has invalid syntax.");
    }
    details.or_valid(())?;
    illegal_health_check(app)?;
    supported(app, rules)
}

fn what_runs(app: &App, details: &mut Details) {
    let (cmd, args) = (app.cmd.is_some(), !app.args.is_empty());
    let docker = app.container.as_ref().and_then(|container| container.docker.as_ref());
    details.require(cmd != args || !cmd && docker.is_some(), "/", NOTHING_TO_RUN);
    let Some(container) = &app.container else { return };
    if container.kind == ContainerKind::Docker {
        details.require(docker.is_some(), "/container/docker", "not defined");
        let pull = docker.is_some_and(|docker| docker.pull_config.is_some());
        let text = "pullConfig is not supported with Docker containerizer";
        details.require(!pull, "/container/docker/pullConfig", text);
        let networks = app.networks.iter().filter(|network| network.mode == NetworkMode::Container).count();
        let text = "may only specify a single container network when using the Docker container engine";
        details.require(networks <= 1, "/", text);
        details.require(app.check.is_none(), "/check", "is not allowed with Docker containers");
    }
    if docker.is_some_and(|docker| docker.pull_config.is_some()) && container.kind == ContainerKind::Mesos {
        details.add("/container/docker/pullConfig", feature("secrets"));
    }
    for (index, volume) in container.volumes.iter().enumerate() {
        let (path, has) = (format!("/container/volumes({index})"), |field: &str| volume.get(field).is_some());
        details.require(!has("external"), &path, &feature("external_volumes"));
        details.require(!has("secret"), &path, &feature("secrets"));
    }
    details.require(app.gpus == 0 || container.kind != ContainerKind::Docker, "/", GPUS);
}

const GPUS: &str = "GPU resources only work with the Mesos containerizer";

/// What Marathon says of what it could do and was not told to.
pub(super) fn feature(name: &str) -> String {
    format!("Feature {name} is not enabled. Enable with --enable_features {name})")
}

fn ports(app: &App, details: &mut Details) {
    let definitions = || app.port_definitions.iter().flatten();
    let names = are_unique(definitions().filter_map(|port| port.name.as_ref()));
    details.require(names, "/portDefinitions", "Port names must be unique.");
    let numbers = are_unique(definitions().map(|port| port.port).filter(|port| *port != 0));
    details.require(numbers, "/portDefinitions", "Ports must be unique.");
    let mappings = || app.container.iter().filter_map(|container| container.port_mappings.as_ref()).flatten();
    let names = are_unique(mappings().filter_map(|mapping| mapping.name.as_ref()));
    details.require(names, "/container/portMappings", "Port names must be unique.");
    let known: Vec<&String> = app.networks.iter().filter_map(|network| network.name.as_ref()).collect();
    let several = app.networks.iter().filter(|network| network.mode == NetworkMode::Container).count() > 1;
    for (index, mapping) in mappings().enumerate() {
        let (path, on) = (format!("/container/portMappings({index})"), mapping.network_names.as_deref());
        let listed = |list: &[&String]| list.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
        for (at, name) in on.unwrap_or_default().iter().enumerate() {
            let text = format!("got {name}, expected one of: [{}]", listed(&known));
            details.require(known.contains(&name), &format!("{path}/networkNames({at})"), &text);
        }
        let one = !several || mapping.host_port.is_none() || on.is_some_and(|on| on.len() == 1);
        details.require(one, &path, ONE_NETWORK);
    }
}

const ONE_NETWORK: &str =
    "networkNames must be a single item list when hostPort is specified and more than 1 container network is defined";

fn networks(networks: &[Network], details: &mut Details) {
    let of = |mode| networks.iter().filter(move |network| network.mode == mode);
    let (hosts, bridges) = (of(NetworkMode::Host).count(), of(NetworkMode::Bridge).count());
    let containers = of(NetworkMode::Container).count();
    let named = of(NetworkMode::Host).any(|network| network.name.is_some() || !network.labels.is_empty());
    details.require(!named, "/networks", "Host networks may not have names or labels");
    let named = of(NetworkMode::Bridge).any(|network| network.name.is_some());
    details.require(!named, "/networks", "Bridge networks may not have names");
    let nameless = of(NetworkMode::Container).filter(|network| network.name.is_none()).count();
    let unique = nameless < 2 && are_unique(networks.iter().filter_map(|network| network.name.as_ref()));
    details.require(unique, "/networks", "Duplicate networks are not allowed");
    let text = "May specify a single host network, single bridge network, or else 1-to-n container networks";
    let mixed = hosts + bridges > 1 || hosts + bridges == 1 && containers > 0;
    details.require(!mixed, "/networks", text);
    let text = "Network name must be specified when container network is selected.";
    details.require(nameless == 0, "/networks", text);
}

fn is_by_mesos(check: &HealthCheck) -> bool {
    !matches!(check.protocol, HealthProtocol::Http | HealthProtocol::Https | HealthProtocol::Tcp)
}

fn health_checks(app: &App, details: &mut Details) {
    let mapped = app.container.as_ref().and_then(|container| container.port_mappings.as_ref());
    let ports = mapped.map(Vec::len).or(app.port_definitions.as_ref().map(Vec::len)).unwrap_or(0);
    let is_docker = app.container.as_ref().is_some_and(|container| container.kind == ContainerKind::Docker);
    for (index, check) in app.health_checks.iter().enumerate() {
        let path = format!("/healthChecks({index})");
        let addressed = match check.port_index {
            Some(at) => usize::try_from(at).is_ok_and(|at| at < ports),
            None => check.port.is_some() || ports == 1,
        };
        let text = "Health check port indices must address an element of the ports array or container port mappings.";
        details.require(check.command.is_some() || is_by_mesos(check) || addressed, &path, text);
        let mesos_network = is_by_mesos(check) && check.protocol != HealthProtocol::Command;
        let text = "IPv6 can only be used for container type DOCKER and Mesos http/https/tcp health checks";
        details.require(check.ip_protocol == IpProtocol::V4 || mesos_network && is_docker, &path, text);
    }
    let mesos = app.health_checks.iter().filter(|check| check.command.is_none() && is_by_mesos(check)).count();
    details.require(mesos <= 1, "/", "AppDefinition can contain at most one Mesos health check");
}

/// What a real Marathon answers with 500.
fn illegal_health_check(app: &App) -> Result<(), Refusal> {
    for check in &app.health_checks {
        let is_command = check.protocol == HealthProtocol::Command;
        let word = serde_json::to_value(check.protocol).unwrap_or_default();
        let word = word.as_str().unwrap_or_default();
        if is_command && check.command.is_none() {
            return Err(Refusal::unprocessable("illegal protocol COMMAND for non-command health check"));
        }
        if !is_command && check.command.is_some() {
            return Err(Refusal::unprocessable(format!("illegal protocol {word} for command health check")));
        }
        if is_command && (check.path.is_some() || check.port.is_some() || check.port_index.is_some()) {
            return Err(Refusal::unprocessable("a COMMAND health check has no path, port or portIndex"));
        }
    }
    Ok(())
}

fn readiness_checks(app: &App, details: &mut Details) {
    let mapped = app.container.as_ref().and_then(|container| container.port_mappings.as_ref());
    let names: Vec<&String> = match mapped {
        Some(mappings) => mappings.iter().filter_map(|mapping| mapping.name.as_ref()).collect(),
        None => app.port_definitions.iter().flatten().filter_map(|port| port.name.as_ref()).collect(),
    };
    let checks = &app.readiness_checks;
    let count = checks.len();
    details.require(count <= 1, "/readinessChecks/size", &format!("got {count}, expected 1 or less"));
    for (index, check) in checks.iter().enumerate() {
        let path = format!("/readinessChecks({index})");
        let text = format!("No port definition reference for portName {}", check.port_name);
        details.require(names.contains(&&check.port_name), &format!("{path}/portName"), &text);
        let text = format!("got {}, expected less than {}", check.timeout_seconds, check.interval_seconds);
        let shorter = check.timeout_seconds < check.interval_seconds;
        details.require(shorter, &format!("{path}/timeoutSeconds"), &text);
    }
}

fn environment(app: &App, details: &mut Details) {
    details.require(app.secrets.is_empty(), "/secrets", &feature("secrets"));
    for (index, (name, value)) in app.env.iter().enumerate() {
        details.require(!name.is_empty(), &format!("/env/keys({index})"), "must not be empty");
        if let EnvValue::Secret { secret } = value {
            let text = "use of secret-references in the environment requires the secrets feature to be enabled";
            details.add("/env", text);
            let path = format!("/env/{name}/secret");
            details.require(app.secrets.contains_key(secret), &path, "references an undefined secret");
        }
    }
}

fn placement(app: &App, rules: &Rules, details: &mut Details) {
    let top = app.id.segments().first().filter(|_| app.id.segments().len() > 1);
    let allowed: Vec<&str> = std::iter::once(rules.role.as_str()).chain(top.map(String::as_str)).collect();
    let text = format!("got {}, expected one of: [{}]", app.role, allowed.join(", "));
    details.require(allowed.contains(&app.role.as_str()), "/role", &text);
    if let Some(accepted) = &app.accepted_resource_roles {
        details.require(!accepted.is_empty(), "/acceptedResourceRoles", "must not be empty");
        let known = if app.role == "*" { "*".to_owned() } else { format!("* and {}", app.role) };
        let fits = accepted.iter().all(|role| role == "*" || *role == app.role);
        let text = format!("acceptedResourceRoles can only contain {known}");
        details.require(fits, "/acceptedResourceRoles", &text);
    }
    for broken in app.constraints.iter().filter_map(|constraint| broken_constraint(constraint)) {
        details.add("/constraints", broken);
    }
    details.require(app.gpus == 0, "/", &feature("gpu_resources"));
}

/// What is wrong with a constraint, if anything is.
fn broken_constraint(constraint: &Constraint) -> Option<&'static str> {
    let (operator, value) = match constraint.as_slice() {
        [_, operator] => (operator, None),
        [_, operator, value] => (operator, Some(value.as_str())),
        _ => return Some("Each constraint must have either 2 or 3 fields"),
    };
    let is_int = |text: &str| text.parse::<i32>().is_ok();
    match operator.as_str() {
        "UNIQUE" => value.is_some().then_some("UNIQUE does not accept a value"),
        "CLUSTER" => None,
        "GROUP_BY" if value.is_none_or(is_int) => None,
        "GROUP_BY" => Some("GROUP BY must define an integer value or else no value at all"),
        "MAX_PER" => (!value.is_some_and(is_int)).then_some("MAX_PER requires an integer value"),
        "LIKE" | "UNLIKE" => match value.filter(|value| !value.is_empty()) {
            None => Some("LIKE and UNLIKE require a non-empty, regular expression value"),
            Some(pattern) => (!is_balanced(pattern)).then_some("is not a valid regular expression"),
        },
        "IS" => (!value.is_some_and(is_literal)).then_some(IS_TEXT),
        _ => Some("operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, UNLIKE or IS"),
    }
}

// Marathon's words, shortened by the address of Mesos' documentation.
const IS_TEXT: &str = "IS only supports Mesos text and float values";

fn is_literal(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_/.-".contains(&b))
}

/// Whether brackets close and nothing is repeated that is not there: what goes wrong in patterns people write.
fn is_balanced(pattern: &str) -> bool {
    let (mut depth, mut in_class, mut repeatable) = (0_u32, false, false);
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' if characters.next().is_none() => return false,
            '[' => in_class = true,
            ']' => in_class = false,
            '(' if !in_class => depth += 1,
            ')' if !in_class => match depth.checked_sub(1) {
                None => return false,
                Some(outer) => depth = outer,
            },
            '*' | '+' if !in_class && !repeatable => return false,
            _ => {}
        }
        repeatable = !matches!(character, '(' | '|');
    }
    depth == 0 && !in_class
}

fn strategies(app: &App, details: &mut Details) {
    let single = app.labels.get("MARATHON_SINGLE_INSTANCE_APP").is_some_and(|value| value == "true");
    let few = !single || app.instances <= 1;
    details.require(few, "/", "Single instance app may only have one instance");
    let upgrade = app.upgrade_strategy;
    for (path, value) in [
        ("/upgradeStrategy/minimumHealthCapacity", upgrade.minimum_health_capacity),
        ("/upgradeStrategy/maximumOverCapacity", upgrade.maximum_over_capacity),
    ] {
        details.require(!single || value <= 0.0, path, &format!("got {value:?}, expected 0.0"));
    }
    let seconds = |field: &str| app.unreachable_strategy.get(field).and_then(Value::as_u64);
    if let (Some(inactive), Some(expunge)) = (seconds("inactiveAfterSeconds"), seconds("expungeAfterSeconds")) {
        let text = format!(
            "inactiveAfterSeconds ({inactive}) must be less or equal to expungeAfterSeconds, which is {expunge}"
        );
        details.require(inactive <= expunge, "/unreachableStrategy/inactiveAfterSeconds", &text);
    }
    for (field, request) in [("cpus", app.cpus), ("mem", app.mem)] {
        let limit = app.resource_limits.as_ref().and_then(|limits| limits.get(field)).and_then(Value::as_f64);
        let text = "resource limit must be greater than or equal to requested resource value";
        details.require(limit.is_none_or(|limit| limit >= request), &format!("/resourceLimits/{field}"), text);
    }
}

/// What Marathon would take and this engine does not do: said, never passed over.
fn supported(app: &App, rules: &Rules) -> Result<(), Refusal> {
    const NOT_HERE: &str = "is not supported by this engine";
    let mut details = Details::default();
    let volumes = app.container.iter().flat_map(|container| &container.volumes);
    for (index, volume) in volumes.enumerate() {
        let path = format!("/container/volumes({index})/persistent");
        details.require(volume.get("persistent").is_none(), &path, NOT_HERE);
    }
    let image = app.container.as_ref().is_some_and(|container| container.docker.is_some());
    let text = "this engine runs containers only; give a container with a docker image";
    details.require(rules.commands || image, "/", text);
    details.or_valid(())
}

/// As `java.net.URI` sees it: no characters that a URI must escape, escapes of two hexadecimal digits.
fn is_uri(text: &str) -> bool {
    let plain = !text.chars().any(|c| c.is_whitespace() || c.is_control() || "\"<>\\^`{|}".contains(c));
    let mut escapes = text.split('%');
    escapes.next();
    plain && escapes.all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_looked_at() {
        for good in ["a.*", "(a|b)+", "[(]", "\\(", "", "a{2}"] {
            assert!(is_balanced(good), "{good}");
        }
        for bad in ["(", ")", "[a", "*", "a(*)", "\\"] {
            assert!(!is_balanced(bad), "{bad}");
        }
    }

    #[test]
    fn uris_are_looked_at() {
        for good in ["http://h/a%20b", "file:///x", "relative", "http://h/?q=1#f"] {
            assert!(is_uri(good), "{good}");
        }
        for bad in ["not a uri", "http://h/%zz", "http://h/%2", "a\\b", "{x}"] {
            assert!(!is_uri(bad), "{bad}");
        }
    }

    #[test]
    fn constraints_follow_their_operator() {
        let broken = |fields: &[&str]| broken_constraint(&fields.iter().map(ToString::to_string).collect::<Vec<_>>());
        for good in [
            &["hostname", "UNIQUE"][..],
            &["hostname", "CLUSTER", "h"],
            &["rack", "GROUP_BY"],
            &["rack", "GROUP_BY", "3"],
            &["hostname", "LIKE", "a.*"],
            &["hostname", "IS", "h-1"],
        ] {
            assert_eq!(broken(good), None, "{good:?}");
        }
        for bad in [&["rack", "GROUP_BY", "x"][..], &["a", "IS"], &["a", "unique"], &["a", "MAX_PER"], &[]] {
            assert!(broken(bad).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn an_id_is_not_deeper_than_what_is_written_can_be_read_again() {
        let deep = |segments: usize| "/a".repeat(segments);
        assert!(read_id(&deep(MAX_DEPTH)).is_ok());
        for too_deep in [deep(MAX_DEPTH + 1), deep(1_000_000)] {
            let refusal = read_id(&too_deep).unwrap_err();
            assert_eq!(refusal.body["details"][0]["errors"][0], "must not have more than 32 segments");
        }
    }

    #[test]
    fn an_id_of_a_url_loses_its_outer_slashes() {
        assert_eq!(read_id("//a/b/").unwrap().to_string(), "/a/b");
        let refusal = read_id("BAD").unwrap_err();
        assert_eq!((refusal.status, &refusal.body["details"][0]["path"]), (422, &"/".into()));
    }
}
