//! Which version of its API a Docker speaks. A request in a newer one is refused as a whole, so it is asked first.

use std::io;
use std::time::Duration;

use bollard::ClientVersion;
use bollard::errors::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::Socket;

/// Docker answers a ping in about a millisecond; one that is just starting gets a moment.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// The version to speak: the newest that both know. A Docker that tells none is taken to know ours.
pub(super) async fn common(socket: &Socket) -> Result<ClientVersion, Error> {
    let answer = tokio::time::timeout(PATIENCE, ping(socket)).await;
    let answer =
        answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|err| Error::IOError { err })?;
    let ours = *bollard::API_DEFAULT_VERSION;
    Ok(announced(&answer).map_or(ours, |theirs| older(ours, theirs)))
}

/// The head of a ping's answer.
pub(super) async fn ping(socket: &Socket) -> io::Result<String> {
    let mut stream = UnixStream::connect(&socket.0).await?;
    stream.write_all(b"HEAD /_ping HTTP/1.0\r\nHost: docker\r\n\r\n").await?;
    let mut answer = String::new();
    stream.take(64 << 10).read_to_string(&mut answer).await?;
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

    #[tokio::test]
    async fn a_docker_that_is_not_there_is_told_of_and_found_when_it_has_come() {
        let home = tempfile::tempdir().unwrap();
        let socket = Socket(home.path().join("docker.sock"));
        let docker = super::super::Docker::at(socket.clone());
        assert!(docker.ping().await.unwrap_err().is_unreachable());
        let listener = tokio::net::UnixListener::bind(&socket.0).unwrap();
        let answering = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = [0; 1024];
                let _ = stream.read(&mut asked).await.unwrap();
                let answer = b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
                stream.write_all(answer).await.unwrap();
            }
        });
        docker.ping().await.unwrap();
        assert_eq!(docker.api().await.unwrap().client_version().to_string(), "1.41");
        answering.abort();
    }
}
