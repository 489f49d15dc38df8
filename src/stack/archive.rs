//! Where this host gets Debian's packages from, read from its own apt configuration: no mirror is named by us.

use std::fs;
use std::path::{Path, PathBuf};

use super::Suite;

/// Debian's archive as apt on this host reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// The mirror's URI.
    pub mirror: String,
    /// The mirror has `<suite>-updates`, too.
    pub updates: bool,
    /// Where security updates come from.
    pub security: Option<String>,
    /// What the mirror's releases are signed with, when the host says.
    pub keyring: Option<PathBuf>,
}

/// One `deb` line of a `.list`, or one stanza of a `.sources`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Entry {
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    signed_by: Option<String>,
}

impl Archive {
    /// The archive that `etc/apt` below `root` names for the suite, or for the release that the host itself runs, when
    /// that is Debian: its mirror has all of Debian's suites.
    pub fn of_host(root: &Path, suite: &Suite) -> Option<Self> {
        let entries: Vec<Entry> = source_files(&root.join("etc/apt"))
            .iter()
            .filter_map(|path| Some((path, fs::read_to_string(path).ok()?)))
            .flat_map(|(path, text)| entries(path, &text))
            .map(|entry| entry.resolved(root))
            .collect();
        let release = fs::read_to_string(root.join("etc/os-release")).unwrap_or_default();
        Self::among(&entries, suite, debian_codename(&release).as_deref())
    }

    /// A mirror that somebody named: no more is known of it than its suites, which every mirror has.
    pub fn at(mirror: String, host: Option<&Self>) -> Self {
        let security = host.and_then(|host| host.security.clone());
        Self { mirror, updates: false, security, keyring: None }
    }

    fn among(entries: &[Entry], suite: &Suite, codename: Option<&str>) -> Option<Self> {
        let mut releases = vec![suite.as_str()];
        releases.extend(codename);
        releases.extend(
            codename.is_some().then_some(["stable", "oldstable", "testing", "unstable", "sid"]).iter().flatten(),
        );
        let with = |suffix: &str| {
            releases.iter().find_map(|release| entries.iter().find(|entry| entry.offers(&format!("{release}{suffix}"))))
        };
        let main = with("")?;
        let mirror = main.uris.first()?.clone();
        Some(Self {
            updates: with("-updates").is_some_and(|entry| entry.uris.contains(&mirror)),
            security: with("-security").and_then(|entry| entry.uris.first().cloned()),
            keyring: main.signed_by.as_deref().filter(|key| key.starts_with('/')).map(PathBuf::from),
            mirror,
        })
    }

    /// The sources for apt inside of a new system of that suite; its own keyring is the standard one.
    pub fn sources(&self, suite: &Suite) -> String {
        let keyring = self.keyring.as_deref().unwrap_or(Path::new(STANDARD_KEYRING)).display();
        let stanza = |uri: &str, suites: &str| {
            format!("Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\nSigned-By: {keyring}\n")
        };
        let suites = if self.updates { format!("{suite} {suite}-updates") } else { suite.to_string() };
        let security = self.security.iter().map(|uri| stanza(uri, &format!("{suite}-security")));
        std::iter::once(stanza(&self.mirror, &suites)).chain(security).collect::<Vec<_>>().join("\n")
    }
}

/// Where Debian's own keys are, on every Debian.
const STANDARD_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

impl Entry {
    fn offers(&self, suite: &str) -> bool {
        self.suites.iter().any(|offered| offered == suite) && self.components.iter().any(|name| name == "main")
    }

    /// `mirror+file:` names a file with a list of mirrors, as cloud images have it: the first of it will do.
    fn resolved(mut self, root: &Path) -> Self {
        let resolve = |uri: &String| match uri.strip_prefix("mirror+file:") {
            None => Some(uri.clone()),
            Some(path) => {
                let list = fs::read_to_string(root.join(path.trim_start_matches('/'))).ok()?;
                let first = list.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'))?;
                first.split_whitespace().next().map(str::to_owned)
            }
        };
        self.uris = self.uris.iter().filter_map(resolve).filter(|uri| fetchable(uri)).collect();
        self
    }
}

/// What debootstrap can fetch from; a CD-ROM or apt's own mirror protocol is not for it.
fn fetchable(uri: &str) -> bool {
    ["http://", "https://", "file:"].iter().any(|scheme| uri.starts_with(scheme))
}

/// In apt's own order: the one file, then the others by name.
fn source_files(apt: &Path) -> Vec<PathBuf> {
    let mut parts: Vec<PathBuf> = fs::read_dir(apt.join("sources.list.d"))
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|kind| kind == "list" || kind == "sources"))
        .collect();
    parts.sort();
    std::iter::once(apt.join("sources.list")).chain(parts).collect()
}

fn entries(path: &Path, text: &str) -> Vec<Entry> {
    if path.extension().is_some_and(|kind| kind == "sources") { stanzas(text) } else { one_liners(text) }
}

/// `deb [option=value …] uri suite component…`
fn one_liners(text: &str) -> Vec<Entry> {
    text.lines().filter_map(|line| one_liner(line.split('#').next().unwrap_or_default())).collect()
}

fn one_liner(line: &str) -> Option<Entry> {
    let rest = line.trim().strip_prefix("deb")?;
    let rest = rest.strip_prefix(char::is_whitespace)?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(Entry {
        uris: vec![words.next()?],
        suites: vec![words.next()?],
        components: words.collect(),
        signed_by: signed_by.map(str::to_owned),
    })
}

