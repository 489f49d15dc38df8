//! `paas init`: makes a git work tree ready to be pushed.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use git2::{ErrorCode, Repository};
use serde::Serialize;

use super::remote;
use super::ssh_host::SshHost;
use crate::manifest::{MANIFEST_FILE, MAX_BYTES, Manifest};
use crate::model::{AppName, MAX_NAME_BYTES, TenantName};
use crate::platform;
use crate::settings::Settings;
use crate::ui::{Answer, Exit, Failure, Table, Ui};

/// A `paas.yml` in which nothing but the app's name counts.
const TEMPLATE: &str = include_str!("paas.yml.template");

/// Write a commented paas.yml and add the git remotes to push to
#[derive(Debug, clap::Args)]
pub(super) struct Init {
    /// The app's name [default: what paas.yml says, else made of the directory's name]
    #[arg(long, value_name = "NAME")]
    app: Option<AppName>,
    /// A tenant to push to, by the remote `paas-NAME`; may be given several times
    #[arg(long = "tenant", value_name = "NAME", default_value = "dev")]
    tenants: Vec<TenantName>,
}

/// What the work tree is like now.
#[derive(Debug, Serialize)]
struct Ready {
    app: AppName,
    /// The path of `paas.yml`.
    manifest: PathBuf,
    /// It was there before and is as it was.
    manifest_kept: bool,
    remotes: Vec<Remote>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Remote {
    name: String,
    url: String,
    /// It was there before.
    kept: bool,
}

impl Answer for Ready {
    fn text(&self) -> String {
        let mut table = Table::headed(["REMOTE", "URL"]);
        for remote in &self.remotes {
            table.row([remote.name.as_str(), &remote.url]);
        }
        table.to_string()
    }
}

impl Init {
    /// `host` is the receive host when that is another machine.
    pub(super) async fn run(self, settings: &Settings, host: Option<SshHost>, ui: &mut Ui) -> anyhow::Result<()> {
        let user = platform::account_name(settings).await;
        let tree = WorkTree::here()?;
        let manifest = tree.manifest()?;
        let app = app(self.app, manifest.as_ref(), &tree.root, ui)?;
        // All that could be in the way is looked at before anything is changed.
        let mut remotes: Vec<Remote> = Vec::new();
        for tenant in &self.tenants {
            let url = match &host {
                Some(host) => host.url(tenant, app.as_str()),
                None => remote::url(&settings.ssh, &user, tenant, app.as_str()),
            };
            let planned = tree.remote(remote::name(tenant), url)?;
            if !remotes.contains(&planned) {
                remotes.push(planned);
            }
        }
        let ready = Ready { app, manifest: tree.root.join(MANIFEST_FILE), manifest_kept: manifest.is_some(), remotes };
        tree.make(&ready)?;
        ready.tell(ui)?;
        ui.answer(&ready)
    }
}

impl Ready {
    fn tell(&self, ui: &mut Ui) -> anyhow::Result<()> {
        if self.manifest_kept {
            ui.note(format_args!("{MANIFEST_FILE} is there already and stays as it is"))?;
        } else {
            ui.note(format_args!("wrote {MANIFEST_FILE} for the app `{}`", self.app))?;
        }
        for Remote { name, kept, .. } in &self.remotes {
            let what = if *kept { "is there already" } else { "was added" };
            ui.note(format_args!("the remote `{name}` {what}"))?;
        }
        if let Some(Remote { name, .. }) = self.remotes.first() {
            ui.note(format_args!("next: commit, then `git push {name} HEAD:main`"))?;
        }
        Ok(())
    }
}

/// The git work tree that we are in.
struct WorkTree {
    repository: Repository,
    root: PathBuf,
}

impl WorkTree {
    fn here() -> anyhow::Result<Self> {
        let repository = Repository::discover(".").map_err(|error| match error.code() {
            ErrorCode::NotFound => outside("there is no git repository here"),
            ErrorCode::Owner => Failure::new(Exit::Refused, "this git repository belongs to somebody else")
                .because(error)
                .advise("run `paas init` as its owner"),
            _ => Failure::new(Exit::Failed, "the git repository here cannot be opened").because(error),
        })?;
        let root = repository.workdir().map(Path::to_owned);
        let root = root.ok_or_else(|| outside("this git repository is bare: it has no work tree"))?;
        Ok(Self { repository, root })
    }

