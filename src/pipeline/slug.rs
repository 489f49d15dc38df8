//! What a slug is known by: its content key, and the store's memory of what was built for it.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::model::{AppName, ImageId, ProcessType, TenantName};

/// The hash of all that decides what a build makes: the tree, the builder, and the build's settings.
/// Equal keys, equal slugs: the second push of a tree builds nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct SlugKey(String);

/// What of `paas.yml` goes into the build.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BuildInput {
    pub env: BTreeMap<String, String>,
    pub buildpacks: Vec<String>,
}

/// Changes whenever builds come to be made differently, so that no slug of the old way is taken for one of the new.
const SCHEME: &str = "paas-slug-2";
/// The same for builds of Dockerfiles.
const DOCKERFILE_SCHEME: &str = "paas-slug-dockerfile-1";

impl SlugKey {
    /// Of what a builder makes.
    pub fn of(tree: &str, builder: &ImageId, input: &BuildInput) -> Self {
        let count = input.env.len().to_string();
        let mut parts = vec![SCHEME, tree, builder.as_str(), &count];
        for (name, value) in &input.env {
            parts.extend([name.as_str(), value.as_str()]);
        }
        parts.extend(input.buildpacks.iter().map(String::as_str));
        Self::of_parts(&parts)
    }

    /// Of a Dockerfile, by its path and the stage that is wanted. `bases` are the images that it names, as far as they
    /// are known.
    pub fn of_dockerfile(
        tree: &str,
        path: &str,
        target: Option<&str>,
        bases: &BTreeMap<String, Option<ImageId>>,
        arguments: &BTreeMap<String, String>,
    ) -> Self {
        let mut parts = vec![DOCKERFILE_SCHEME, tree, path, target.unwrap_or_default()];
        let (base_count, argument_count) = (bases.len().to_string(), arguments.len().to_string());
        parts.push(&base_count);
        for (name, id) in bases {
            parts.extend([name.as_str(), id.as_ref().map_or("", ImageId::as_str)]);
        }
        parts.push(&argument_count);
        for (name, value) in arguments {
            parts.extend([name.as_str(), value.as_str()]);
        }
        Self::of_parts(&parts)
    }

    /// Every part goes in with its length before it, so that no two inputs run into the same bytes.
    fn of_parts(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hex(&hash.finalize()))
    }

    /// As it stands in an image's label.
    pub fn labelled(text: &str) -> Option<Self> {
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        (text.len() == 64 && is_hex).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// Enough of it to tell slugs apart; the tag of a published one.
    pub fn short(&self) -> &str {
        self.0.get(..16).unwrap_or(&self.0)
    }
}
impl fmt::Display for SlugKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// A text's SHA-256, in hexadecimal digits.
pub(super) fn hash(text: &str) -> String {
    hex(&Sha256::digest(text))
}

impl BuildInput {
    /// What the builder finds as files: the variables, and the buildpacks as buildstep takes them.
    pub(super) fn settings(&self) -> BTreeMap<String, String> {
        let mut settings = self.env.clone();
        if !self.buildpacks.is_empty() {
            settings.insert("BUILDPACK_URL".to_owned(), self.buildpacks.join("\n"));
        }
        settings
    }
}

/// What the store remembers of a key: at most one slug per tenant, the last that it built itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct KnownSlugs(Vec<KnownSlug>);

/// One build's outcome.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct KnownSlug {
    pub tenant: TenantName,
    /// Whose build it was: people are told where the slug came from.
    pub app: AppName,
    pub build: u32,
    pub image: ImageId,
    /// Process types that the buildpack gives when the source names none, with their commands.
    pub default_processes: BTreeMap<ProcessType, String>,
    /// Since when it is about to be removed, and no push takes it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub struck: Option<Timestamp>,
}

