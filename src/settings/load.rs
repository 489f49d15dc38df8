//! From a file and variables to [`Settings`]: reading, overriding, defaults, and what to say about mistakes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use super::draft::{AccountName, Draft, Host, PortRange, Registry, Scalar, Shares, SshServer};
use super::{
    BuildSettings, BuildsSettings, DeploySettings, DockerSettings, EngineSettings, Home, KeepSettings, Limits,
    MarathonSettings, RegistrySettings, Settings, SshSettings,
};
use crate::model::{ByteSize, Period, Secret};

/// The commented example, whose every line shows a default; `paas up` writes it where there is no configuration yet.
pub const EXAMPLE: &str = include_str!("../../config.example.yml");

/// Where root's platform lives, and so the one of the system user too.
const SYSTEM_HOME: &str = "/var/lib/paas";
/// Where another user's lives, below the user's home directory.
const USER_HOME: &str = ".local/share/paas";

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("cannot read {path}", path = .path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("{path}{line}: `{key}` is no setting{nearest}", path = .path.display(), line = at_line(*.line), nearest = did_you_mean(.nearest.as_deref()))]
    UnknownKey { path: PathBuf, line: Option<usize>, key: String, nearest: Option<String> },
    #[error("{path}{line}: {reason}", path = .path.display(), line = at_line(*.line))]
    BadFile { path: PathBuf, line: Option<usize>, reason: String },
    #[error("the variable `{name}` is set to something it cannot be: {reason}")]
    BadVariable { name: String, reason: String },
    #[error("{0:?} cannot be the platform's home: it must be an absolute path of letters, digits and any of `/._+@-`")]
    BadHome(PathBuf),
    #[error("the root Marathon's credentials cannot be read from {path}", path = .path.display())]
    NoRootCredentials {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("no place for the platform's home is known, as HOME is not set; give `--home DIR` or set PAAS_HOME")]
    NoHome,
}

fn at_line(line: Option<usize>) -> String {
    line.map(|line| format!(":{line}")).unwrap_or_default()
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// What overrides the file: variables and flags. `paas up` keeps it beside the configuration, so that what it was
/// started with also holds for the commands and hooks that follow.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides(Draft);

impl Overrides {
    /// Reads the `PAAS_*` variables that name settings; all others are left alone.
    pub fn from_vars(vars: impl IntoIterator<Item = (String, String)>) -> Result<Self, SettingsError> {
        let places: Vec<_> = Draft::places().into_iter().map(|place| (place.variable(), place)).collect();
        let mut all = Draft::default();
        for (name, value) in vars {
            // An empty variable is an unset one, as everywhere.
            let Some((_, place)) = places.iter().find(|(variable, _)| *variable == name && !value.is_empty()) else {
                continue;
            };
            let one = place.draft(&value).map_err(|error| SettingsError::BadVariable { name, reason: bare(&error) })?;
            all = one.over(all);
        }
        Ok(Self(all))
    }

    #[must_use]
    pub fn user(mut self, user: Option<AccountName>) -> Self {
        self.0.user = user.map(Scalar).or(self.0.user);
        self
    }
    #[must_use]
    pub fn ssh_port(mut self, port: Option<u16>) -> Self {
        self.0.ssh.port = port.map(Scalar).or(self.0.ssh.port);
        self
    }
    #[must_use]
    pub fn engine_port(mut self, port: Option<u16>) -> Self {
        self.0.engine.port = port.map(Scalar).or(self.0.engine.port);
        self
    }

    /// What `paas install` sets: people come in by the host's sshd, which listens at `address`.
    #[must_use]
    pub fn host_sshd(mut self, address: SocketAddr, config: PathBuf) -> Self {
        let ssh = &mut self.0.ssh;
        ssh.server = Some(Scalar(SshServer::Host));
        (ssh.listen, ssh.port) = (Some(Scalar(address.ip())), Some(Scalar(address.port())));
        ssh.config = Some(Scalar(config));
        self
    }

    /// As a file of settings below `heading`, a comment.
    pub fn to_yaml_below(&self, heading: &str) -> String {
        format!("{heading}\n{}", serde_yaml::to_string(&self.0).expect("a draft is plain maps and scalars"))
    }

    /// As a file of settings, to be kept at [`Home::started_with`].
    pub fn to_yaml(&self) -> String {
        self.to_yaml_below(
            "# What the last `paas up` was told by flags and variables; it writes this anew at each start.",
        )
    }
}

impl Settings {
    /// The settings that commands and hooks work by: the file, what the last `paas up` was started with, and above
    /// both the variables. `home` is the one that was named; without it the default for this user.
    pub fn load(home: Option<PathBuf>, vars: impl Iterator<Item = (String, String)>) -> Result<Self, SettingsError> {
        let vars: Vec<_> = vars.collect();
        let home = home_of(home, &vars)?;
        let started_with = read(&home.started_with())?;
        let overrides = Overrides::from_vars(vars)?;
        Ok(overrides.0.over(started_with).over(configured(&home)?).complete(home))
    }

    /// `user:password` of the root Marathon: as set, else the root engine's own.
    pub fn root_credentials(&self) -> Result<Secret, SettingsError> {
        if let Some(set) = &self.marathon.credentials {
            return Ok(set.clone());
        }
        let path = self.home.root_credentials();
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Secret::new(text.trim())),
            Err(cause) => Err(SettingsError::NoRootCredentials { path, cause }),
        }
    }

    /// The settings a platform starts with: the file, and above it what `overrides` says.
    pub fn to_start_with(home: Home, overrides: &Overrides) -> Result<Self, SettingsError> {
        Ok(overrides.0.clone().over(configured(&home)?).complete(home))
    }
}

