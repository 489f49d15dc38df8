//! `paas keys`: the SSH keys by which people are known.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use super::deed::{Deed, Right};
use super::over_ssh::Errand;
use super::users::own_name;
use super::{Desk, store};
use crate::accounts::access::{self, Action, Caller};
use crate::accounts::keys::{self, KeyError, KeyName, RegisteredKey};
use crate::accounts::{MAX_KEY_BYTES, PublicKey};
use crate::model::{Fingerprint, UserName};
use crate::platform;
use crate::settings::Settings;
use crate::store::Store;
use crate::ui::{Answer, Exit, Failure, Table, Ui};

/// Register, list and remove the SSH keys that may push
#[derive(Debug, clap::Args)]
pub(super) struct Keys {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Add(AddKey),
    List(ListKeys),
    Rename(RenameKey),
    Remove(RemoveKey),
}

/// Register a public key to a user, who is made with the first one
#[derive(Debug, clap::Args)]
struct AddKey {
    /// Whose key it is [default: the name in the key's comment]
    #[arg(long, value_name = "NAME")]
    user: Option<UserName>,
    /// The public key's file, or `-` for standard input [default: the only one in ~/.ssh]
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: Option<PathBuf>,
}

/// List the registered keys and whose they are
#[derive(Debug, clap::Args)]
struct ListKeys {}

/// Give a key another name
#[derive(Debug, clap::Args)]
struct RenameKey {
    /// As `paas keys list` shows it
    #[arg(value_name = "FINGERPRINT")]
    fingerprint: Fingerprint,
    name: KeyName,
}

