//! Long options of `docker run` that an app may give to its container, read into what Docker's API takes for them.

use std::collections::HashMap;
use std::net::IpAddr;

use bollard::models::{ContainerCreateBody, DeviceMapping, EndpointSettings, NetworkingConfig, ResourcesUlimits};

use super::labels;

/// One option with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunOption {
    AddHost(String),
    CapAdd(String),
    CapDrop(String),
    Device { host: String, inside: String, permissions: String },
    Dns(IpAddr),
    DnsSearch(String),
    Env(String, String),
    Hostname(String),
    Init(bool),
    Ipc(String),
    Label(String, String),
    MemorySwappiness(i64),
    NetworkAlias(String),
    Pid(String),
    Privileged(bool),
    ReadOnly(bool),
    SecurityOpt(String),
    ShmSize(i64),
    StopSignal(String),
    Tmpfs { path: String, options: String },
    Ulimit { name: String, soft: i64, hard: i64 },
    User(String),
    Volume(Bind),
    Workdir(String),
}

/// A path of the host, or a volume of Docker, that a container sees as its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// An absolute path, which Docker makes a directory of when there is nothing, or a volume's name.
    pub source: String,
    /// An absolute path in the container.
    pub target: String,
    /// `ro`, `rw`, and `z` and `Z` for the labels of other programs' security; joined by commas.
    pub mode: String,
}

/// The text is no option that a container may be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRunOption {
    #[error("`{key}` is no option of `docker run` that this engine takes; it takes {known}", known = known())]
    Unknown { key: String },
    #[error("`{key}` is not taken: {instead}")]
    Refused { key: &'static str, instead: &'static str },
    #[error("`{key}` must be {expected}")]
    Value { key: &'static str, expected: &'static str },
}

/// What turns a value into an option.
type Read = fn(&str) -> Option<RunOption>;

/// An option by name: what its value must be, whether it keeps the container apart from the machine, how it is read.
struct Known {
    key: &'static str,
    expected: &'static str,
    confined: bool,
    read: Read,
}

const fn confined(key: &'static str, expected: &'static str, read: Read) -> Known {
    Known { key, expected, confined: true, read }
}
/// For containers that may do what the machine's root may.
const fn trusted(key: &'static str, expected: &'static str, read: Read) -> Known {
    Known { key, expected, confined: false, read }
}

const FLAG: &str = "`true` or `false`";
const CAPABILITY: &str = "the name of a capability, or ALL";