impl Home {
    /// The home that was named, else the default of this user.
    pub fn locate(
        named: Option<PathBuf>,
        vars: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        home_of(named, &vars.into_iter().collect::<Vec<_>>())
    }
}

fn home_of(named: Option<PathBuf>, vars: &[(String, String)]) -> Result<Home, SettingsError> {
    let var = |name: &str| vars.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| PathBuf::from(v));
    let path = match named.or_else(|| var("PAAS_HOME")) {
        Some(path) => std::path::absolute(&path).map_err(|_| SettingsError::BadHome(path))?,
        None if rustix::process::geteuid().is_root() || serves_system_home() => PathBuf::from(SYSTEM_HOME),
        None => var("HOME").ok_or(SettingsError::NoHome)?.join(USER_HOME),
    };
    // It stands in sshd's configuration and in git's, each of which has its own idea of special characters.
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._+@-".contains(c);
    let text = path.to_str().filter(|text| text.chars().all(plain));
    let normal = path.components().all(|part| !matches!(part, std::path::Component::ParentDir));
    if text.is_some() && normal { Ok(Home::new(path)) } else { Err(SettingsError::BadHome(path)) }
}

/// True for the system user of root's platform: the one to whom its store belongs.
fn serves_system_home() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let store = Home::new(SYSTEM_HOME).store();
    std::fs::metadata(store).is_ok_and(|found| found.uid() == rustix::process::geteuid().as_raw())
}

/// What the operator wrote, and below it what `paas install` found out.
fn configured(home: &Home) -> Result<Draft, SettingsError> {
    Ok(read(&home.config())?.over(read(&home.installed())?))
}

/// A file that is not there sets nothing.
fn read(path: &Path) -> Result<Draft, SettingsError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Draft::read(&text).map_err(|error| mistake(path, &error)),
        Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => Ok(Draft::default()),
        Err(cause) => Err(SettingsError::Unreadable { path: path.to_owned(), cause }),
    }
}

/// Words a mistake in a file. The parser's own text is taken apart, as it has no other way to name an unknown key.
fn mistake(path: &Path, error: &serde_yaml::Error) -> SettingsError {
    let (path, line) = (path.to_owned(), error.location().map(|place| place.line()));
    let reason = bare(error);
    let quoted: Vec<&str> = reason.split('`').skip(1).step_by(2).collect();
    match (reason.contains("unknown field `"), quoted.split_first()) {
        (true, Some((key, known))) => SettingsError::UnknownKey {
            path,
            line,
            key: (*key).to_owned(),
            nearest: nearest(key, known).map(ToOwned::to_owned),
        },
        _ => SettingsError::BadFile { path, line, reason },
    }
}

/// The parser's text without ` at line …`, which is said before it.
fn bare(error: &serde_yaml::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

/// The known key that `key` was probably meant to be: at least three letters in five alike.
fn nearest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    let likeness = |name: &&'a str| strsim::normalized_damerau_levenshtein(key, name);
    let best = known.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(&best) >= 0.6).then_some(best)
}