impl KnownSlugs {
    /// Those that can be taken, the tenant's own first.
    pub(super) fn for_tenant(&self, tenant: &TenantName) -> impl Iterator<Item = &KnownSlug> {
        let there = self.0.iter().filter(|slug| slug.struck.is_none());
        let (own, others): (Vec<_>, Vec<_>) = there.partition(|slug| slug.tenant == *tenant);
        own.into_iter().chain(others)
    }
    pub(super) fn iter(&self) -> impl Iterator<Item = &KnownSlug> {
        self.0.iter()
    }
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// What `change` makes of each; none is forgotten.
    #[must_use]
    pub(super) fn changed(&self, change: impl Fn(KnownSlug) -> Option<KnownSlug>) -> Self {
        Self(self.0.iter().cloned().filter_map(change).collect())
    }
    /// The new one takes the place of the tenant's old one.
    #[must_use]
    pub(super) fn with(mut self, slug: KnownSlug) -> Self {
        self.0.retain(|known| known.tenant != slug.tenant);
        self.0.push(slug);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder(digit: &str) -> ImageId {
        format!("sha256:{}", digit.repeat(64)).parse().unwrap()
    }
    fn env(pairs: &[(&str, &str)]) -> BuildInput {
        let env = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        BuildInput { env, buildpacks: Vec::new() }
    }

    #[test]
    fn the_same_tree_builder_and_settings_give_the_same_key() {
        let key = || SlugKey::of("4b825dc", &builder("a"), &env(&[("A", "1"), ("B", "2")]));
        assert_eq!(key(), key());
        assert_eq!(key().as_str().len(), 64);
    }

    #[test]
    fn whatever_changes_the_build_changes_the_key() {
        let buildpack = BuildInput { buildpacks: vec!["A1".into()], ..BuildInput::default() };
        let keys = [
            SlugKey::of("4b825dc", &builder("a"), &env(&[])),
            SlugKey::of("4b825dd", &builder("a"), &env(&[])),
            SlugKey::of("4b825dc", &builder("b"), &env(&[])),
            SlugKey::of("4b825dc", &builder("a"), &env(&[("A", "1")])),
            SlugKey::of("4b825dc", &builder("a"), &env(&[("A1", "")])),
            SlugKey::of("4b825dc", &builder("a"), &env(&[("", "A1")])),
            SlugKey::of("4b825dc", &builder("a"), &buildpack),
        ];
        let distinct: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }

    #[test]
    fn whatever_changes_the_build_of_a_dockerfile_changes_the_key() {
        let base = |name: &str, digit: Option<&str>| BTreeMap::from([(name.to_owned(), digit.map(builder))]);
        let some = base("a", Some("1"));
        let (none, one) = (BTreeMap::new(), env(&[("A", "1")]).env);
        let of = |tree, path, target, bases, arguments| SlugKey::of_dockerfile(tree, path, target, bases, arguments);
        let keys = [
            of("4b", "Dockerfile", None, &some, &none),
            of("4c", "Dockerfile", None, &some, &none),
            of("4b", "other", None, &some, &none),
            of("4b", "Dockerfile", Some("prod"), &some, &none),
            of("4b", "Dockerfile", None, &base("a", Some("2")), &none),
            of("4b", "Dockerfile", None, &base("a", None), &none),
            of("4b", "Dockerfile", None, &base("b", Some("1")), &none),
            of("4b", "Dockerfile", None, &some, &one),
        ];
        let distinct: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }

    #[test]
    fn buildpacks_are_given_to_the_builder_as_a_setting() {
        let input =
            BuildInput { buildpacks: vec!["https://a.example/b#v3".into(), "python".into()], ..env(&[("A", "1")]) };
        assert_eq!(input.settings()["BUILDPACK_URL"], "https://a.example/b#v3\npython");
        assert_eq!(env(&[("A", "1")]).settings().len(), 1);
    }

    #[test]
    fn a_tenant_is_given_its_own_slug_before_those_of_others() {
        let slug = |tenant: &str, build| KnownSlug {
            tenant: tenant.parse().unwrap(),
            app: "shop".parse().unwrap(),
            build,
            image: builder("c"),
            default_processes: BTreeMap::new(),
            struck: None,
        };
        let known = KnownSlugs::default().with(slug("dev", 1)).with(slug("prod", 1)).with(slug("dev", 2));
        let given = |known: &KnownSlugs, tenant: &str| {
            let tenant = tenant.parse().unwrap();
            let all = known.for_tenant(&tenant).map(|slug| format!("{}{}", slug.tenant, slug.build));
            all.collect::<Vec<_>>()
        };
        assert_eq!(given(&known, "dev"), ["dev2", "prod1"]);
        assert_eq!(given(&known, "prod"), ["prod1", "dev2"]);
        assert_eq!(given(&known, "test").len(), 2);
        let struck = known.changed(|slug| Some(KnownSlug { struck: Some(Timestamp::UNIX_EPOCH), ..slug }));
        assert!(given(&struck, "dev").is_empty(), "they are about to be removed");
        assert_eq!(given(&struck.with(slug("dev", 3)), "dev"), ["dev3"], "it was built anew");
    }
}
