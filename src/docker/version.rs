//! Which version of its API a Docker speaks. A request in a newer one is refused as a whole, so it is asked first.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bollard::ClientVersion;

use super::Socket;

/// Docker answers a ping in about a millisecond; one that is just starting gets a moment.
const PATIENCE: Duration = Duration::from_secs(2);

/// The version to speak: the newest that both know. When Docker does not answer, ours; the next call says why then.
pub(super) fn common(socket: &Socket) -> ClientVersion {
    let ours = *bollard::API_DEFAULT_VERSION;
    ping(socket).ok().and_then(|answer| announced(&answer)).map_or(ours, |theirs| older(ours, theirs))
}

/// The head of a ping's answer. Blocking, once per client: it is a local socket.
fn ping(socket: &Socket) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(&socket.0)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"HEAD /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(64 << 10).read_to_string(&mut answer)?;
    Ok(answer)
}

fn announced(answer: &str) -> Option<ClientVersion> {
    let (_, version) = answer
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("api-version"))?;
    let (major, minor) = version.trim().split_once('.')?;
    Some(ClientVersion { major_version: major.parse().ok()?, minor_version: minor.parse().ok()? })
}

fn older(one: ClientVersion, other: ClientVersion) -> ClientVersion {
    let order = |version: &ClientVersion| (version.major_version, version.minor_version);
    if order(&one) < order(&other) { one } else { other }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_announces_its_version_in_the_head_of_a_ping() {
        let version = announced("HTTP/1.0 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 0\r\n\r\n").unwrap();
        assert_eq!((version.major_version, version.minor_version), (1, 41));
        for other in ["", "HTTP/1.0 500 no\r\n\r\n", "Api-Version: latest\r\n"] {
            assert!(announced(other).is_none(), "{other}");
        }
    }

    #[test]
    fn the_older_of_two_versions_is_spoken() {
        let version = |minor| ClientVersion { major_version: 1, minor_version: minor };
        assert_eq!(older(version(53), version(41)).minor_version, 41);
        assert_eq!(older(version(9), version(41)).minor_version, 9);
    }

    #[test]
    fn without_an_answer_ours_is_spoken() {
        let ours = common(&Socket("/nonexistent/docker.sock".into()));
        assert_eq!(ours.minor_version, bollard::API_DEFAULT_VERSION.minor_version);
    }
}