impl Draft {
    /// Fills in the defaults.
    fn complete(self, home: Home) -> Settings {
        let ssh = self.ssh;
        let ssh_listen = or(ssh.listen, IpAddr::V4(Ipv4Addr::LOCALHOST));
        let engine = EngineSettings {
            listen: or(self.engine.listen, IpAddr::V4(Ipv4Addr::LOCALHOST)),
            port: or(self.engine.port, 8080),
            address: or(self.engine.address, IpAddr::V4(Ipv4Addr::LOCALHOST)),
            ports: or(self.engine.ports, PortRange(31000..=32999)).0,
        };
        let root_url = format!("http://{}", std::net::SocketAddr::new(reached_at(engine.listen), engine.port));
        let credentials = self.registry_credentials.map(|s| s.0);
        Settings {
            home,
            user: or(self.user, AccountName("paas".to_owned())).0,
            docker: DockerSettings { socket: or(self.docker.socket, PathBuf::from("/var/run/docker.sock")) },
            ssh: SshSettings {
                server: or(ssh.server, SshServer::Own),
                config: or(ssh.config, PathBuf::from("/etc/ssh/sshd_config")),
                listen: ssh_listen,
                port: or(ssh.port, 2222),
                host: ssh.host.map_or_else(|| host_name(ssh_listen), |Scalar(Host(name))| name),
                newcomers: or(ssh.newcomers, true),
            },
            engine,
            marathon: MarathonSettings {
                url: or(self.marathon.url, root_url),
                credentials: self.marathon.credentials.map(|s| s.0),
            },
            registry: self.registry.map(|Scalar(Registry(host))| RegistrySettings { host, credentials }),
            build: build(self.build),
            builds: BuildsSettings { parallel: self.builds.parallel.map_or_else(cpus, |s| s.0) },
            limits: Limits {
                pack: or(self.limits.pack, ByteSize::mib(6 << 10)),
                files: or(self.limits.files, 200_000),
                unpacked: or(self.limits.unpacked, ByteSize::mib(8 << 10)),
                free: or(self.limits.free, ByteSize::mib(1 << 10)),
            },
            deploy: DeploySettings {
                deadline: or(self.deploy.deadline, Period::from_secs(5 * 60)),
                settle: or(self.deploy.settle, Period::from_secs(1)),
                retries: or(self.deploy.retries, 2),
                patience: or(self.deploy.patience, Period::from_secs(3600)),
            },
            keep: KeepSettings {
                slugs: or(self.keep.slugs, 5),
                builds: or(self.keep.builds, 50),
                build_age: or(self.keep.build_age, Period::from_secs(90 * 24 * 3600)),
                every: or(self.keep.every, Period::from_secs(3600)),
            },
        }
    }
}

fn build(draft: super::draft::Build) -> BuildSettings {
    BuildSettings {
        image: or(draft.image, "paas/stack:12".to_owned()),
        ca_bundle: draft.ca_bundle.map(|s| s.0),
        timeout: or(draft.timeout, Period::from_secs(15 * 60)),
        memory: or(draft.memory, ByteSize::mib(2 << 10)),
        cpus: draft.cpus.map(|Scalar(Shares(shares))| shares),
        processes: or(draft.processes, 1024),
        disk: or(draft.disk, ByteSize::mib(10 << 10)),
        submodule_hosts: draft.submodule_hosts.map(|list| list.0).unwrap_or_default(),
    }
}

/// How many CPUs this machine has for us; one, if it does not say.
fn cpus() -> NonZeroU32 {
    let known = std::thread::available_parallelism().ok();
    known.and_then(|cpus| NonZeroU32::try_from(cpus).ok()).unwrap_or(NonZeroU32::MIN)
}

/// Where this machine itself reaches what listens at an address: what listens everywhere is on loopback too.
fn reached_at(listen: IpAddr) -> IpAddr {
    match listen {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    }
}

/// How others are told to reach what listens at an address: by the address, or by this machine's name if it is every one.
fn host_name(listen: IpAddr) -> String {
    let name = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?.trim().parse::<Host>().ok();
    let name = if listen.is_unspecified() { name() } else { None };
    name.map_or_else(|| listen.to_string(), |Host(name)| name)
}

fn or<T>(set: Option<Scalar<T>>, default: T) -> T {
    set.map_or(default, |scalar| scalar.0)
}

#[cfg(test)]
mod tests {
    use super::super::draft::Place;
    use super::*;

    /// A home with these files.
    fn home(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        directory
    }

    fn load(directory: &tempfile::TempDir, vars: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::load(Some(directory.path().to_owned()), vars)
    }

    fn message(config: &str) -> String {
        let directory = home(&[("config.yml", config)]);
        let text = load(&directory, &[]).unwrap_err().to_string();
        text.replace(&format!("{}/", directory.path().display()), "")
    }

    #[test]
    fn without_a_file_everything_is_the_default() {
        let settings = load(&home(&[]), &[]).unwrap();
        assert_eq!(
            (settings.user.as_str(), settings.ssh.port, settings.ssh.host.as_str()),
            ("paas", 2222, "127.0.0.1")
        );
        assert_eq!(settings.marathon.url, "http://127.0.0.1:8080");
        assert_eq!(settings.registry, None);
    }

