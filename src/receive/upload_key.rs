//! `paas-receive upload-key NAME`: a key on standard input, as in
//! `cat id.pub | ssh host "sudo paas-receive upload-key alice"`.

use std::io::{self, Read};

use crate::accounts::access::Caller;
use crate::accounts::audit::{AuditLog, Event, Outcome};
use crate::accounts::authorized_keys::{AuthorizedKeysFileError, sync_authorized_keys};
use crate::accounts::keys::{self, KeyError};
use crate::accounts::{InvalidKey, MAX_KEY_BYTES, PublicKey};
use crate::model::{Fingerprint, UserName};
use crate::settings::Home;
use crate::store::{SqliteStore, StoreError};
use crate::ui::{Exit, Failure};

/// Why the key was not registered.
#[derive(Debug, thiserror::Error)]
pub enum UploadKeyError {
    #[error("cannot read a key from standard input")]
    Input(#[source] io::Error),
    #[error("the key was not registered")]
    Invalid(#[from] InvalidKey),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("it is registered, but sshd's file of keys could not be brought up to date")]
    File(#[from] AuthorizedKeysFileError),
}

impl UploadKeyError {
    /// As it is told to whoever uploads, with the exit status that `paas keys add` has too.
    pub(super) fn explained(self) -> Failure {
        match self {
            Self::Invalid(cause) => Failure::new(Exit::Failed, "the key was not registered").because(cause),
            Self::Key(error @ KeyError::Known { .. }) => Failure::new(Exit::Refused, &error)
                .advise("`paas keys remove` first, if it is to belong to somebody else"),
            error => Failure::new(Exit::Failed, "the key was not registered").because(error),
        }
    }
}

/// Registers the key that `input` holds to `user`, and gives the fingerprint to print. The audit log tells of it.
pub async fn upload_key(home: &Home, user: &UserName, input: impl Read) -> Result<Fingerprint, UploadKeyError> {
    let uploaded = register(home, user, input).await;
    let outcome = match &uploaded {
        Ok(_) => Outcome::Done,
        Err(UploadKeyError::Key(KeyError::Known { .. })) => Outcome::Refused,
        Err(error) => Outcome::Failed(error.to_string()),
    };
    // Where there is no platform nothing was changed either.
    if home.store().exists() {
        let event = Event::by(&Caller::Host, "upload-key", outcome).on(user);
        AuditLog::in_directory(&home.audit()).note(&event);
    }
    uploaded
}

async fn register(home: &Home, user: &UserName, input: impl Read) -> Result<Fingerprint, UploadKeyError> {
    let mut text = Vec::new();
    // One byte more than a key may have, so that a longer text is seen to be too long.
    input.take(MAX_KEY_BYTES as u64 + 1).read_to_end(&mut text).map_err(UploadKeyError::Input)?;
    let key = PublicKey::parse(&text)?;
    let store = SqliteStore::open(&home.store())?;
    let added = keys::add(&store, user, &key).await?;
    sync_authorized_keys(&store, home.path()).await?;
    Ok(added.key.fingerprint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::audit::Filter;
    use crate::accounts::samples::{ED25519, ED25519_FINGERPRINT};

    #[tokio::test]
    async fn a_key_is_registered_once_and_what_is_none_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        let alice = "alice".parse().unwrap();
        for bad in ["", "hello\n", &"x".repeat(1 << 20)] {
            let error = upload_key(&home, &alice, bad.as_bytes()).await.unwrap_err();
            assert!(matches!(error, UploadKeyError::Invalid(_)), "{error:?}");
        }
        assert!(!home.store().exists());
        let line = format!("{ED25519}\n");
        assert_eq!(upload_key(&home, &alice, line.as_bytes()).await.unwrap().as_str(), ED25519_FINGERPRINT);
        let error = upload_key(&home, &alice, line.as_bytes()).await.unwrap_err();
        assert!(matches!(error, UploadKeyError::Key(KeyError::Known { .. })), "{error:?}");
        let events = AuditLog::in_directory(&home.audit()).read(&Filter::default()).unwrap();
        let told: Vec<_> = events.into_iter().map(|event| (event.user, event.object, event.outcome)).collect();
        let by_host = |outcome| ("(host)".to_owned(), Some("alice".to_owned()), outcome);
        assert_eq!(told, [by_host(Outcome::Done), by_host(Outcome::Refused)]);
    }
}
