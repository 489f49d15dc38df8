//! A registry's own API (version 2), for what Docker does not do: seeing which manifests are kept there, and removing them.
//!
//! It is reached as Docker reaches it: by https with this machine's CAs and those that Docker has for it, and unverified or
//! plain where Docker takes that.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::models::RegistryServiceConfig;
use reqwest::{Method, Response, StatusCode, Url, header};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{Docker, DockerError};
use crate::model::{Digest, ImageId, Secret};

/// Where Docker has the CAs of registries: a directory for each.
const CERTIFICATES: &str = "/etc/docker/certs.d";
/// How long a connection may take to stand.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// How long one answer may take: deleting may wait for slow storage.
const ANSWER_PATIENCE: Duration = Duration::from_mins(1);
/// Largest answer that is read; registries themselves take no manifest above 4 MiB.
const MAX_ANSWER: usize = 4 << 20;
/// Most pages of tags that are turned; what is on others stays.
const MAX_PAGES: usize = 1000;
/// The manifests of single images. A list of several would be none of ours.
const MANIFESTS: &str =
    "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json";

/// Why a registry did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("cannot find out how Docker reaches the registry at {host}")]
    Docker {
        host: String,
        #[source]
        cause: DockerError,
    },
    #[error("cannot reach the registry at {host}")]
    Unreachable {
        host: String,
        #[source]
        cause: reqwest::Error,
    },
    #[error(
        "the registry at {host} does not let us {attempt}; `registry_credentials` need the right to pull and to delete there"
    )]
    Forbidden { host: String, attempt: String },
    #[error("deleting is off at the registry at {host}")]
    DeletingIsOff { host: String },
    #[error("the registry at {host} could not {attempt}: it answered with status {status}")]
    Refused { host: String, attempt: String, status: StatusCode },
    #[error("what answers at {host}, asked to {attempt}, is no registry")]
    Malformed { host: String, attempt: String },
}

/// What is kept under a tag: one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub digest: Digest,
    pub image: ImageId,
}

/// A registry that answers.
#[derive(Debug)]
pub struct RegistryApi {
    http: reqwest::Client,
    host: String,
    base: Url,
    credentials: Option<Secret>,
    challenge: Challenge,
}

/// One repository in it, by the name that stands between host and tag.
#[derive(Debug)]
pub struct RegistryRepository<'a> {
    registry: &'a RegistryApi,
    name: &'a str,
    /// The value of the header, for registries that want one.
    authorization: Option<Secret>,
}

/// What a registry wants to see before it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Challenge {
    Nothing,
    Password,
    /// A token, which somebody else gives for the password.
    Token {
        realm: String,
        service: Option<String>,
    },
}

impl Docker {
    /// The registry at `host`, as it stands in image names; `credentials` are `user:password`.
    pub async fn registry(&self, host: &str, credentials: Option<&Secret>) -> Result<RegistryApi, RegistryError> {
        let unknown = |cause| RegistryError::Docker { host: host.to_owned(), cause };
        let info = self.api().await.map_err(unknown)?.info().await;
        let info = info.map_err(|cause| unknown(self.failure("say which registries it trusts", cause)))?;
        let trusts = info.registry_config.unwrap_or_default();
        let is_insecure = is_insecure(host, &addresses(host).await, &trusts);
        RegistryApi::reach(host, is_insecure, credentials).await
    }
}

