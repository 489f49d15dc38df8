//! Downloads by HTTP: redirects are followed, proxies are not used, and what must not be reached is not.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, ClientBuilder, Url};
use tokio::io::AsyncWriteExt as _;

use super::allowance::{Allowance, Exceeded};
use super::reach::{Forbidden, Reach};

/// How often an artifact may have moved.
const MAX_REDIRECTS: usize = 10;
const CONNECT: Duration = Duration::from_secs(10);
/// Longest silence of a server that sends.
const SILENCE: Duration = Duration::from_mins(1);

/// Why a download came to nothing.
#[derive(Debug, thiserror::Error)]
pub(in crate::engine::tasks) enum DownloadError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("the server answered {0}")]
    Refused(reqwest::StatusCode),
    /// The client's own words hold the URL, which stands elsewhere.
    #[error("{0}")]
    Failed(String),
    #[error(transparent)]
    Exceeded(#[from] Exceeded),
    #[error("cannot write it: {0}")]
    Write(#[from] io::Error),
}

impl From<reqwest::Error> for DownloadError {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        // The last cause is the one that says what went wrong.
        let mut cause: &dyn Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        let what = if error.is_timeout() { "no answer in time" } else { "no answer" };
        Self::Failed(format!("{what}: {cause}"))
    }
}

/// Writes what is at `url` to `file`.
pub(super) async fn download(
    url: &Url,
    reach: Reach,
    file: tokio::fs::File,
    allowance: &Allowance,
) -> Result<(), DownloadError> {
    static ANYWHERE: LazyLock<Result<Client, String>> = LazyLock::new(|| client(Reach::Anywhere));
    static OUTSIDE: LazyLock<Result<Client, String>> = LazyLock::new(|| client(Reach::Outside));
    let client = match reach {
        Reach::Anywhere => &*ANYWHERE,
        Reach::Outside => &*OUTSIDE,
    };
    let client = client.as_ref().map_err(|error| DownloadError::Failed(error.clone()))?;
    download_by(client, url, reach, file, allowance).await
}

async fn download_by(
    client: &Client,
    url: &Url,
    reach: Reach,
    mut file: tokio::fs::File,
    allowance: &Allowance,
) -> Result<(), DownloadError> {
    look_at(url, reach)?;
    let mut answer = client.get(url.clone()).send().await?;
    if !answer.status().is_success() {
        return Err(DownloadError::Refused(answer.status()));
    }
    while let Some(chunk) = answer.chunk().await? {
        allowance.spend(u64::try_from(chunk.len()).unwrap_or(u64::MAX))?;
        file.write_all(&chunk).await?;
    }
    Ok(file.flush().await?)
}

/// Refuses an address that stands in the URL itself: those are not looked up.
fn look_at(url: &Url, reach: Reach) -> Result<(), Forbidden> {
    let host = url.host_str().unwrap_or_default();
    match host.trim_start_matches('[').trim_end_matches(']').parse() {
        Ok(address) => reach.allows(address),
        Err(_) => Ok(()),
    }
}

fn client(reach: Reach) -> Result<Client, String> {
    builder(reach).build().map_err(|error| format!("downloads cannot be made: {error}"))
}

fn builder(reach: Reach) -> ClientBuilder {
    // Another part of the program may have done it, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .redirect(Policy::custom(move |attempt| follow(attempt, reach)))
        .dns_resolver(Arc::new(Resolver(reach)))
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .no_proxy()
        .pool_max_idle_per_host(0)
}

fn follow(attempt: Attempt<'_>, reach: Reach) -> reqwest::redirect::Action {
    if attempt.previous().len() > MAX_REDIRECTS {
        return attempt.error(format!("it was moved more than {MAX_REDIRECTS} times"));
    }
    match look_at(attempt.url(), reach) {
        Ok(()) => attempt.follow(),
        Err(forbidden) => attempt.error(forbidden),
    }
}

/// Looks names up, and answers nothing if one of the addresses must not be reached.
struct Resolver(Reach);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            // The port is set by who asks.
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            for address in &found {
                reach.allows(address.ip())?;
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::*;

    /// A server that answers every request with that, and its port.
    async fn server(answer: impl Fn(u16) -> String + Send + 'static) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut asked = [0; 1024];
                let _ = stream.read(&mut asked).await;
                let _ = stream.write_all(answer(port).as_bytes()).await;
            }
        });
        port
    }

    async fn fetched(url: &str, reach: Reach, bytes: u64) -> Result<String, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let writer = tokio::fs::File::from_std(file.reopen().unwrap());
        let allowance = Allowance::of(bytes, 1, CancellationToken::new());
        let done = download(&url.parse().unwrap(), reach, writer, &allowance).await;
        done.map_err(|error| error.to_string()).map(|()| std::fs::read_to_string(file.path()).unwrap())
    }

    fn page(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn what_is_there_is_written_up_to_a_bound() {
        let port = server(|_| page("hello")).await;
        let url = format!("http://localhost:{port}/x");
        assert_eq!(fetched(&url, Reach::Anywhere, 5).await.unwrap(), "hello");
        assert!(fetched(&url, Reach::Anywhere, 4).await.unwrap_err().contains("together may have"));
    }

    #[tokio::test]
    async fn an_artifact_that_keeps_moving_is_given_up() {
        let port = server(|port| format!("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{port}/\r\n\r\n")).await;
        let error = fetched(&format!("http://127.0.0.1:{port}/"), Reach::Anywhere, 9).await.unwrap_err();
        assert!(error.contains("more than 10 times"), "{error}");
    }

    #[tokio::test]
    async fn what_is_near_is_not_asked_by_address_or_by_name() {
        let port = server(|_| page("secret")).await;
        for host in ["127.0.0.1", "[::1]", "localhost", "0x7f.1", "2130706433"] {
            let error = fetched(&format!("http://{host}:{port}/"), Reach::Outside, 9).await.unwrap_err();
            assert!(error.contains("a loopback address"), "{host}: {error}");
        }
    }

    #[tokio::test]
    async fn a_redirect_to_what_is_near_is_not_followed() {
        let inner = server(|_| page("secret")).await;
        for target in [format!("http://127.0.0.1:{inner}/"), format!("http://localhost:{inner}/")] {
            let location = target.clone();
            let outer = server(move |_| format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\n\r\n")).await;
            // A test has no other machine: this one is taken for another as far as the first hop.
            let outside = SocketAddr::from(([127, 0, 0, 1], outer));
            let client = builder(Reach::Outside).resolve("outside.example", outside).build().unwrap();
            let url = format!("http://outside.example:{outer}/").parse().unwrap();
            let file = tokio::fs::File::from_std(tempfile::tempfile().unwrap());
            let allowance = Allowance::new(CancellationToken::new());
            let refused = download_by(&client, &url, Reach::Outside, file, &allowance).await.unwrap_err();
            assert!(refused.to_string().contains("a loopback address"), "{target}: {refused}");
        }
    }
}