    #[test]
    fn what_the_installation_found_is_overridden_by_what_the_operator_wrote() {
        let found = Overrides::default().host_sshd("0.0.0.0:22".parse().unwrap(), "/etc/ssh/sshd_config".into());
        let found = found.to_yaml_below("# found");
        let directory = home(&[("installed.yml", &found), ("config.yml", "ssh: {host: paas.example.org}\n")]);
        let ssh = load(&directory, &[]).unwrap().ssh;
        assert_eq!((ssh.server, ssh.port, ssh.host.as_str()), (SshServer::Host, 22, "paas.example.org"));
        assert_eq!(load(&directory, &[("PAAS_SSH_SERVER", "own")]).unwrap().ssh.server, SshServer::Own);
        std::fs::write(directory.path().join("config.yml"), "ssh: {server: theirs}\n").unwrap();
        assert!(load(&directory, &[]).unwrap_err().to_string().contains("`host`, the sshd that `paas install` set up"));
    }

    #[test]
    fn the_example_sets_nothing_and_shows_every_default() {
        let defaults = load(&home(&[]), &[]).unwrap();
        let settings = EXAMPLE.lines().filter(|line| !line.trim_start().starts_with("# "));
        let shown = settings.map(|line| line.replacen('#', "", 1)).collect::<Vec<_>>().join("\n");
        for (what, text) in [("as shipped", EXAMPLE), ("uncommented", shown.as_str())] {
            let directory = home(&[("config.yml", text)]);
            let settings = load(&directory, &[]).unwrap_or_else(|error| panic!("{what}: {error}\n{text}"));
            assert_eq!(Settings { home: defaults.home.clone(), ..settings }, defaults, "{what}");
        }
        for place in Draft::places() {
            assert!(EXAMPLE.contains(&format!("#{}:", place.key())), "{} is not in the example", place.variable());
        }
    }

    #[test]
    fn a_variable_overrides_the_file_and_the_file_the_default() {
        let directory = home(&[("config.yml", "ssh: {port: 2201, host: paas.example.org}\nengine:\n  port: 8081\n")]);
        let settings = load(&directory, &[("PAAS_SSH_PORT", "2202"), ("PAAS_BUILD_CPUS", "1.5")]).unwrap();
        assert_eq!((settings.ssh.port, settings.engine.port), (2202, 8081));
        assert_eq!(settings.ssh.host, "paas.example.org");
        assert_eq!(settings.build.cpus, Some(1.5));
        assert_eq!(settings.marathon.url, "http://127.0.0.1:8081", "the root Marathon follows its engine");
    }

    #[test]
    fn as_many_builds_run_at_once_as_there_are_cpus_unless_it_is_set_and_never_none() {
        let parallel = |vars: &[(&str, &str)]| load(&home(&[]), vars).map(|settings| settings.builds.parallel.get());
        let cpus = std::thread::available_parallelism().unwrap().get();
        assert_eq!(parallel(&[]).unwrap() as usize, cpus);
        assert_eq!(parallel(&[("PAAS_BUILDS_PARALLEL", "7")]).unwrap(), 7);
        let none = parallel(&[("PAAS_BUILDS_PARALLEL", "0")]).unwrap_err().to_string();
        assert!(none.contains("`PAAS_BUILDS_PARALLEL`"), "{none}");
    }