impl RegistryApi {
    async fn reach(host: &str, is_insecure: bool, credentials: Option<&Secret>) -> Result<Self, RegistryError> {
        let http = client(host, is_insecure);
        let malformed = || RegistryError::Malformed { host: host.to_owned(), attempt: "speak its API".to_owned() };
        let greet = async |scheme: &str| {
            let base = Url::parse(&format!("{scheme}://{host}/v2/")).map_err(|_| malformed())?;
            let answer = http.get(base.clone()).send().await;
            let answer = answer.map_err(|cause| RegistryError::Unreachable { host: host.to_owned(), cause })?;
            Ok((base, answer))
        };
        let (base, answer) = match greet("https").await {
            Err(RegistryError::Unreachable { .. }) if is_insecure => greet("http").await?,
            greeted => greeted?,
        };
        let challenge = match answer.status() {
            StatusCode::UNAUTHORIZED => {
                let words = answer.headers().get_all(header::WWW_AUTHENTICATE).iter();
                let challenges = words.filter_map(|value| Challenge::read(value.to_str().ok()?));
                challenges.max_by_key(|challenge| matches!(challenge, Challenge::Token { .. })).ok_or_else(malformed)?
            }
            status if status.is_success() => Challenge::Nothing,
            _ => return Err(malformed()),
        };
        Ok(Self { http, host: host.to_owned(), base, credentials: credentials.cloned(), challenge })
    }

    /// A repository, which need not be there.
    pub async fn repository<'a>(&'a self, name: &'a str) -> Result<RegistryRepository<'a>, RegistryError> {
        let authorization = match &self.challenge {
            Challenge::Nothing => None,
            Challenge::Password => self.credentials.as_ref().map(basic),
            Challenge::Token { realm, service } => Some(self.token(realm, service.as_deref(), name).await?),
        };
        Ok(RegistryRepository { registry: self, name, authorization })
    }

    /// Asks whoever gives tokens for one that opens the repository.
    async fn token(&self, realm: &str, service: Option<&str>, name: &str) -> Result<Secret, RegistryError> {
        #[derive(Deserialize)]
        struct Given {
            token: Option<String>,
            access_token: Option<String>,
        }
        let attempt = format!("get a token for `{name}`");
        let malformed = || RegistryError::Malformed { host: self.host.clone(), attempt: attempt.clone() };
        let mut url = Url::parse(realm).map_err(|_| malformed())?;
        // The password goes nowhere in the clear where the registry itself does not.
        if url.scheme() != "https" && self.base.scheme() == "https" {
            return Err(malformed());
        }
        let scope = format!("repository:{name}:pull,delete");
        let pairs = service.map(|service| ("service", service)).into_iter().chain([("scope", scope.as_str())]);
        url.query_pairs_mut().extend_pairs(pairs);
        let mut request = self.http.get(url);
        if let Some(credentials) = &self.credentials {
            request = request.header(header::AUTHORIZATION, basic(credentials).reveal());
        }
        let answer = request.send().await.map_err(|cause| self.unreachable(cause))?;
        let given = self.success(answer, &attempt)?;
        let given: Given = self.json(given, &attempt).await?.1;
        let token = given.token.or(given.access_token).ok_or_else(malformed)?;
        Ok(Secret::new(format!("Bearer {token}")))
    }

    fn unreachable(&self, cause: reqwest::Error) -> RegistryError {
        RegistryError::Unreachable { host: self.host.clone(), cause }
    }

    fn success(&self, answer: Response, attempt: &str) -> Result<Response, RegistryError> {
        let (host, attempt) = (self.host.clone(), attempt.to_owned());
        match answer.status() {
            status if status.is_success() => Ok(answer),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(RegistryError::Forbidden { host, attempt }),
            status => Err(RegistryError::Refused { host, attempt, status }),
        }
    }

    /// The answer's bytes, and what they say.
    async fn json<T: serde::de::DeserializeOwned>(
        &self,
        mut answer: Response,
        attempt: &str,
    ) -> Result<(Vec<u8>, T), RegistryError> {
        let malformed = || RegistryError::Malformed { host: self.host.clone(), attempt: attempt.to_owned() };
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|cause| self.unreachable(cause))? {
            body.extend_from_slice(&piece);
            if body.len() > MAX_ANSWER {
                return Err(malformed());
            }
        }
        let said = serde_json::from_slice(&body).map_err(|_| malformed())?;
        Ok((body, said))
    }
}

