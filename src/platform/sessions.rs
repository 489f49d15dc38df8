//! Connections that are open now.

use std::io;
use std::time::Duration;

use super::process::Process;
use super::sshd;
use crate::model::Fingerprint;
use crate::settings::Home;

/// A session ends what it began within half a second; its push's containers go with it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ends what connections of these keys run; says how many there were. What a push has posted to Marathon goes on.
pub async fn end_sessions(home: &Home, keys: &[Fingerprint]) -> io::Result<usize> {
    let own = std::process::id();
    let is_theirs = |arguments: &[String]| {
        sshd::is_a_session(arguments, home)
            && arguments.windows(2).any(|pair| pair[0] == "--key" && keys.iter().any(|key| key.as_str() == pair[1]))
    };
    let mut ended = 0;
    // Whoever removes their own key is told how that went.
    for session in Process::with_arguments(is_theirs).into_iter().filter(|session| session.pid.cast_unsigned() != own) {
        session.end(PATIENCE).await?;
        ended += 1;
    }
    Ok(ended)
}
