//! Which tenant and which app a command is about, where the remotes of the git work tree say it.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::ssh_host::{AppRemote, SshHost};
use crate::model::{AppName, TenantName};
use crate::ui::{Exit, Failure};

/// The tenant of a command that need not name it.
#[derive(Debug, clap::Args)]
pub(super) struct OfTenant {
    /// [default: where the git remote of the work tree leads]
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) tenant: Option<TenantName>,
}

/// The app of a command that need not name it.
#[derive(Debug, clap::Args)]
pub(super) struct OfApp {
    /// [default: where the git remote of the work tree leads]
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) app: Option<AppName>,
}

/// How a name is said on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// Alone, such as in `paas tenant show dev`.
    Argument,
    /// As an option, such as `--tenant dev`.
    Flag,
}

/// What of a command may be filled in.
#[derive(Debug, Default)]
pub(super) struct Subject<'a> {
    tenant: Option<(&'a mut Option<TenantName>, Spelling)>,
    app: Option<&'a mut Option<AppName>>,
}

impl<'a> Subject<'a> {
    pub(super) fn tenant(slot: &'a mut Option<TenantName>, spelling: Spelling) -> Self {
        Self { tenant: Some((slot, spelling)), app: None }
    }
    pub(super) fn of(tenant: &'a mut OfTenant) -> Self {
        Self::tenant(&mut tenant.tenant, Spelling::Flag)
    }
    pub(super) fn app(self, app: &'a mut OfApp) -> Self {
        Self { app: Some(&mut app.app), ..self }
    }

    /// Fills in what was not named from the remotes that lead to the host (none: to this machine), and gives the words
    /// that say it. With several to choose from, somebody has to.
    pub(super) fn fill(self, remotes: &[AppRemote], host: Option<&SshHost>) -> anyhow::Result<Vec<String>> {
        let of_host: Vec<_> =
            remotes.iter().filter(|remote| host.is_none_or(|host| remote.host.is_same_place(host))).collect();
        let (mut words, mut tenant) = (Vec::new(), None);
        if let Some((slot, spelling)) = self.tenant {
            if slot.is_none() {
                *slot = only("tenant", of_host.iter().map(|remote| &remote.tenant))?;
                let flag = (spelling == Spelling::Flag).then(|| "--tenant".to_owned());
                words.extend(slot.iter().flat_map(|name| flag.iter().cloned().chain([name.to_string()])));
            }
            tenant = slot.as_ref();
        }
        if let Some(slot @ None) = self.app {
            let in_tenant: Vec<_> =
                of_host.iter().filter(|remote| Some(&remote.tenant) == tenant).map(|remote| &remote.app).collect();
            // An app is called alike in all tenants, as a rule.
            let all = of_host.iter().map(|remote| &remote.app).collect();
            *slot = only("app", if in_tenant.is_empty() { all } else { in_tenant })?;
            words.extend(slot.iter().flat_map(|name| ["--app".to_owned(), name.to_string()]));
        }
        Ok(words)
    }
}

/// The one name that there is; none when there are none.
fn only<'a, T: Ord + Clone + Display + 'a>(
    what: &str,
    names: impl IntoIterator<Item = &'a T>,
) -> anyhow::Result<Option<T>> {
    match names.into_iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()[..] {
        [] => Ok(None),
        [name] => Ok(Some(name.clone())),
        ref several => {
            let names: Vec<_> = several.iter().map(ToString::to_string).collect();
            let problem = format!("which {what}? The git remotes here lead to {}: {}", names.len(), names.join(", "));
            Err(Failure::new(Exit::Usage, problem).advise(format_args!("name one: `{}`", flag(what))).into())
        }
    }
}

pub(super) fn no_tenant_named() -> Failure {
    none_named("tenant")
}
pub(super) fn no_app_named() -> Failure {
    none_named("app")
}

fn none_named(what: &str) -> Failure {
    Failure::new(Exit::Usage, format_args!("which {what}? None is named, and no git remote here leads to one"))
        .advise(format_args!("name it: `{}`", flag(what)))
}

fn flag(what: &str) -> String {
    format!("--{what} NAME")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remotes(paths: &[&str]) -> Vec<AppRemote> {
        paths.iter().map(|path| AppRemote::read(&format!("ssh://paas@{path}")).unwrap()).collect()
    }

    fn filled(paths: &[&str], tenant: Option<&str>, host: Option<&str>) -> Result<String, String> {
        let mut tenant = OfTenant { tenant: tenant.map(|name| name.parse().unwrap()) };
        let mut app = OfApp { app: None };
        let host = host.map(|host| host.parse().unwrap());
        let words = Subject::of(&mut tenant).app(&mut app).fill(&remotes(paths), host.as_ref());
        words.map(|words| words.join(" ")).map_err(|error| error.to_string())
    }

    #[test]
    fn what_all_remotes_agree_on_goes_without_saying() {
        assert_eq!(filled(&[], None, None).unwrap(), "");
        assert_eq!(filled(&["h/dev/shop"], None, None).unwrap(), "--tenant dev --app shop");
        assert_eq!(filled(&["h/dev/shop", "other/prod/wiki"], None, Some("h")).unwrap(), "--tenant dev --app shop");
        assert_eq!(filled(&["h/dev/shop", "h/prod/wiki"], Some("prod"), None).unwrap(), "--app wiki");
        assert_eq!(filled(&["h/dev/shop"], Some("prod"), None).unwrap(), "--app shop");
    }

    #[test]
    fn with_several_to_choose_from_they_are_listed() {
        let error = filled(&["h/dev/shop", "h/prod/shop"], None, None).unwrap_err();
        assert!(error.contains("which tenant?") && error.contains("dev, prod"), "{error}");
        let error = filled(&["h/dev/shop", "h/dev/wiki"], None, None).unwrap_err();
        assert!(error.contains("which app?") && error.contains("shop, wiki"), "{error}");
    }

    #[test]
    fn a_name_that_stands_alone_is_filled_in_alone() {
        let mut slot = None;
        let words = Subject::tenant(&mut slot, Spelling::Argument).fill(&remotes(&["h/dev/shop"]), None).unwrap();
        assert_eq!((words.join(" ").as_str(), slot.unwrap().as_str()), ("dev", "dev"));
    }
}