impl RegistryRepository<'_> {
    /// All of its tags; none when it is not there.
    pub async fn tags(&self) -> Result<Vec<String>, RegistryError> {
        #[derive(Deserialize)]
        struct Page {
            /// Null when the last one has been deleted.
            tags: Option<Vec<String>>,
        }
        let attempt = format!("list the tags of `{}`", self.name);
        let mut next = Some(self.url("tags/list"));
        let mut all = Vec::new();
        for _ in 0..MAX_PAGES {
            let Some(url) = next.take() else { break };
            let answer = self.ask(Method::GET, url, "application/json").await?;
            if answer.status() == StatusCode::NOT_FOUND {
                break;
            }
            let answer = self.registry.success(answer, &attempt)?;
            next = answer.headers().get(header::LINK).and_then(|link| self.next_page(link.to_str().ok()?));
            let (_, page): (_, Page) = self.registry.json(answer, &attempt).await?;
            all.extend(page.tags.unwrap_or_default());
        }
        Ok(all)
    }

    /// What is kept under the tag; none when that is no single image, or nothing any more.
    pub async fn manifest(&self, tag: &str) -> Result<Option<Manifest>, RegistryError> {
        #[derive(Deserialize)]
        struct Content {
            config: Option<Config>,
        }
        #[derive(Deserialize)]
        struct Config {
            digest: String,
        }
        let attempt = format!("show what `{}:{tag}` is", self.name);
        let answer = self.ask(Method::GET, self.url(&format!("manifests/{tag}")), MANIFESTS).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer = self.registry.success(answer, &attempt)?;
        let (body, content): (_, Content) = self.registry.json(answer, &attempt).await?;
        let image = content.config.and_then(|config| config.digest.parse().ok());
        Ok(image.map(|image| Manifest { digest: digest_of(&body), image }))
    }

    /// Removes the manifest with all of its tags; says whether it was there.
    pub async fn delete(&self, digest: &Digest) -> Result<bool, RegistryError> {
        let attempt = format!("delete `{}@{digest}`", self.name);
        let answer = self.ask(Method::DELETE, self.url(&format!("manifests/{digest}")), "*/*").await?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(false),
            StatusCode::METHOD_NOT_ALLOWED => Err(RegistryError::DeletingIsOff { host: self.registry.host.clone() }),
            _ => self.registry.success(answer, &attempt).map(|_| true),
        }
    }

    async fn ask(&self, method: Method, url: Url, accept: &str) -> Result<Response, RegistryError> {
        let mut request = self.registry.http.request(method, url).header(header::ACCEPT, accept);
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization.reveal());
        }
        request.send().await.map_err(|cause| self.registry.unreachable(cause))
    }

    fn url(&self, rest: &str) -> Url {
        let path = format!("{}/{rest}", self.name);
        self.registry.base.join(&path).expect("names of repositories and tags are plain words")
    }

    /// `</v2/dev/shop/tags/list?last=a&n=100>; rel="next"`; never on another host.
    fn next_page(&self, link: &str) -> Option<Url> {
        let (target, relation) = link.strip_prefix('<')?.split_once('>')?;
        let url = self.registry.base.join(target).ok()?;
        (relation.contains("next") && url.origin() == self.registry.base.origin()).then_some(url)
    }
}

impl Challenge {
    /// `Bearer realm="https://…",service="…"`, or `Basic realm="…"`.
    fn read(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
        let value = |name: &str| {
            let (_, after) = rest.split_once(&format!("{name}=\""))?;
            after.split('"').next().map(str::to_owned)
        };
        match kind.to_ascii_lowercase().as_str() {
            "basic" => Some(Self::Password),
            "bearer" => Some(Self::Token { realm: value("realm")?, service: value("service") }),
            _ => None,
        }
    }
}

fn basic(credentials: &Secret) -> Secret {
    use base64::Engine as _;
    Secret::new(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(credentials.reveal())))
}

/// By which a manifest is known in a registry, and an image's configuration in Docker.
pub(super) fn digest_of(content: &[u8]) -> Digest {
    let hash = Sha256::digest(content);
    let hex = hash.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    format!("sha256:{hex}").parse().expect("a SHA-256 has 64 hexadecimal digits")
}