const KNOWN: [Known; 24] = [
    confined("add-host", "a name and an address: `db:10.0.0.1`", |text| {
        let (name, address) = text.split_once(':')?;
        let fits = is_word(name) && address.parse::<IpAddr>().is_ok();
        fits.then(|| RunOption::AddHost(text.to_owned()))
    }),
    trusted("cap-add", CAPABILITY, |text| is_capability(text).then(|| RunOption::CapAdd(text.to_owned()))),
    confined("cap-drop", CAPABILITY, |text| is_capability(text).then(|| RunOption::CapDrop(text.to_owned()))),
    trusted("device", "paths and permissions: `/dev/fuse:/dev/fuse:rwm`", device),
    confined("dns", "an IP address", |text| text.parse().ok().map(RunOption::Dns)),
    confined("dns-search", "a domain", |text| is_word(text).then(|| RunOption::DnsSearch(text.to_owned()))),
    confined("env", "a name and a value: `NAME=value`", |text| {
        pair(text).map(|(name, value)| RunOption::Env(name, value))
    }),
    confined("hostname", "a host's name", |text| is_word(text).then(|| RunOption::Hostname(text.to_owned()))),
    confined("init", FLAG, |text| flag(text).map(RunOption::Init)),
    trusted("ipc", "`host`, `private`, `shareable` or `none`", |text| {
        let fits = matches!(text, "host" | "private" | "shareable" | "none");
        fits.then(|| RunOption::Ipc(text.to_owned()))
    }),
    confined("label", "a key and a value, the key none of `paas`' own: `key=value`", |text| {
        let (key, value) = pair(text).unwrap_or_else(|| (text.to_owned(), String::new()));
        let fits = !key.is_empty() && !labels::is_ours(&key);
        fits.then_some(RunOption::Label(key, value))
    }),
    confined("memory-swappiness", "a number from 0 to 100", |text| {
        text.parse().ok().filter(|share| (0..=100).contains(share)).map(RunOption::MemorySwappiness)
    }),
    trusted("network-alias", "a host's name", |text| is_word(text).then(|| RunOption::NetworkAlias(text.to_owned()))),
    trusted("pid", "`host`", |text| (text == "host").then(|| RunOption::Pid(text.to_owned()))),
    trusted("privileged", FLAG, |text| flag(text).map(RunOption::Privileged)),
    confined("read-only", FLAG, |text| flag(text).map(RunOption::ReadOnly)),
    trusted("security-opt", "an option such as `no-new-privileges`", |text| {
        is_word(text).then(|| RunOption::SecurityOpt(text.to_owned()))
    }),
    confined("shm-size", "a number of bytes, perhaps with a unit: `64m`", |text| bytes(text).map(RunOption::ShmSize)),
    confined("stop-signal", "a signal: `SIGINT` or `2`", |text| {
        let fits = text.strip_prefix("SIG").is_some_and(is_word) || text.parse::<u8>().is_ok();
        fits.then(|| RunOption::StopSignal(text.to_owned()))
    }),
    confined("tmpfs", "an absolute path, perhaps with options: `/run:size=64m`", |text| {
        let (path, options) = text.split_once(':').unwrap_or((text, ""));
        path.starts_with('/').then(|| RunOption::Tmpfs { path: path.to_owned(), options: options.to_owned() })
    }),
    confined("ulimit", "a limit and its value: `nofile=1024:2048`", ulimit),
    confined("user", "a user, perhaps with a group: `1000:1000`", |text| {
        is_word(text).then(|| RunOption::User(text.to_owned()))
    }),
    trusted("volume", "a host's path or a volume, a container's path, and how: `/data:/data:ro`", |text| {
        text.parse().ok().map(RunOption::Volume)
    }),
    confined("workdir", "an absolute path", |text| text.starts_with('/').then(|| RunOption::Workdir(text.to_owned()))),
];

/// Options that are somebody else's to set, and how to ask for what they do.
const REFUSED: [(&str, &str); 12] = [
    ("cpu-shares", "use `cpus` of the app"),
    ("cpus", "use `resourceLimits` of the app"),
    ("entrypoint", "use `cmd` of the app, which replaces the image's entrypoint"),
    ("log-driver", "the engine reads, bounds and keeps what tasks write"),
    ("log-opt", "the engine reads, bounds and keeps what tasks write"),
    ("memory", "use `mem` of the app"),
    ("name", "the engine finds containers by names of its own"),
    ("net", "use `networks` of the app"),
    ("network", "use `networks` of the app"),
    ("publish", "use `container.portMappings` of the app"),
    ("restart", "the engine starts tasks again, with the app's backoff"),
    ("rm", "the engine removes containers when it has kept what they wrote"),
];

fn known() -> String {
    KNOWN.map(|known| known.key).join(", ")
}

impl RunOption {
    /// Reads an option as an app gives it: `key` without dashes.
    pub fn parse(key: &str, value: &str) -> Result<Self, InvalidRunOption> {
        if let Some((key, instead)) = REFUSED.iter().find(|(refused, _)| *refused == key) {
            return Err(InvalidRunOption::Refused { key, instead });
        }
        let known = KNOWN.iter().find(|known| known.key == key);
        let known = known.ok_or_else(|| InvalidRunOption::Unknown { key: key.to_owned() })?;
        (known.read)(value).ok_or(InvalidRunOption::Value { key: known.key, expected: known.expected })
    }