    /// The `paas.yml` that is there.
    fn manifest(&self) -> anyhow::Result<Option<Manifest>> {
        let path = self.root.join(MANIFEST_FILE);
        let refused = |why: &str| Failure::new(Exit::Refused, format_args!("{} {why}", path.display()));
        match std::fs::symlink_metadata(&path) {
            Err(missing) if missing.kind() == ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(cause).with_context(|| format!("{} cannot be read", path.display())),
            Ok(found) if !found.is_file() => return Err(refused("is there and no file").into()),
            Ok(_) => {}
        }
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes));
        read.with_context(|| format!("{} cannot be read", path.display()))?;
        let manifest = Manifest::read(&bytes);
        Ok(Some(manifest.map_err(|error| {
            refused("is there already, and not right").because(error).advise("mend it, then `paas init` again")
        })?))
    }

    /// What becomes of a remote; a refusal if it is there and leads elsewhere.
    fn remote(&self, name: String, url: String) -> anyhow::Result<Remote> {
        // Not `find_remote`: it gives the URL with the user's own replacements (`insteadOf`) in it.
        let known = self.repository.config().and_then(|config| config.get_string(&format!("remote.{name}.url")));
        match known {
            Ok(known) if known == url => Ok(Remote { name, url, kept: true }),
            Ok(known) => {
                let what = format!("the remote `{name}` is there already and leads to {known}, not to {url}");
                Err(Failure::new(Exit::Refused, what)
                    .advise(format_args!("`git remote set-url {name} {url}`, if that is where it should lead"))
                    .advise(format_args!("`git remote rename {name} OTHER`, if the old one is to stay"))
                    .into())
            }
            Err(missing) if missing.code() == ErrorCode::NotFound => Ok(Remote { name, url, kept: false }),
            Err(cause) => Err(cause).context("the configuration of this git repository cannot be read"),
        }
    }

    fn make(&self, ready: &Ready) -> anyhow::Result<()> {
        if !ready.manifest_kept {
            let text = TEMPLATE.replace("{app}", ready.app.as_str());
            // `create_new`: one that somebody made just now is not overwritten either.
            let written = File::create_new(&ready.manifest).and_then(|mut file| file.write_all(text.as_bytes()));
            written.with_context(|| format!("{} cannot be written", ready.manifest.display()))?;
        }
        for Remote { name, url, .. } in ready.remotes.iter().filter(|remote| !remote.kept) {
            let added = self.repository.remote(name, url);
            added.with_context(|| format!("the remote `{name}` cannot be added"))?;
        }
        Ok(())
    }
}

fn outside(what: &str) -> Failure {
    Failure::new(Exit::Refused, what).advise("go to the root of your project; `git init` makes it a repository")
}

/// The app's name: given, else as `paas.yml` has it, else made of the directory's name.
fn app(given: Option<AppName>, manifest: Option<&Manifest>, root: &Path, ui: &mut Ui) -> anyhow::Result<AppName> {
    match (given, manifest.and_then(|manifest| manifest.app.clone())) {
        (Some(given), Some(written)) if given != written => {
            let what = format!("{MANIFEST_FILE} says that this is the app `{written}`, not `{given}`");
            Err(Failure::new(Exit::Refused, what)
                .advise(format_args!("leave out `--app`, or change the line `app: {written}`"))
                .into())
        }
        (Some(name), _) | (None, Some(name)) => Ok(name),
        (None, None) => {
            let directory = root.file_name().unwrap_or_default().to_string_lossy();
            let name = label(&directory).ok_or_else(|| {
                Failure::new(Exit::Usage, format_args!("the directory's name `{directory}` makes no app name"))
                    .advise("name the app: `paas init --app NAME`")
            })?;
            if name.as_str() != directory {
                ui.note(format_args!("the app is called `{name}`, since the directory is called `{directory}`"))?;
            }
            Ok(name)
        }
    }
}

/// A name made of the letters and digits of a text, with one hyphen for all that stands between.
fn label(text: &str) -> Option<AppName> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut name = words.collect::<Vec<_>>().join("-").to_ascii_lowercase();
    name.truncate(MAX_NAME_BYTES);
    name.trim_end_matches('-').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_name_becomes_a_label() {
        for (directory, name) in [
            ("shop", "shop"),
            ("My Shop", "my-shop"),
            ("my_shop.git", "my-shop-git"),
            ("--a--", "a"),
            ("2048", "2048"),
            ("abcdefghijklmnopqrstuvwxyz012 shop", "abcdefghijklmnopqrstuvwxyz012"),
        ] {
            assert_eq!(label(directory).unwrap().as_str(), name, "{directory}");
        }
        for directory in ["", "...", "äöü", "日本"] {
            assert_eq!(label(directory), None, "{directory}");
        }
    }

    #[test]
    fn nothing_but_the_apps_name_counts_in_what_is_written() {
        let text = TEMPLATE.replace("{app}", "shop");
        let mut manifest = Manifest::parse(&text).unwrap();
        assert_eq!(manifest.app.take().unwrap().as_str(), "shop");
        assert_eq!(manifest, Manifest::default());
    }

    #[test]
    fn all_that_is_commented_out_is_right() {
        let lines = TEMPLATE.lines().filter(|line| !line.starts_with("# ") || line.starts_with("#  "));
        let text: Vec<_> = lines.map(|line| line.strip_prefix('#').unwrap_or(line).replace("{app}", "shop")).collect();
        let manifest = Manifest::parse(&text.join("\n")).unwrap();
        assert!(manifest.token.is_some() && manifest.release.is_some() && manifest.domains.is_some());
        assert!(manifest.build.timeout.is_some() && !manifest.env.is_empty() && manifest.tenants().count() == 1);
        assert!(manifest.processes.values().all(|web| web.health.is_some() && web.constraints.is_some()));
    }
}