/// One that follows nobody elsewhere: what it carries is for the registry.
fn client(host: &str, is_insecure: bool) -> reqwest::Client {
    // The error says that another provider is installed already, which will do as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let plain = || {
        reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_PATIENCE)
            .timeout(ANSWER_PATIENCE)
            .tls_danger_accept_invalid_certs(is_insecure)
    };
    let with_cas = plain().tls_certs_merge(certificates(&Path::new(CERTIFICATES).join(host))).build();
    with_cas.or_else(|_| plain().build()).expect("a client without certificates of its own is always made")
}

/// The CAs in a directory of Docker's. One that cannot be read is Docker's trouble first.
fn certificates(directory: &Path) -> Vec<reqwest::Certificate> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let is_ca = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "crt");
    let files = entries.map(|entry| entry.path()).filter(is_ca);
    let read = |path: PathBuf| reqwest::Certificate::from_pem_bundle(&std::fs::read(path).ok()?).ok();
    files.filter_map(read).flatten().collect()
}

/// The host without its port.
fn bare(host: &str) -> &str {
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|digit| digit.is_ascii_digit()));
    name.map_or(host, |(name, _)| name).trim_matches(['[', ']'])
}

async fn addresses(host: &str) -> Vec<IpAddr> {
    let found = tokio::net::lookup_host((bare(host), 0)).await;
    found.into_iter().flatten().map(|address| address.ip()).collect()
}

/// Whether Docker takes this registry without a certificate that it could verify, or without any.
fn is_insecure(host: &str, addresses: &[IpAddr], trusts: &RegistryServiceConfig) -> bool {
    let named = trusts.index_configs.as_ref().and_then(|all| all.get(host)).and_then(|index| index.secure);
    let networks = trusts.insecure_registry_cidrs.iter().flatten();
    named.map_or_else(
        || networks.filter_map(|text| network(text)).any(|network| addresses.iter().any(|ip| is_in(*ip, network))),
        |secure| !secure,
    )
}

/// `127.0.0.0/8`
fn network(text: &str) -> Option<(IpAddr, u32)> {
    let (address, length) = text.split_once('/')?;
    Some((address.parse().ok()?, length.parse().ok()?))
}