/// Remove a key: from then on it opens nothing
#[derive(Debug, clap::Args)]
struct RemoveKey {
    /// As `paas keys list` shows it
    #[arg(value_name = "FINGERPRINT")]
    fingerprint: Fingerprint,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct OneKey(RegisteredKey);

impl Answer for OneKey {
    fn text(&self) -> String {
        self.0.fingerprint.to_string()
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct ManyKeys(Vec<RegisteredKey>);

impl Answer for ManyKeys {
    fn text(&self) -> String {
        let mut table = Table::headed(["USER", "FINGERPRINT", "TYPE", "ADDED", "LAST USED", "FROM", "NAME"]);
        for RegisteredKey { user, fingerprint, key_type, added, last_used, name, .. } in &self.0 {
            let day = added.strftime("%Y-%m-%d").to_string();
            let used = last_used.map_or_else(|| "-".to_owned(), |used| used.at.strftime("%Y-%m-%d %H:%M").to_string());
            let from = last_used.and_then(|used| used.from).map_or_else(|| "-".to_owned(), |from| from.to_string());
            table.row([user.as_str(), fingerprint.as_str(), key_type, &day, &used, &from, name.as_str()]);
        }
        table.to_string()
    }
}

impl Keys {
    pub(super) fn deed(&self, caller: &Caller) -> Deed {
        let own = own_name(caller);
        match &self.verb {
            Verb::Add(add) => {
                let is_own = own.is_some() && (add.user.is_none() || add.user == own);
                let right = if is_own { Right::Own } else { Right::ManageUsers };
                Deed { object: add.user.as_ref().map(ToString::to_string), ..Deed::change(right, "keys add") }
            }
            Verb::List(_) => Deed::look(Right::Own, "keys list"),
            Verb::Rename(rename) => Deed::change(Right::Own, "keys rename").to(&rename.fingerprint),
            Verb::Remove(remove) => Deed::change(Right::Own, "keys remove").to(&remove.fingerprint),
        }
    }

    /// What goes to the host: the key itself, since its file is here.
    pub(super) fn errand(&self, mut typed: Vec<String>, user_home: Option<&Path>) -> anyhow::Result<Errand> {
        let Verb::Add(add) = &self.verb else { return Ok(Errand { words: typed, input: None }) };
        let source = KeySource::of(add.file.clone(), user_home)?;
        if source == KeySource::Stdin {
            return Ok(Errand { words: typed, input: None });
        }
        let text = source.read().with_context(|| format!("the key from {source} was not sent"))?;
        match add.file.as_deref().and_then(|file| typed.iter().rposition(|word| Path::new(word) == file)) {
            Some(place) => "-".clone_into(&mut typed[place]),
            None => typed.push("-".to_owned()),
        }
        Ok(Errand { words: typed, input: Some(text) })
    }

    pub(super) async fn run(self, settings: &Settings, desk: &Desk, ui: &mut Ui) -> anyhow::Result<()> {
        match self.verb {
            Verb::Add(add) => add.run(settings, desk, ui).await,
            Verb::List(ListKeys {}) => {
                let keys = match store::open_existing(settings)? {
                    Some(store) => desk.visible_keys(&store).await?,
                    None => Vec::new(),
                };
                if keys.is_empty() {
                    ui.note("no keys are registered; `paas keys add` registers one")?;
                }
                ui.answer(&ManyKeys(keys))
            }
            Verb::Rename(rename) => rename.run(settings, desk, ui).await,
            Verb::Remove(remove) => remove.run(settings, desk, ui).await,
        }
    }
}

impl Desk {
    /// One's own; for admins and on the host itself, everybody's.
    async fn visible_keys(&self, store: &dyn Store) -> anyhow::Result<Vec<RegisteredKey>> {
        match self {
            Self::Sent(who) if !self.is_admin(store).await? => Ok(keys::of_user(store, &who.user).await?),
            _ => Ok(keys::list(store).await?),
        }
    }

    async fn sees(&self, store: &dyn Store, fingerprint: &Fingerprint) -> anyhow::Result<bool> {
        Ok(self.visible_keys(store).await?.iter().any(|key| key.fingerprint == *fingerprint))
    }

    async fn is_admin(&self, store: &dyn Store) -> anyhow::Result<bool> {
        match self {
            Self::Typed { .. } => Ok(true),
            Self::Sent(who) => Ok(access::may(store, &Caller::Key(who.clone()), Action::ManageUsers).await?),
        }
    }
}

impl AddKey {
    async fn run(self, settings: &Settings, desk: &Desk, ui: &mut Ui) -> anyhow::Result<()> {
        let source = match desk {
            Desk::Typed { user_home } => KeySource::of(self.file, user_home.as_deref())?,
            Desk::Sent(_) if self.file.as_deref() == Some(Path::new("-")) => KeySource::Stdin,
            Desk::Sent(_) => {
                let what = "over ssh a key is read from standard input";
                return Err(Failure::new(Exit::Usage, what).advise("`ssh … keys add - <KEY.pub`").into());
            }
        };
        let key = source.read().and_then(|text| Ok(PublicKey::parse(&text)?));
        let key = key.with_context(|| format!("the key from {source} was not registered"))?;
        let user = match (self.user, desk) {
            (Some(user), _) => user,
            (None, Desk::Sent(who)) => who.user.clone(),
            (None, Desk::Typed { .. }) => owner_in(key.comment())?,
        };
        let store = store::open(settings)?;
        let added = keys::add(&store, &user, &key).await.map_err(explained)?;
        ui.note(format_args!("the key from {source} belongs to `{user}` now"))?;
        if added.made_admin {
            ui.note(format_args!("`{user}` is this platform's first user, and so its admin, who may do anything"))?;
        }
        ui.answer(&OneKey(added.key))
    }
}

impl RemoveKey {
    async fn run(self, settings: &Settings, desk: &Desk, ui: &mut Ui) -> anyhow::Result<()> {
        let removed = match store::open_existing(settings)? {
            // Another's key is not there for whoever may not see it.
            Some(store) if !desk.sees(&store, &self.fingerprint).await? => Err(KeyError::Unknown(self.fingerprint)),
            Some(store) => keys::remove(&store, &self.fingerprint).await,
            None => Err(KeyError::Unknown(self.fingerprint)),
        };
        let removed = removed.map_err(explained)?;
        platform::end_sessions(&settings.home, std::slice::from_ref(&removed.fingerprint)).await?;
        ui.note(format_args!("the key of `{}` opens nothing any more", removed.user))?;
        ui.answer(&OneKey(removed))
    }
}

impl RenameKey {
    async fn run(self, settings: &Settings, desk: &Desk, ui: &mut Ui) -> anyhow::Result<()> {
        let renamed = match store::open_existing(settings)? {
            Some(store) if desk.sees(&store, &self.fingerprint).await? => {
                keys::rename(&store, &self.fingerprint, &self.name).await
            }
            _ => Err(KeyError::Unknown(self.fingerprint)),
        };
        let renamed = renamed.map_err(explained)?;
        ui.note(format_args!("the key is called `{}` now", renamed.name.as_str()))?;
        ui.answer(&OneKey(renamed))
    }
}

/// What the caller can do about a refusal.
fn explained(error: KeyError) -> anyhow::Error {
    match &error {
        KeyError::Known { fingerprint, .. } => Failure::new(Exit::Refused, &error)
            .advise(format_args!("`paas keys remove {fingerprint}` first, if it is to belong to somebody else"))
            .into(),
        KeyError::Unknown(_) => Failure::new(Exit::Refused, &error).advise("`paas keys list` shows all keys").into(),
        KeyError::NameTaken { .. } => Failure::new(Exit::Refused, &error).into(),
        KeyError::Damaged { .. } | KeyError::User(_) | KeyError::Store(_) => error.into(),
    }
}

/// The user in a comment such as `alice@laptop` or `alice`.
fn owner_in(comment: &str) -> anyhow::Result<UserName> {
    let name = comment.split_once('@').map_or(comment, |(name, _machine)| name);
    name.parse().map_err(|reason| {
        let what = match comment {
            "" => "whose key is it? It has no comment that says so".to_owned(),
            comment => format!("whose key is it? Its comment `{comment}` names nobody"),
        };
        Failure::new(Exit::Usage, what).because(reason).advise("name the user: `paas keys add --user NAME …`").into()
    })
}

/// Where a key comes from.
#[derive(Debug, PartialEq, Eq)]
enum KeySource {
    Stdin,
    File(PathBuf),
}

impl std::fmt::Display for KeySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdin => f.write_str("standard input"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl KeySource {
    fn of(file: Option<PathBuf>, user_home: Option<&Path>) -> anyhow::Result<Self> {
        match file {
            Some(dash) if dash.as_os_str() == "-" => Ok(Self::Stdin),
            Some(path) => Ok(Self::File(path)),
            None => only_key_of(user_home).map(Self::File),
        }
    }

    /// At most one byte more than a key may have, so that a longer text is seen to be too long.
    fn read(&self) -> anyhow::Result<Vec<u8>> {
        let input: Box<dyn Read> = match self {
            Self::Stdin => Box::new(io::stdin()),
            Self::File(path) => Box::new(File::open(path)?),
        };
        let mut text = Vec::new();
        input.take(MAX_KEY_BYTES as u64 + 1).read_to_end(&mut text)?;
        Ok(text)
    }
}

/// The one `.pub` file in the caller's `.ssh`; with several the caller has to choose.
fn only_key_of(user_home: Option<&Path>) -> anyhow::Result<PathBuf> {
    let unclear = |what: String| Failure::new(Exit::Usage, what).advise("name one: `paas keys add FILE`");
    let Some(user_home) = user_home else {
        return Err(unclear("which key? HOME is not set, so no `.ssh` is known".to_owned()).into());
    };
    let dir = user_home.join(".ssh");
    let mut keys = public_keys_in(&dir);
    match keys.len() {
        1 => Ok(keys.remove(0)),
        0 => Err(unclear(format!("which key? There is none that ends in `.pub` in {}", dir.display()))
            .advise("`ssh-keygen -t ed25519` makes one")
            .into()),
        _ => {
            let names: Vec<_> = keys.iter().map(|key| key.display().to_string()).collect();
            Err(unclear(format!("which key? There are {}: {}", keys.len(), names.join(", "))).into())
        }
    }
}

/// By name. A directory that cannot be read holds none that could be used. Certificates are not keys.
fn public_keys_in(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_key = |path: &PathBuf| {
        path.extension().is_some_and(|end| end == "pub")
            && !path.file_stem().is_some_and(|stem| stem.as_encoded_bytes().ends_with(b"-cert"))
    };
    let mut keys: Vec<_> = entries.filter(is_key).collect();
    keys.sort();
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_names_the_user_or_nobody() {
        assert_eq!(owner_in("alice@laptop").unwrap().as_str(), "alice");
        assert_eq!(owner_in("alice").unwrap().as_str(), "alice");
        for nobody in ["", "Alice Doe", "@laptop", "my key", "-x@y"] {
            let error = owner_in(nobody).unwrap_err();
            assert_eq!(error.downcast_ref::<Failure>().unwrap().exit(), Exit::Usage, "{nobody}");
        }
    }

    #[test]
    fn without_a_file_the_only_public_key_is_meant() {
        let home = tempfile::tempdir().unwrap();
        let ssh = home.path().join(".ssh");
        let words = || only_key_of(Some(home.path())).unwrap_err().to_string();
        assert!(words().contains("There is none"), "{}", words());
        std::fs::create_dir(&ssh).unwrap();
        for other in ["id_ed25519", "known_hosts", "id_ed25519-cert.pub"] {
            std::fs::write(ssh.join(other), "").unwrap();
        }
        assert!(words().contains("There is none"), "{}", words());
        std::fs::write(ssh.join("id_ed25519.pub"), "").unwrap();
        assert_eq!(only_key_of(Some(home.path())).unwrap(), ssh.join("id_ed25519.pub"));
        std::fs::write(ssh.join("a.pub"), "").unwrap();
        assert!(words().contains("There are 2:") && words().contains("a.pub, "), "{}", words());
        assert!(only_key_of(None).is_err());
    }
}