    /// Whether a container with the option of that name is still kept from the machine it runs on.
    pub fn is_confined(key: &str) -> bool {
        KNOWN.iter().any(|known| known.key == key && known.confined)
    }

    /// Sets it in what Docker is asked for.
    pub(super) fn apply(self, body: &mut ContainerCreateBody, network: &str) {
        let mut host = body.host_config.take().unwrap_or_default();
        match self {
            Self::AddHost(entry) => host.extra_hosts.get_or_insert_default().push(entry),
            Self::CapAdd(name) => host.cap_add.get_or_insert_default().push(name),
            Self::CapDrop(name) => host.cap_drop.get_or_insert_default().push(name),
            Self::Device { host: on_host, inside, permissions } => {
                host.devices.get_or_insert_default().push(DeviceMapping {
                    path_on_host: Some(on_host),
                    path_in_container: Some(inside),
                    cgroup_permissions: Some(permissions),
                });
            }
            Self::Dns(address) => host.dns.get_or_insert_default().push(address.to_string()),
            Self::DnsSearch(domain) => host.dns_search.get_or_insert_default().push(domain),
            Self::Env(name, value) => {
                let variables = body.env.get_or_insert_default();
                variables.retain(|variable| variable.split('=').next() != Some(&name));
                variables.push(format!("{name}={value}"));
            }
            Self::Hostname(name) => body.hostname = Some(name),
            Self::Init(on) => host.init = Some(on),
            Self::Ipc(mode) => host.ipc_mode = Some(mode),
            Self::Label(key, value) => {
                body.labels.get_or_insert_default().insert(key, value);
            }
            Self::MemorySwappiness(share) => host.memory_swappiness = Some(share),
            Self::NetworkAlias(name) => add_alias(body, network, name),
            Self::Pid(mode) => host.pid_mode = Some(mode),
            Self::Privileged(on) => host.privileged = Some(on),
            Self::ReadOnly(on) => host.readonly_rootfs = Some(on),
            Self::SecurityOpt(option) => host.security_opt.get_or_insert_default().push(option),
            Self::ShmSize(bytes) => host.shm_size = Some(bytes),
            Self::StopSignal(signal) => body.stop_signal = Some(signal),
            Self::Tmpfs { path, options } => {
                host.tmpfs.get_or_insert_default().insert(path, options);
            }
            Self::Ulimit { name, soft, hard } => {
                let limit = ResourcesUlimits { name: Some(name), soft: Some(soft), hard: Some(hard) };
                host.ulimits.get_or_insert_default().push(limit);
            }
            Self::User(user) => body.user = Some(user),
            Self::Volume(bind) => host.binds.get_or_insert_default().push(bind.to_string()),
            Self::Workdir(path) => body.working_dir = Some(path),
        }
        body.host_config = Some(host);
    }
}

fn add_alias(body: &mut ContainerCreateBody, network: &str, name: String) {
    let networking = body.networking_config.get_or_insert_with(NetworkingConfig::default);
    let endpoints: &mut HashMap<String, EndpointSettings> = networking.endpoints_config.get_or_insert_default();
    endpoints.entry(network.to_owned()).or_default().aliases.get_or_insert_default().push(name);
}

impl std::fmt::Display for Bind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.source, self.target, self.mode)
    }
}

/// The text is no bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no path of the host, path of the container and mode, joined by colons")]
pub struct InvalidBind;

impl std::str::FromStr for Bind {
    type Err = InvalidBind;
    fn from_str(text: &str) -> Result<Self, InvalidBind> {
        let mut parts = text.split(':');
        let (source, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let mode = parts.next().unwrap_or("rw");
        let named = source.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)) && !source.is_empty();
        let fits = (source.starts_with('/') || named) && target.starts_with('/') && parts.next().is_none();
        let known = mode.split(',').all(|part| matches!(part, "ro" | "rw" | "z" | "Z"));
        if !fits || !known {
            return Err(InvalidBind);
        }
        Ok(Self { source: source.to_owned(), target: target.to_owned(), mode: mode.to_owned() })
    }
}