fn is_in(address: IpAddr, (network, length): (IpAddr, u32)) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let differ = address.to_bits() ^ network.to_bits();
            differ.leading_zeros() >= length
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let differ = address.to_bits() ^ network.to_bits();
            differ.leading_zeros() >= length
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bollard::models::IndexInfo;

    use super::*;

    #[test]
    fn docker_says_which_registries_need_no_certificate() {
        let named = |name: &str, secure| (name.to_owned(), IndexInfo { secure: Some(secure), ..IndexInfo::default() });
        let trusts = RegistryServiceConfig {
            insecure_registry_cidrs: Some(vec!["127.0.0.0/8".to_owned(), "fd00::/8".to_owned()]),
            index_configs: Some(HashMap::from([named("plain.example:5000", false), named("docker.io", true)])),
            ..RegistryServiceConfig::default()
        };
        for (host, address, expected) in [
            ("127.0.0.1:5000", "127.0.0.1", true),
            ("128.0.0.1:5000", "128.0.0.1", false),
            ("[fd00::1]:5000", "fd00::1", true),
            ("[fe00::1]", "fe00::1", false),
            ("plain.example:5000", "192.0.2.1", true),
            ("plain.example:5001", "192.0.2.1", false),
            ("docker.io", "127.0.0.1", false),
        ] {
            assert_eq!(is_insecure(host, &[address.parse().unwrap()], &trusts), expected, "{host}");
        }
        assert!(!is_insecure("127.0.0.1", &["127.0.0.1".parse().unwrap()], &RegistryServiceConfig::default()));
    }

    #[test]
    fn a_host_is_looked_up_without_its_port() {
        for (host, expected) in [
            ("host", "host"),
            ("host:5000", "host"),
            ("[::1]:5000", "::1"),
            ("[::1]", "::1"),
            ("127.0.0.1:1", "127.0.0.1"),
        ] {
            assert_eq!(bare(host), expected);
        }
    }

    #[test]
    fn what_a_registry_wants_to_see_is_read() {
        let token = r#"Bearer realm="https://auth.example/token",service="registry.example""#;
        let (realm, service) = ("https://auth.example/token".to_owned(), Some("registry.example".to_owned()));
        assert_eq!(Challenge::read(token), Some(Challenge::Token { realm, service }));
        assert_eq!(Challenge::read("Basic realm=\"test\""), Some(Challenge::Password));
        for other in ["Bearer", "Negotiate", ""] {
            assert_eq!(Challenge::read(other), None, "{other}");
        }
    }

    /// A registry whose token somebody else gives, which turns pages, and where deleting is off.
    async fn token_registry() -> String {
        use axum::Router;
        use axum::extract::Query;
        use axum::http::HeaderMap;
        use axum::response::IntoResponse as _;
        use axum::routing::get;

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"test\"");
        let greet = async move || (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]);
        let token = async |Query(asked): Query<HashMap<String, String>>, headers: HeaderMap| {
            let knows = headers.get(header::AUTHORIZATION).is_some_and(|value| value == "Basic cm9ib3Q6c2VjcmV0");
            let scope = asked.get("scope").is_some_and(|scope| scope == "repository:dev/shop:pull,delete");
            let is_good = knows && scope && asked.get("service").is_some_and(|service| service == "test");
            if is_good { "{\"token\":\"good\"}".into_response() } else { StatusCode::UNAUTHORIZED.into_response() }
        };
        let tags = async |Query(asked): Query<HashMap<String, String>>, headers: HeaderMap| {
            if headers.get(header::AUTHORIZATION).is_none_or(|value| value != "Bearer good") {
                return StatusCode::UNAUTHORIZED.into_response();
            }
            match asked.get("last") {
                None => ([(header::LINK, "</v2/dev/shop/tags/list?last=a>; rel=\"next\"")], "{\"tags\":[\"a\"]}")
                    .into_response(),
                Some(_) => "{\"tags\":[\"b\"]}".into_response(),
            }
        };
        let several = async || "{\"manifests\":[]}";
        let routes = Router::new()
            .route("/v2/", get(greet))
            .route("/token", get(token))
            .route("/v2/dev/shop/tags/list", get(tags))
            // To what it does not know it answers 405.
            .route("/v2/dev/shop/manifests/{name}", get(several));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        host
    }

    #[tokio::test]
    async fn a_token_is_asked_for_pages_are_turned_and_it_is_told_when_deleting_is_off() {
        let host = token_registry().await;
        let registry = RegistryApi::reach(&host, true, Some(&Secret::new("robot:secret"))).await.unwrap();
        let repository = registry.repository("dev/shop").await.unwrap();
        assert_eq!(repository.tags().await.unwrap(), ["a", "b"]);
        assert_eq!(repository.manifest("a").await.unwrap(), None, "it is a list of several");
        let off = repository.delete(&digest_of(b"")).await.unwrap_err();
        assert!(matches!(off, RegistryError::DeletingIsOff { .. }), "{off}");
        assert!(!format!("{registry:?}{repository:?}").contains("secret"));
        let refused = registry.repository("dev/other").await.unwrap_err();
        assert!(matches!(refused, RegistryError::Forbidden { .. }), "{refused}");
    }

    #[tokio::test]
    async fn a_registry_that_docker_wants_verified_is_never_asked_in_the_clear() {
        let host = token_registry().await;
        let refused = RegistryApi::reach(&host, false, Some(&Secret::new("robot:secret"))).await.unwrap_err();
        assert!(matches!(refused, RegistryError::Unreachable { .. }), "{refused}");
    }

    #[test]
    fn a_manifest_is_known_by_the_hash_of_its_bytes() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest_of(b"").as_str(), empty);
    }
}
