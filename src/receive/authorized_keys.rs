//! sshd's question at each connection: who has this key, and what may it run? (`AuthorizedKeysCommand`)

use std::path::Path;

use crate::accounts::PublicKey;
use crate::accounts::authorized_keys::{OddPath, line, plain};
use crate::accounts::keys::{self, KeyError};
use crate::settings::{Home, Settings, SettingsError};
use crate::store::{SqliteStore, Store, StoreError};

/// Why the question was not answered. sshd logs the message and lets nobody in.
#[derive(Debug, thiserror::Error)]
pub enum AuthorizedKeysError {
    #[error(transparent)]
    OddPath(#[from] OddPath),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// The line for the key of this type and base64 data, as sshd's `%t` and `%k` give them; nothing for a key that is
/// not registered, or that could not be. `program` is what the line lets the key run: `paas-receive`.
///
/// One look-up by the key's fingerprint. Where there is no store yet none is made.
pub async fn authorized_keys(
    home: &Home,
    program: &Path,
    key_type: &str,
    data: &str,
) -> Result<Option<String>, AuthorizedKeysError> {
    if !SqliteStore::is_in(&home.store()) {
        return Ok(None);
    }
    look_up(&SqliteStore::open(&home.store())?, home, program, key_type, data).await
}

async fn look_up(
    store: &dyn Store,
    home: &Home,
    program: &Path,
    key_type: &str,
    data: &str,
) -> Result<Option<String>, AuthorizedKeysError> {
    // Clients offer any kind of key. One that cannot be registered is simply not.
    let Ok(offered) = PublicKey::from_parts(key_type, data) else { return Ok(None) };
    match keys::find(store, offered.fingerprint()).await? {
        Some(key) => Ok(Some(line(&key, home.path(), program)?)),
        None if newcomers(home)? => Ok(Some(line_for_newcomer(&offered, home, program)?)),
        None => Ok(None),
    }
}

/// Whether keys that nobody knows are let in as far as to redeem a token.
fn newcomers(home: &Home) -> Result<bool, SettingsError> {
    Ok(Settings::load(Some(home.path().to_owned()), std::iter::empty())?.ssh.newcomers)
}

/// The key goes along, since nothing here knows it.
fn line_for_newcomer(key: &PublicKey, home: &Home, program: &Path) -> Result<String, OddPath> {
    let (program, home) = (plain(program)?, plain(home.path())?);
    let text = key.to_string();
    let (key_type, data) = text.split_once(' ').unwrap_or_default();
    let command = format!("{program} newcomer --key-type {key_type} --key-data {data} --home {home}");
    Ok(format!("restrict,command=\"{command}\" {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::samples::{CERTIFICATE, DSA, ED25519, ED25519_FINGERPRINT, P256};

    const PROGRAM: &str = "/usr/local/bin/paas-receive";

    async fn home_of_alice() -> (Home, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        let store = SqliteStore::open(&home.store()).unwrap();
        let key = PublicKey::parse(ED25519.as_bytes()).unwrap();
        keys::add(&store, &"alice".parse().unwrap(), &key).await.unwrap();
        (home, dir)
    }

    async fn ask(home: &Home, key: &str) -> Option<String> {
        let mut words = key.split(' ');
        authorized_keys(home, Path::new(PROGRAM), words.next().unwrap(), words.next().unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn a_registered_key_may_run_a_session_as_its_user_and_nothing_else() {
        let (home, _dir) = home_of_alice().await;
        let line = ask(&home, ED25519).await.unwrap();
        let key = ED25519.strip_suffix(" alice@laptop").unwrap();
        let home = home.path().display();
        assert_eq!(
            line,
            format!(
                "restrict,command=\"{PROGRAM} session --user alice --key {ED25519_FINGERPRINT} --home {home}\" {key}"
            )
        );
    }

    #[tokio::test]
    async fn an_unknown_key_may_redeem_a_token_unless_that_is_switched_off() {
        let (home, _dir) = home_of_alice().await;
        let line = ask(&home, P256).await.unwrap();
        let [key_type, data] = P256.split(' ').take(2).collect::<Vec<_>>()[..] else { panic!("{P256}") };
        let place = home.path().display();
        let command = format!("{PROGRAM} newcomer --key-type {key_type} --key-data {data} --home {place}");
        assert_eq!(line, format!("restrict,command=\"{command}\" {key_type} {data}"));
        std::fs::write(home.config(), "ssh: {newcomers: false}\n").unwrap();
        assert_eq!(ask(&home, P256).await, None);
    }

    #[tokio::test]
    async fn what_is_no_key_that_could_be_registered_gets_nothing() {
        let (home, _dir) = home_of_alice().await;
        for key in [DSA, CERTIFICATE, "ssh-ed25519 AAAA", "ssh-ed25519 ", "\" x", "--help '"] {
            assert_eq!(ask(&home, key).await, None, "{key}");
        }
    }

    #[tokio::test]
    async fn a_question_makes_no_store() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("none"));
        assert_eq!(ask(&home, ED25519).await, None);
        assert!(!home.path().exists());
    }

    #[tokio::test]
    async fn an_odd_path_is_refused_since_a_shell_would_see_it() {
        let (home, _dir) = home_of_alice().await;
        let mut words = ED25519.split(' ');
        let (key_type, data) = (words.next().unwrap(), words.next().unwrap());
        for odd in ["paas-receive", "/opt/my paas/paas-receive", "/opt/\"x", "/opt/$(x)", "/opt/x\ny", "/opt/x;y", ""] {
            let error = authorized_keys(&home, Path::new(odd), key_type, data).await.unwrap_err();
            assert!(matches!(error, AuthorizedKeysError::OddPath(_)), "{odd}: {error:?}");
        }
    }
}