/// Not empty, and nothing in it that would end a word.
fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

fn is_capability(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphabetic() || c == '_')
}

fn flag(text: &str) -> Option<bool> {
    text.parse().ok()
}

fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty())?;
    Some((name.to_owned(), value.to_owned()))
}

fn device(text: &str) -> Option<RunOption> {
    let parts: Vec<&str> = text.split(':').collect();
    let is_mode = |text: &str| !text.is_empty() && text.chars().all(|c| "rwm".contains(c));
    let (host, inside, permissions) = match parts.as_slice() {
        [host] => (*host, *host, "rwm"),
        [host, mode] if is_mode(mode) => (*host, *host, *mode),
        [host, inside] => (*host, *inside, "rwm"),
        [host, inside, mode] if is_mode(mode) => (*host, *inside, *mode),
        _ => return None,
    };
    let fits = host.starts_with('/') && inside.starts_with('/');
    let owned = |text: &str| text.to_owned();
    fits.then(|| RunOption::Device { host: owned(host), inside: owned(inside), permissions: owned(permissions) })
}

/// `name=soft[:hard]`; -1 is no limit.
fn ulimit(text: &str) -> Option<RunOption> {
    const NAMES: [&str; 15] = [
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ];
    let (name, limits) = text.split_once('=').filter(|(name, _)| NAMES.contains(name))?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let (soft, hard) = (soft.parse::<i64>().ok()?, hard.parse::<i64>().ok()?);
    let fits = soft >= -1 && hard >= -1 && (hard == -1 || soft != -1 && soft <= hard);
    fits.then(|| RunOption::Ulimit { name: name.to_owned(), soft, hard })
}

