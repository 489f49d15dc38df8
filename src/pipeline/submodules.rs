//! Submodules: what a build fetches, from where it may, and how its script is told.
//!
//! Which they are is decided here, from the tree and its `.gitmodules`; they are fetched in the build's container, by
//! `builder.sh`, and never on this host.

use std::path::PathBuf;
use std::str::FromStr;

use crate::git::Gitlink;
use crate::model::{CommitId, HttpsHost};

/// Far more than people have; each is fetched by itself.
const MOST: usize = 100;
/// Longest address.
const MAX_URL_BYTES: usize = 2048;
/// How to do without.
const OR_ELSE: &str = "commit its files here, or name it in .slugignore if the app does without";

/// A submodule that a build fetches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Submodule {
    path: SubmodulePath,
    url: SubmoduleUrl,
    commit: CommitId,
}

/// Why a submodule is not fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmoduleError {
    #[error(
        "{} is a submodule, whose files are not in this repository, and no host is set to fetch it from: {OR_ELSE}, or \
         have the platform's operator name its host in build.submodule_hosts",
        super::source::named(.0)
    )]
    NotFetched(Vec<PathBuf>),
    #[error("{} is a submodule, which the build of a Dockerfile does not get: {OR_ELSE}", super::source::named(.0))]
    ByDockerfile(Vec<PathBuf>),
    #[error("there are more than {MOST} submodules, which no build fetches: commit their files here")]
    TooMany,
    #[error("a submodule is at {}, a path of control characters, `.git` or bytes that are no UTF-8: move it", super::source::named(std::slice::from_ref(.0)))]
    Path(PathBuf),
    #[error("`{path}` is a submodule, and .gitmodules does not say where it is from: add it there, or {OR_ELSE}")]
    Nowhere { path: String },
    #[error("the submodule `{path}` is {cause}; {OR_ELSE}")]
    Url { path: String, cause: InvalidSubmoduleUrl },
    #[error(
        "the submodule `{path}` is at {host}, from where nothing is fetched: {OR_ELSE}, or have the platform's operator \
         name {host} in build.submodule_hosts"
    )]
    Host { path: String, host: HttpsHost },
}

/// What the build is to fetch, when it may fetch all of it.
pub(super) fn to_fetch(
    links: Vec<Gitlink>,
    hosts: &[HttpsHost],
    mut url_of: impl FnMut(&Gitlink) -> Option<Vec<u8>>,
) -> Result<Vec<Submodule>, SubmoduleError> {
    if links.is_empty() {
        return Ok(Vec::new());
    }
    if hosts.is_empty() {
        return Err(SubmoduleError::NotFetched(links.into_iter().map(|link| link.path).collect()));
    }
    if links.len() > MOST {
        return Err(SubmoduleError::TooMany);
    }
    links.into_iter().map(|link| submodule(url_of(&link), link, hosts)).collect()
}

fn submodule(url: Option<Vec<u8>>, link: Gitlink, hosts: &[HttpsHost]) -> Result<Submodule, SubmoduleError> {
    let path = SubmodulePath::read(link.path)?;
    let Some(url) = url else { return Err(SubmoduleError::Nowhere { path: path.0 }) };
    let url = match String::from_utf8_lossy(&url).parse::<SubmoduleUrl>() {
        Ok(url) => url,
        Err(cause) => return Err(SubmoduleError::Url { path: path.0, cause }),
    };
    if hosts.contains(&url.host) {
        Ok(Submodule { path, url, commit: link.commit })
    } else {
        Err(SubmoduleError::Host { path: path.0, host: url.host })
    }
}

/// The list that the build's script reads: three lines for each, of which none can hold a newline.
pub(super) fn list(submodules: &[Submodule]) -> String {
    let lines = |Submodule { path, url, commit }: &Submodule| format!("{}\n{}\n{commit}\n", path.0, url.text);
    submodules.iter().map(lines).collect()
}

/// Where a tree has a submodule: below its root, in no `.git`, and a line of text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SubmodulePath(String);

impl SubmodulePath {
    fn read(path: PathBuf) -> Result<Self, SubmoduleError> {
        let is_name = |part: &str| !matches!(part, "" | "." | "..") && !part.eq_ignore_ascii_case(".git");
        let good = |text: &&str| text.split('/').all(is_name) && !text.contains(char::is_control);
        match path.to_str().filter(good) {
            Some(text) => Ok(Self(text.to_owned())),
            None => Err(SubmoduleError::Path(path)),
        }
    }
}

/// An address of `https://`, written so plainly that nobody reads another host out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SubmoduleUrl {
    text: String,
    host: HttpsHost,
}

/// Why an address is none to fetch from. What is quoted of it never holds a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSubmoduleUrl {
    #[error(
        "at an address relative to this repository's, where no build reaches anything: give it as https://… in .gitmodules"
    )]
    Relative,
    #[error("at {host}, by other means than https: give its address as https://… in .gitmodules")]
    OtherScheme { host: String },
    #[error(
        "at {host} by an address with a user or password in it, which is no place for one: take that out of .gitmodules"
    )]
    UserInfo { host: String },
    #[error("at an address that is no plain https://host/path: change it in .gitmodules")]
    NotPlain,
}