/// Stanzas of `Name: value` lines, separated by empty ones; a line that begins with a space goes on with the last.
fn stanzas(text: &str) -> Vec<Entry> {
    let mut fields: Vec<(String, String)> = Vec::new();
    let mut found = Vec::new();
    for line in text.lines().chain([""]) {
        if line.trim().is_empty() {
            found.extend(stanza(&std::mem::take(&mut fields)));
        } else if line.starts_with('#') {
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    found
}

fn stanza(fields: &[(String, String)]) -> Option<Entry> {
    let field = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let words = |name: &str| field(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let enabled = !matches!(field("enabled"), Some("no" | "false" | "0"));
    (enabled && words("types").iter().any(|kind| kind == "deb")).then(|| Entry {
        uris: words("uris"),
        suites: words("suites"),
        components: words("components"),
        signed_by: field("signed-by").map(str::to_owned),
    })
}

/// The release that the host runs, when it is Debian; another distribution's mirror has no Debian.
fn debian_codename(os_release: &str) -> Option<String> {
    let value = |name: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    (value("ID")? == "debian").then(|| value("VERSION_CODENAME"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite(name: &str) -> Suite {
        name.parse().unwrap()
    }

    /// A host whose `etc` has these files.
    fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join("etc").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const SOURCES: &str = "\
# the archive
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
 contrib
Signed-By: /usr/share/keyrings/example.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
";
    const DEBIAN_13: &str = "ID=debian\nVERSION_CODENAME=trixie\n";

    #[test]
    fn stanzas_name_the_mirror_its_updates_and_the_security_archive() {
        let root = host(&[("apt/sources.list.d/debian.sources", SOURCES)]);
        let expected = Archive {
            mirror: "http://mirror.example/debian".to_owned(),
            updates: true,
            security: Some("http://mirror.example/debian-security".to_owned()),
            keyring: Some(PathBuf::from("/usr/share/keyrings/example.gpg")),
        };
        assert_eq!(Archive::of_host(root.path(), &suite("bookworm")), Some(expected));
    }

    #[test]
    fn one_line_sources_are_read_too_with_options_and_comments() {
        let list = "# deb http://no.example/debian bookworm main\n\
                    deb-src http://src.example/debian bookworm main\n\
                    deb cdrom:[Debian]/ bookworm main\n\
                    deb [arch=amd64 signed-by=/keys/a.gpg] http://one.example/debian bookworm main contrib # near\n";
        let found = one_liners(list);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].uris, ["http://one.example/debian"]);
        assert_eq!(found[1].components, ["main", "contrib"]);
        assert_eq!(found[1].signed_by.as_deref(), Some("/keys/a.gpg"));
    }

    #[test]
    fn a_third_partys_sources_are_not_taken_for_debian() {
        let other = "Types: deb\nURIs: http://other.example/node\nSuites: nodistro\nComponents: main\n";
        let root = host(&[("apt/sources.list.d/a.sources", other), ("apt/sources.list.d/debian.sources", SOURCES)]);
        let found = Archive::of_host(root.path(), &suite("bookworm")).unwrap();
        assert_eq!(found.mirror, "http://mirror.example/debian");
        let root = host(&[("apt/sources.list.d/a.sources", other), ("os-release", DEBIAN_13)]);
        assert_eq!(Archive::of_host(root.path(), &suite("bookworm")), None);
    }

    #[test]
    fn a_debian_of_another_release_has_a_mirror_with_all_suites() {
        let list = "deb http://mirror.example/debian trixie main\n\
                    deb http://mirror.example/debian-security trixie-security main\n";
        let root = host(&[("apt/sources.list", list), ("os-release", DEBIAN_13)]);
        let found = Archive::of_host(root.path(), &suite("bookworm")).unwrap();
        assert_eq!((found.mirror.as_str(), found.updates), ("http://mirror.example/debian", false));
        assert!(found.security.is_some());
        let root = host(&[("apt/sources.list", list), ("os-release", "ID=ubuntu\nVERSION_CODENAME=trixie\n")]);
        assert_eq!(Archive::of_host(root.path(), &suite("bookworm")), None);
    }

    #[test]
    fn a_list_of_mirrors_stands_for_its_first() {
        let sources =
            "Types: deb\nURIs: mirror+file:///etc/apt/mirrors/debian.list\nSuites: bookworm\nComponents: main\n";
        let list = "# mirrors\nhttps://first.example/debian\tpriority:1\nhttps://second.example/debian\n";
        let root = host(&[("apt/sources.list.d/debian.sources", sources), ("apt/mirrors/debian.list", list)]);
        let found = Archive::of_host(root.path(), &suite("bookworm")).unwrap();
        assert_eq!(found.mirror, "https://first.example/debian");
    }

    #[test]
    fn what_is_switched_off_is_not_used() {
        let root = host(&[("apt/sources.list.d/debian.sources", &SOURCES.replace("Types:", "Enabled: no\nTypes:"))]);
        assert_eq!(Archive::of_host(root.path(), &suite("bookworm")), None);
        assert_eq!(Archive::of_host(host(&[]).path(), &suite("bookworm")), None);
    }

    #[test]
    fn the_new_system_gets_its_sources_from_the_same_places() {
        let root = host(&[("apt/sources.list.d/debian.sources", SOURCES)]);
        let archive = Archive::of_host(root.path(), &suite("bookworm")).unwrap();
        let text = archive.sources(&suite("bookworm"));
        let again = stanzas(&text);
        assert_eq!(again[0].suites, ["bookworm", "bookworm-updates"]);
        assert_eq!(again[1].uris, ["http://mirror.example/debian-security"]);
        let named = Archive::at("http://near.example/debian".to_owned(), Some(&archive));
        assert_eq!(stanzas(&named.sources(&suite("trixie")))[1].suites, ["trixie-security"]);
    }
}