    #[test]
    fn hosts_of_submodules_are_a_list_or_one_text() {
        let hosts = |config: &str, vars: &[(&str, &str)]| {
            let settings = load(&home(&[("config.yml", config)]), vars).unwrap();
            settings.build.submodule_hosts.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let file = "build: {submodule_hosts: [git.example.org, '10.0.0.1:8443']}\n";
        assert_eq!(hosts(file, &[]), ["git.example.org", "10.0.0.1:8443"]);
        assert_eq!(hosts(file, &[("PAAS_BUILD_SUBMODULE_HOSTS", "a.example, b.example:81 c.example")]).len(), 3);
        assert_eq!(hosts("build: {submodule_hosts: git.example.org}\n", &[]), ["git.example.org"]);
        assert_eq!(hosts("", &[]), [""; 0]);
        let refused = message("build: {submodule_hosts: [https://git.example.org]}\n");
        assert!(refused.contains("`https://git.example.org`: a host is a name"), "{refused}");
        let directory = home(&[]);
        let overrides =
            Overrides::from_vars([("PAAS_BUILD_SUBMODULE_HOSTS".to_owned(), "a.example".to_owned())]).unwrap();
        std::fs::write(Home::new(directory.path()).started_with(), overrides.to_yaml()).unwrap();
        assert_eq!(load(&directory, &[]).unwrap().build.submodule_hosts, ["a.example".parse().unwrap()]);
    }

    #[test]
    fn what_listens_everywhere_is_reached_by_the_machines_name_and_on_loopback() {
        let settings = load(&home(&[]), &[("PAAS_SSH_LISTEN", "0.0.0.0"), ("PAAS_ENGINE_LISTEN", "::")]).unwrap();
        assert_eq!(settings.marathon.url, "http://[::1]:8080");
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert!(settings.ssh.host == name.trim() || settings.ssh.host == "0.0.0.0", "{}", settings.ssh.host);
    }

    #[test]
    fn what_the_platform_was_started_with_holds_for_the_commands_after_it() {
        let directory = home(&[("config.yml", "ssh: {port: 2201}\n")]);
        let vars = [("PAAS_BUILD_CA_BUNDLE".to_owned(), "/etc/ca.pem".to_owned())];
        let overrides = Overrides::from_vars(vars).unwrap().ssh_port(Some(2301)).user(Some("git".parse().unwrap()));
        let home = Home::new(directory.path());
        std::fs::write(home.started_with(), overrides.to_yaml()).unwrap();
        let settings = load(&directory, &[]).unwrap();
        assert_eq!((settings.ssh.port, settings.user.as_str()), (2301, "git"));
        assert_eq!(settings.build.ca_bundle.as_deref(), Some(Path::new("/etc/ca.pem")));
        let anew = Settings::to_start_with(home, &Overrides::default()).unwrap();
        assert_eq!(anew.ssh.port, 2201, "the next start forgets the flags of the last");
    }

    #[test]
    fn every_setting_has_a_variable_of_its_own() {
        let names: Vec<String> = Draft::places().iter().map(Place::variable).collect();
        for name in ["PAAS_DOCKER_SOCKET", "PAAS_REGISTRY", "PAAS_BUILD_CA_BUNDLE", "PAAS_ENGINE_PORT", "PAAS_USER"] {
            assert!(names.iter().any(|n| n == name), "{name}");
        }
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
    }

    #[test]
    fn a_bad_variable_is_named() {
        let error = load(&home(&[]), &[("PAAS_SSH_PORT", "22222222")]).unwrap_err().to_string();
        assert!(error.contains("`PAAS_SSH_PORT`") && error.contains("`22222222`"), "{error}");
        assert!(load(&home(&[]), &[("PAAS_SSH_PORT", "")]).is_ok(), "an empty variable is an unset one");
        let settings = load(&home(&[]), &[("PAAS_MARATHON_CREDENTIALS", "123"), ("PAAS_USER", "true")]).unwrap();
        assert_eq!(settings.marathon.credentials.unwrap().reveal(), "123");
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_nearest_known_one() {
        assert_eq!(
            message("user: paas\nssh:\n  prot: 2222\n"),
            "config.yml:3: `prot` is no setting; did you mean `port`?"
        );
        assert_eq!(message("\nqwertz: 1\n"), "config.yml:2: `qwertz` is no setting");
    }

    #[test]
    fn a_bad_value_is_refused_with_its_line_and_key() {
        let text = message("user: paas\nssh:\n  port: many\n");
        assert!(text.starts_with("config.yml:3: ssh.port: `many`"), "{text}");
        assert!(message("engine: {ports: 9-3}\n").contains("the smaller one first"));
        assert!(message("user: Root User\n").contains("an account's name"));
        assert!(message("build: [1]\n").starts_with("config.yml:1: build"));
        assert!(message("ssh: {port: 1\n").starts_with("config.yml:"));
    }

    #[test]
    fn a_registry_may_be_written_as_a_url() {
        let settings = load(&home(&[("config.yml", "registry: http://127.0.0.1:5000/\n")]), &[]).unwrap();
        assert_eq!(settings.registry.unwrap().host, "127.0.0.1:5000");
        assert!(message("registry: http://user:secret@host\n").contains("registry_credentials"));
    }

    #[test]
    fn a_home_that_configurations_could_misread_is_refused() {
        for bad in ["/srv/my home", "/srv/%h", "/srv/../etc", "/srv/a\"b", "/srv/a\nb"] {
            let refused = Settings::load(Some(bad.into()), std::iter::empty());
            assert!(matches!(refused, Err(SettingsError::BadHome(_))), "{bad:?}");
        }
    }
}