impl FromStr for SubmoduleUrl {
    type Err = InvalidSubmoduleUrl;
    fn from_str(text: &str) -> Result<Self, InvalidSubmoduleUrl> {
        if text.starts_with("./") || text.starts_with("../") {
            return Err(InvalidSubmoduleUrl::Relative);
        }
        let Some(rest) = text.strip_prefix("https://") else {
            return Err(InvalidSubmoduleUrl::OtherScheme { host: apparent_host(text) });
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.contains('@') {
            return Err(InvalidSubmoduleUrl::UserInfo { host: apparent_host(text) });
        }
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/._~+,=:@%-".contains(&b);
        let host = host.parse().map_err(|_| InvalidSubmoduleUrl::NotPlain)?;
        if path.is_empty() || text.len() > MAX_URL_BYTES || !path.bytes().all(is_plain) {
            return Err(InvalidSubmoduleUrl::NotPlain);
        }
        Ok(Self { text: text.to_owned(), host })
    }
}

/// What a person takes for the host of an address that is none of ours: of `ssh://git@host/x`, `git@host:x`, `file:///x`.
fn apparent_host(text: &str) -> String {
    let (_, rest) = text.split_once("://").unwrap_or(("", text));
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host: String =
        host.split(':').next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(60).collect();
    if host.is_empty() { "no host".to_owned() } else { format!("`{host}`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "3f2c1ab000000000000000000000000000000000";

    /// What becomes of one submodule, where `git.example.org` and one more are allowed.
    fn fetched(path: &str, url: &str) -> Result<String, String> {
        let hosts = ["git.example.org".parse().unwrap(), "other.example:8443".parse().unwrap()];
        let link = Gitlink { path: path.into(), commit: COMMIT.parse().unwrap() };
        let found = to_fetch(vec![link], &hosts, |_| Some(url.as_bytes().to_vec()));
        found.map(|submodules| list(&submodules)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_at_an_allowed_host_is_listed_as_the_script_reads_it() {
        let listed = fetched("vendor/a b", "https://git.example.org/team/theme.git").unwrap();
        assert_eq!(listed, format!("vendor/a b\nhttps://git.example.org/team/theme.git\n{COMMIT}\n"));
        assert!(fetched("-x", "https://GIT.example.org:443/a%20b").is_ok());
        assert!(fetched("x", "https://other.example:8443/a").is_ok());
    }

    #[test]
    fn every_other_address_is_refused_with_its_host_and_what_to_do() {
        for (url, host) in [
            ("https://evil.example/x", "evil.example"),
            ("https://git.example.org.evil.example/x", "git.example.org.evil.example"),
            ("https://git.example.org:8443/x", "git.example.org:8443"),
            ("https://other.example/x", "other.example"),
            ("http://git.example.org/x", "git.example.org"),
            ("HTTPS://git.example.org/x", "git.example.org"),
            ("git://git.example.org/x", "git.example.org"),
            ("ssh://git@git.example.org:22/x", "git.example.org"),
            ("git@git.example.org:team/x.git", "git.example.org"),
            ("ext::sh -c evil", "ext"),
            ("file:///etc", "no host"),
            ("/srv/git/x", "no host"),
            ("https://user:secret@git.example.org/x", "git.example.org"),
            ("https://git.example.org@evil.example/x", "evil.example"),
        ] {
            let refused = fetched("theme", url).unwrap_err();
            assert!(refused.contains(host) && refused.contains("`theme`"), "{url}: {refused}");
            assert!(refused.contains(".slugignore") && !refused.contains("secret"), "{url}: {refused}");
            assert!(refused.len() < 280, "it has to fit into git's line: {refused}");
        }
        for url in [
            "",
            "../theme.git",
            "./theme",
            "https://",
            "https://git.example.org",
            "https://git.example.org/",
            "https:///x",
            "https://git.example.org\\@evil.example/x",
            "https://git.example.org/x\nhttps://evil.example/y",
            "https://git.example.org/x?y",
            "https://git.example.org/x#y",
            "https://git.example.org/x y",
            "https://[::1]/x",
            "https://git.example.org\t/x",
            "https://git.example.org:/x",
            "https://git.example.org/d\u{fc}rr",
            "--upload-pack=x",
            &format!("https://git.example.org/{}", "x".repeat(MAX_URL_BYTES)),
        ] {
            assert!(fetched("theme", url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_path_that_leads_elsewhere_or_is_no_line_is_refused() {
        for path in ["../x", "/x", "a/../b", "a//b", "./a", ".git/x", "a/.GIT", "a\nb", "a\u{7f}", ""] {
            let refused = fetched(path, "https://git.example.org/x").unwrap_err();
            assert!(refused.starts_with("a submodule is at "), "{path:?}: {refused}");
        }
    }

    #[test]
    fn without_an_allowed_host_or_an_address_nothing_is_fetched() {
        let link = |n: usize| Gitlink { path: format!("m{n}").into(), commit: COMMIT.parse().unwrap() };
        let refused = to_fetch(vec![link(0), link(1)], &[], |_| None).unwrap_err().to_string();
        assert!(refused.starts_with("`m0` (and 1 more at least) is a submodule"), "{refused}");
        assert!(refused.contains("build.submodule_hosts"), "{refused}");
        let hosts = ["git.example.org".parse().unwrap()];
        let nowhere = to_fetch(vec![link(0)], &hosts, |_| None).unwrap_err();
        assert_eq!(nowhere, SubmoduleError::Nowhere { path: "m0".to_owned() });
        let many = to_fetch((0..=MOST).map(link).collect(), &hosts, |_| None).unwrap_err();
        assert_eq!(many, SubmoduleError::TooMany);
    }
}
