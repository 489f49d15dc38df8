//! Where a command runs: on this machine, or on a receive host.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use git2::Repository;
use serde::Deserialize;

use super::ssh_host::{AppRemote, SshHost};
use crate::settings::Settings;
use crate::store::SqliteStore;
use crate::ui::{Exit, Failure};

/// The beginning of the names of git remotes that lead to tenants.
const REMOTE_PREFIX: &str = "paas-";

/// A configuration is a few lines.
const MAX_CONFIG_BYTES: usize = 64 << 10;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Destination {
    Here,
    Host(SshHost),
}

impl Destination {
    pub(super) fn host(self) -> Option<SshHost> {
        match self {
            Self::Here => None,
            Self::Host(host) => Some(host),
        }
    }
}

/// What says where a command runs, the first that says anything counting.
#[derive(Debug)]
pub(super) struct Signs<'a> {
    /// `--home` or `PAAS_HOME`: a platform of this machine.
    pub(super) home: Option<&'a Path>,
    /// `--host` or `PAAS_HOST`.
    pub(super) host: Option<&'a SshHost>,
    /// The git remotes of the work tree.
    pub(super) remotes: &'a [AppRemote],
    /// The user's own configuration.
    pub(super) config: Option<SshHost>,
}

impl Signs<'_> {
    /// `is_ours` knows hosts that are this machine under another name.
    pub(super) fn read(self, is_ours: impl Fn(&SshHost) -> bool) -> anyhow::Result<Destination> {
        if let Some(host) = self.host {
            return Ok(Destination::Host(host.clone()));
        }
        if self.home.is_some() {
            return Ok(Destination::Here);
        }
        let hosts: BTreeSet<&SshHost> = self.remotes.iter().map(|remote| &remote.host).collect();
        let found = match hosts.into_iter().collect::<Vec<_>>()[..] {
            [] => self.config,
            [host] => Some(host.clone()),
            ref several => {
                let names: Vec<_> = several.iter().map(ToString::to_string).collect();
                let what = format!("which host? The git remotes here lead to {}: {}", names.len(), names.join(", "));
                return Err(Failure::new(Exit::Usage, what).advise("name one: `--host HOST`").into());
            }
        };
        Ok(found.filter(|host| !is_ours(host)).map_or(Destination::Here, Destination::Host))
    }
}

/// The remotes `paas-*` of the git work tree that we are in; none outside of one.
pub(super) fn remotes_here() -> Vec<AppRemote> {
    let Ok(repository) = Repository::discover(".") else { return Vec::new() };
    let Ok(config) = repository.config() else { return Vec::new() };
    let Ok(names) = repository.remotes() else { return Vec::new() };
    let names = names.iter().flatten().flatten().filter(|name| name.starts_with(REMOTE_PREFIX));
    // From the configuration, and not with the user's own replacements (`insteadOf`) in it.
    names.filter_map(|name| AppRemote::read(&config.get_string(&format!("remote.{name}.url")).ok()?)).collect()
}

/// `~/.config/paas/config.yml`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserConfig {
    host: Option<String>,
}

/// The host that the user's own configuration names, if it does.
pub(super) fn configured(vars: &[(String, String)]) -> anyhow::Result<Option<SshHost>> {
    let var =
        |name: &str| vars.iter().find(|(found, value)| found == name && !value.is_empty()).map(|(_, value)| value);
    let base = var("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| Some(PathBuf::from(var("HOME")?).join(".config")));
    let Some(path) = base.map(|base| base.join("paas/config.yml")) else { return Ok(None) };
    let text = match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| format!("{} cannot be read", path.display()))?,
    };
    let wrong = |cause: anyhow::Error| {
        Failure::new(Exit::Usage, format_args!("{} is not right", path.display()))
            .because(AsError(cause))
            .advise("it may say `host: [USER@]HOST[:PORT]`, and nothing else")
    };
    if text.len() > MAX_CONFIG_BYTES {
        return Err(wrong(anyhow::anyhow!("it is longer than {MAX_CONFIG_BYTES} bytes")).into());
    }
    let read: Option<UserConfig> = serde_yaml::from_slice(&text).map_err(|cause| wrong(cause.into()))?;
    let host = read.unwrap_or_default().host.map(|host| host.parse()).transpose();
    Ok(host.map_err(|cause: super::ssh_host::InvalidHost| wrong(cause.into()))?)
}

/// An error of any kind as the cause of a failure.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
struct AsError(anyhow::Error);

/// The platform of this machine, when that is who serves there and its store is ours to open.
pub(super) fn is_this_machine(host: &SshHost, settings: &Settings) -> bool {
    let own = SshHost::of_settings(settings);
    host.is_same_place(&own) && SqliteStore::is_in(&settings.home.store())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> SshHost {
        text.parse().unwrap()
    }
    fn remote(url: &str) -> AppRemote {
        AppRemote::read(url).unwrap()
    }

    #[test]
    fn the_first_sign_that_says_anything_counts() {
        let (here, flag) = (PathBuf::from("/srv/paas"), host("flag"));
        let remotes = [remote("ssh://paas@tree/dev/shop"), remote("ssh://paas@tree/prod/shop")];
        let read = |signs: Signs| signs.read(|host| host.to_string() == "paas@ours").unwrap();
        let all = || Signs { home: Some(&here), host: Some(&flag), remotes: &remotes, config: Some(host("config")) };
        assert_eq!(read(all()), Destination::Host(host("flag")));
        assert_eq!(read(Signs { host: None, ..all() }), Destination::Here);
        assert_eq!(read(Signs { host: None, home: None, ..all() }), Destination::Host(host("tree")));
        let config = || Signs { host: None, home: None, remotes: &[], ..all() };
        assert_eq!(read(config()), Destination::Host(host("config")));
        assert_eq!(read(Signs { config: None, ..config() }), Destination::Here);
        assert_eq!(read(Signs { config: Some(host("ours")), ..config() }), Destination::Here);
    }

    #[test]
    fn remotes_that_lead_to_two_hosts_are_an_error_that_names_both() {
        let remotes = [remote("ssh://paas@one/dev/shop"), remote("ssh://paas@two:22/prod/shop")];
        let signs = Signs { home: None, host: None, remotes: &remotes, config: None };
        let error = signs.read(|_| false).unwrap_err().to_string();
        assert!(error.contains("paas@one, paas@two:22"), "{error}");
    }

    #[test]
    fn the_users_configuration_names_a_host_or_is_said_to_be_wrong() {
        let home = tempfile::tempdir().unwrap();
        let vars = [("HOME".to_owned(), home.path().display().to_string())];
        assert_eq!(configured(&vars).unwrap(), None);
        let path = home.path().join(".config/paas/config.yml");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        for (text, expected) in
            [("host: example.org:2222\n", Some("paas@example.org:2222")), ("", None), ("# none\n", None)]
        {
            std::fs::write(&path, text).unwrap();
            assert_eq!(configured(&vars).unwrap().map(|host| host.to_string()).as_deref(), expected, "{text}");
        }
        for text in ["hots: x", "host: '-x'", "host: [1]", "\u{1}"] {
            std::fs::write(&path, text).unwrap();
            let error = configured(&vars).unwrap_err().to_string();
            assert!(error.contains("is not right"), "{text}: {error}");
        }
    }
}