/// A number of bytes, or of what its unit says: `b`, `k`, `m`, `g`.
fn bytes(text: &str) -> Option<i64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" => 10,
        "m" | "mb" => 20,
        "g" | "gb" => 30,
        _ => return None,
    };
    digits.parse::<i64>().ok().filter(|amount| *amount > 0)?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use bollard::models::HostConfig;

    use super::*;

    fn body(options: &[(&str, &str)]) -> (ContainerCreateBody, HostConfig) {
        let mut body = ContainerCreateBody { env: Some(vec!["A=0".into(), "AB=0".into()]), ..Default::default() };
        for (key, value) in options {
            RunOption::parse(key, value).unwrap().apply(&mut body, "net");
        }
        let host = body.host_config.clone().unwrap_or_default();
        (body, host)
    }

    #[test]
    fn each_option_has_its_place_in_what_docker_is_asked_for() {
        let (body, host) = body(&[
            ("add-host", "db:10.0.0.1"),
            ("cap-add", "NET_ADMIN"),
            ("cap-drop", "ALL"),
            ("device", "/dev/fuse:rw"),
            ("dns", "10.0.0.2"),
            ("dns-search", "example.org"),
            ("env", "A=1=2"),
            ("hostname", "box"),
            ("init", "true"),
            ("ipc", "host"),
            ("label", "who=me"),
            ("memory-swappiness", "10"),
            ("network-alias", "web"),
            ("pid", "host"),
            ("privileged", "true"),
            ("read-only", "true"),
            ("security-opt", "no-new-privileges"),
            ("shm-size", "64m"),
            ("stop-signal", "SIGINT"),
            ("tmpfs", "/run:size=1m"),
            ("ulimit", "nofile=100:200"),
            ("user", "1000:1000"),
            ("volume", "/data:/inside:ro"),
            ("workdir", "/tmp"),
        ]);
        assert_eq!(host.extra_hosts.unwrap(), ["db:10.0.0.1"]);
        assert_eq!((host.cap_add.unwrap(), host.cap_drop.unwrap()), (vec!["NET_ADMIN".into()], vec!["ALL".into()]));
        let device = &host.devices.unwrap()[0];
        assert_eq!(device.path_in_container.as_deref(), Some("/dev/fuse"));
        assert_eq!(device.cgroup_permissions.as_deref(), Some("rw"));
        assert_eq!((host.dns.unwrap()[0].as_str(), host.dns_search.unwrap()[0].as_str()), ("10.0.0.2", "example.org"));
        assert_eq!(body.env.unwrap(), ["AB=0", "A=1=2"]);
        assert_eq!(body.hostname.as_deref(), Some("box"));
        assert_eq!((host.init, host.readonly_rootfs, host.privileged), (Some(true), Some(true), Some(true)));
        assert_eq!((host.ipc_mode.as_deref(), host.pid_mode.as_deref()), (Some("host"), Some("host")));
        assert_eq!(body.labels.unwrap()["who"], "me");
        assert_eq!((host.memory_swappiness, host.shm_size), (Some(10), Some(64 << 20)));
        let endpoints = body.networking_config.unwrap().endpoints_config.unwrap();
        assert_eq!(endpoints["net"].aliases.as_deref(), Some(&["web".to_owned()][..]));
        assert_eq!(host.security_opt.unwrap(), ["no-new-privileges"]);
        assert_eq!(body.stop_signal.as_deref(), Some("SIGINT"));
        assert_eq!(host.tmpfs.unwrap()["/run"], "size=1m");
        let limit = &host.ulimits.unwrap()[0];
        assert_eq!((limit.name.as_deref(), limit.soft, limit.hard), (Some("nofile"), Some(100), Some(200)));
        assert_eq!((body.user.as_deref(), body.working_dir.as_deref()), (Some("1000:1000"), Some("/tmp")));
        assert_eq!(host.binds.unwrap(), ["/data:/inside:ro"]);
    }

    #[test]
    fn a_value_that_is_none_is_refused_with_what_it_must_be() {
        for (key, bad) in [
            ("add-host", "db"),
            ("cap-drop", "a b"),
            ("device", "fuse"),
            ("dns", "example.org"),
            ("env", "HOME"),
            ("hostname", ""),
            ("init", "yes"),
            ("ipc", "container:x"),
            ("label", "paas.engine=other"),
            ("label", "MESOS_TASK_ID=other"),
            ("memory-swappiness", "101"),
            ("pid", "container:x"),
            ("shm-size", "64q"),
            ("shm-size", "-1"),
            ("shm-size", "99999999999g"),
            ("stop-signal", "INT"),
            ("tmpfs", "run"),
            ("ulimit", "nofile=3:2"),
            ("ulimit", "files=3"),
            ("user", ""),
            ("volume", "relative/path:/x"),
            ("volume", "/a:b"),
            ("volume", "/a:/b:rw:z"),
            ("volume", "/a:/b:rx"),
            ("workdir", "tmp"),
        ] {
            let refused = RunOption::parse(key, bad).unwrap_err().to_string();
            assert!(refused.starts_with(&format!("`{key}` must be ")), "{key} {bad}: {refused}");
        }
    }

    #[test]
    fn an_unknown_option_is_told_from_one_that_is_the_engines() {
        let unknown = RunOption::parse("userns", "host").unwrap_err().to_string();
        assert!(unknown.contains("`userns`") && unknown.contains("shm-size"), "{unknown}");
        let engines = RunOption::parse("memory", "1g").unwrap_err().to_string();
        assert_eq!(engines, "`memory` is not taken: use `mem` of the app");
    }

    #[test]
    fn what_reaches_the_machine_is_known() {
        for key in
            ["cap-add", "device", "ipc", "network-alias", "pid", "privileged", "security-opt", "volume", "nonsense"]
        {
            assert!(!RunOption::is_confined(key), "{key}");
        }
        assert!(RunOption::is_confined("label") && RunOption::is_confined("user"));
    }
}
