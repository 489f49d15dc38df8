//! A public SSH key that was given as text, checked once.

use std::fmt;

use ssh_key::HashAlg;
use ssh_key::public::KeyData;

use crate::model::Fingerprint;

/// Longest text that is looked at. The largest key OpenSSH takes (RSA, 16 384 bits) needs 2.8 KiB.
pub const MAX_KEY_BYTES: usize = 16 * 1024;
/// Longest comment; it is shown in tables and means nothing.
pub const MAX_COMMENT_BYTES: usize = 256;
/// Shorter RSA keys can be broken; OpenSSH itself refuses them by default only below 1024.
pub const MIN_RSA_BITS: usize = 2048;

/// The types of key that sshd and this platform both take.
const TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// One public key: its type, its data in base64 and its comment, written anew from what was parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// Type and data, as they stand in a line of authorized keys.
    line: String,
    comment: String,
    fingerprint: Fingerprint,
}

/// Why a text is no key that may be registered; each says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    #[error(
        "there is no key: the text is empty; give the one line of a public key file such as `~/.ssh/id_ed25519.pub`"
    )]
    Empty,
    #[error(
        "the text is longer than any public key: give the one line of a file that ends in `.pub`, at most {MAX_KEY_BYTES} bytes"
    )]
    TooLong,
    #[error(
        "the text is no public key: it holds bytes that are no text; give the one line of a file that ends in `.pub`"
    )]
    NotText,
    #[error("this is a private key, which must never leave its machine; give the file beside it that ends in `.pub`")]
    Private,
    #[error("this key is in a format that OpenSSH does not use for users' keys; `ssh-keygen -i -f FILE` converts it")]
    OtherFormat,
    #[error("there are {lines} lines; give one key at a time, on one line")]
    SeveralLines { lines: usize },
    #[error("there is something before the key's type, such as options; give the key alone, from `{key_type}` on")]
    Options { key_type: String },
    #[error("this is a certificate; give the public key that it was made for, the file whose name has no `-cert`")]
    Certificate,
    #[error(
        "this is a DSA key, which is too weak and which OpenSSH no longer takes; `ssh-keygen -t ed25519` makes a good key"
    )]
    Dsa,
    #[error(
        "this is an RSA key of {bits} bits, which is too weak: at least {MIN_RSA_BITS} are needed; `ssh-keygen -t ed25519` makes a good key"
    )]
    WeakRsa { bits: usize },
    #[error("`{found}` is no type of public key; a key begins with one of {known}", known = TYPES.join(", "))]
    UnknownType { found: String },
    #[error("the key's data is damaged; copy the whole line of the `.pub` file again")]
    Damaged(#[source] ssh_key::Error),
    #[error("the key's comment has {bytes} bytes, at most {MAX_COMMENT_BYTES} are kept; shorten what follows the key")]
    LongComment { bytes: usize },
}

impl PublicKey {
    /// Reads a key as somebody gave it: the content of a `.pub` file, from anywhere.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidKey> {
        if text.len() > MAX_KEY_BYTES {
            return Err(InvalidKey::TooLong);
        }
        let text = std::str::from_utf8(text).map_err(|_| InvalidKey::NotText)?;
        let line = one_line(text.trim())?;
        let (key_type, rest) = split_word(line);
        check_type(key_type, rest)?;
        let (data, comment) = split_word(rest);
        let comment = comment.trim();
        if comment.len() > MAX_COMMENT_BYTES {
            return Err(InvalidKey::LongComment { bytes: comment.len() });
        }
        Ok(Self::from_parts(key_type, data)?.with_comment(comment))
    }

    /// Reads a key as sshd gives it: type and data apart.
    pub fn from_parts(key_type: &str, data: &str) -> Result<Self, InvalidKey> {
        check_type(key_type, "")?;
        let key = ssh_key::PublicKey::from_openssh(&format!("{key_type} {data}")).map_err(InvalidKey::Damaged)?;
        check_strength(key.key_data())?;
        let line = key.to_openssh().map_err(InvalidKey::Damaged)?;
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        let fingerprint = fingerprint.parse().expect("SHA-256 is 43 digits of base64, which is what a fingerprint is");
        Ok(Self { line, comment: String::new(), fingerprint })
    }

    fn with_comment(self, comment: &str) -> Self {
        Self { comment: comment.chars().filter(|c| !is_unprintable(*c)).collect(), ..self }
    }

    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// `ssh-ed25519` and the like.
    pub fn key_type(&self) -> &str {
        split_word(&self.line).0
    }

    /// What its owner wrote behind it, often `user@machine`; nothing to rely on. Control characters are left out.
    pub fn comment(&self) -> &str {
        &self.comment
    }
}

/// Type and data, without the comment: what belongs in a line of authorized keys.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

/// Control characters, and those by which Unicode ends lines or turns the direction of writing.
pub(super) fn is_unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn one_line(text: &str) -> Result<&str, InvalidKey> {
    if text.is_empty() {
        return Err(InvalidKey::Empty);
    }
    if text.starts_with("----") || text.starts_with("PuTTY-User-Key-File") {
        let private = text.contains("PRIVATE KEY") || text.contains("Private-Lines");
        return Err(if private { InvalidKey::Private } else { InvalidKey::OtherFormat });
    }
    let lines = text.split(['\n', '\r', '\0']).filter(|line| !line.trim().is_empty()).count();
    if lines == 1 && !text.contains(['\n', '\r', '\0']) { Ok(text) } else { Err(InvalidKey::SeveralLines { lines }) }
}

/// The first word, and what follows it.
fn split_word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    (word, rest.trim_start())
}

fn check_type(key_type: &str, rest: &str) -> Result<(), InvalidKey> {
    if TYPES.contains(&key_type) {
        return Ok(());
    }
    if key_type == "ssh-dss" {
        return Err(InvalidKey::Dsa);
    }
    if key_type.ends_with("-cert-v01@openssh.com") {
        return Err(InvalidKey::Certificate);
    }
    // Options may hold spaces in quotes, so the type may be any later word.
    if let Some(found) = rest.split([' ', '\t']).find(|word| TYPES.contains(word)) {
        return Err(InvalidKey::Options { key_type: found.to_owned() });
    }
    // What is quoted back is cut and escaped: it may be hostile, and it goes to a terminal.
    Err(InvalidKey::UnknownType { found: key_type.chars().take(40).flat_map(char::escape_debug).collect() })
}

fn check_strength(key: &KeyData) -> Result<(), InvalidKey> {
    match key {
        KeyData::Dsa(_) => Err(InvalidKey::Dsa),
        KeyData::Rsa(rsa) => {
            let bits = rsa.n.as_positive_bytes().map_or(0, bit_length);
            if bits < MIN_RSA_BITS { Err(InvalidKey::WeakRsa { bits }) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

/// Of a number in big-endian bytes.
fn bit_length(number: &[u8]) -> usize {
    let significant = &number[number.iter().take_while(|byte| **byte == 0).count()..];
    significant.first().map_or(0, |first| significant.len() * 8 - first.leading_zeros() as usize)
}

#[cfg(test)]
pub(crate) mod samples {
    //! Public keys that OpenSSH made for these tests; their private halves are gone.

    pub(crate) const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAfklVsOshWl4wrcSaY2kFFYiR3zuDaqSQzeHdNF3939 alice@laptop";
    pub(crate) const ED25519_FINGERPRINT: &str = "SHA256:YOhUsXkRX/S81/070Jm1209HfpFzWfe4RxWt3W8k6io";
    pub(crate) const P256: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEyiBsElwHs1hFFRWjvbG22IXKmwivBFOBM8jSzXYBGPv/Cu25SFuH9V/lumhZEDswp/r88qZq1kvVx7rhP3giQ=";
    pub(crate) const P384: &str = "ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBBtH0UxNaygRxVPLDrWU2eG+zE24VXqZRtMqB3LMH+BSVHUGKb4aLphSDsBPmXWRen+yfmkAHtZpzE/3tx8LQiuZ8UA+NlXUESFV6XfMxQEXgaqtYflk2mLbKv/ZViOKiA==";
    pub(crate) const P521: &str = "ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBACvNFMDwhji8LSx+8fhe8B1oxfYMYbEvgdNYtXaOSozQrF7ng8UM4LZM9NqzYoP9pQGRpraTxy1tNSJMO/GegifCQGe7+Ue1FpVfeoK8IaeOS1xYMQJbgHvgrho4QbDolCjyT5kffRbopnJZym7icy3wLwzPl0QDHxX7Wqj6jknrvSxWQ==";
    pub(crate) const RSA_2048: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCxsFP7B6BjOuNt9Qx+A16xG6X9APsqHPJ9z+VK76tJRghCpoHm0EaANxO3G+i95kmukZs2k4S8ffHWY9hSxF9tRC+3unLLhbcxooYQipS0E4nLZPK5oVcImcexxd01K9GQiqpqa7nLHS9bD2RD8yQRdKh/xEjM500eNMzkhF+MXJkIz9t+um079+uVPXUDKQzW+6S+f6kG8qG9SYNiTNZITrEKNggh04Cz18YlHwIEtXgNXr9HHOXj3DRjvCJkOAN5fmJEdzseoxwzj2+yiN3zuXA/n9LB0TMhMJf5jK4GfYNegC7SW9cLoR5FcrIXIO9HQ1N6u/KOTha8/vFJuvZB";
    pub(crate) const RSA_1024: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQChMAogM9+t1hdpMXL23IdCOhY0DcKebM5Px/GjJUo/La5QAFwQzLYemhXfRetkbpdvyvdqdZri6/oOzJVoPBocR7YhiIIovq/zdI6PpzKRAT6iPWOC+BAGieQoPyenKp8ryd8fLBAB6tpDFgfHh1SmDikUrrwJaRRcPduAj2N5kQ==";
    pub(crate) const DSA: &str = "ssh-dss AAAAB3NzaC1kc3MAAACBAJFaRH9q1ZpR70udVqRG/Uzhgwobs7AjfR9JXrzqt3m8FX8WIdaBYQ1DFajHiDSjyN8gNNge+OlUZu5V6gqzCUMVKZiD873FIThc0wMVp7IVKI3NKEsjak7jFvqR7Z2kRoQIhw0brHMazJRHEmqPixhzU9ox3XrNsuF5l0TyEtebAAAAFQDR93dH6Vn2pYcpQqmaGtzn0Wn3IwAAAIBZS2chK0AOULvy9D4pAjSZuG15apDRxTPLTaiqqO5pTo6PFD1zrt28k5kqpJqHWObN6L8OwJS9a3J+QkdjuIUbMyEzHuo3989iOg4lO8zRhaIWiA6ygWwT/Pu1jhK5fXFqU6djxBa3wLBo89pqf0xe99G4ZyPWJSje8qBxF4RfkQAAAIA8EL3Si6DAPmtmOsypoimvamvwRY9wutS5CqooQS4Kcnq57dch8+4rMSiNtmZeTQK8JnuxBT8jQEcrfD/JnW3WoBBbYjrGhVEZ4idGAPCDjJSwUwNz6XARMuDt0WguvZ1eAop5B8uaoh8VCfVmttGhvlUxXDE5gRRL+mFED4ugnw== alice@laptop";
    pub(crate) const CERTIFICATE: &str = "ssh-rsa-cert-v01@openssh.com AAAAHHNzaC1yc2EtY2VydC12MDFAb3BlbnNzaC5jb20AAAAgGbefn2Z5bo4uPP1D4+9txAVnq2eUTgLLMVry7bg+vwo alice@laptop";
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::samples::{CERTIFICATE, DSA, ED25519, ED25519_FINGERPRINT, P256, P384, P521, RSA_1024, RSA_2048};
    use super::*;

    fn parse(text: &str) -> Result<PublicKey, InvalidKey> {
        PublicKey::parse(text.as_bytes())
    }

    /// The wire form of strings, each after its length.
    fn blob(parts: &[&[u8]]) -> String {
        let length = |part: &[u8]| u32::try_from(part.len()).unwrap().to_be_bytes();
        STANDARD.encode(parts.iter().flat_map(|part| [&length(part), *part].concat()).collect::<Vec<u8>>())
    }

    #[test]
    fn a_key_is_read_as_openssh_writes_it() {
        let key = parse(&format!("{ED25519}\n")).unwrap();
        assert_eq!(key.key_type(), "ssh-ed25519");
        assert_eq!(key.fingerprint().as_str(), ED25519_FINGERPRINT);
        assert_eq!(key.comment(), "alice@laptop");
        assert_eq!(format!("{key} alice@laptop"), ED25519, "what is written out has no comment");
    }

    #[test]
    fn every_modern_type_is_taken() {
        let sk_ed25519 =
            format!("sk-ssh-ed25519@openssh.com {}", blob(&[b"sk-ssh-ed25519@openssh.com", &[7; 32], b"ssh:"]));
        let point = STANDARD.decode(P256.split(' ').nth(1).unwrap()).unwrap().split_off(39);
        let sk_p256 = format!(
            "sk-ecdsa-sha2-nistp256@openssh.com {}",
            blob(&[b"sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", &point, b"ssh:"])
        );
        for text in [P256, P384, P521, RSA_2048, &sk_ed25519, &sk_p256] {
            assert_eq!(parse(text).unwrap().to_string(), *text);
        }
    }

    #[test]
    fn spaces_around_and_between_do_not_matter() {
        let spread = format!("  {}  \r\n\n", ED25519.replace(' ', " \t "));
        assert_eq!(parse(&spread).unwrap(), parse(ED25519).unwrap());
    }

    #[test]
    fn what_is_no_key_is_refused_with_its_reason() {
        use InvalidKey::{Certificate, Dsa, Empty, NotText, OtherFormat, Private, SeveralLines, TooLong, WeakRsa};
        let cases: [(&[u8], InvalidKey); 12] = [
            (b"", Empty),
            (b" \n\t\n", Empty),
            (b"\xff\xfe", NotText),
            (&vec![b'a'; MAX_KEY_BYTES + 1], TooLong),
            (b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\n", Private),
            (b"---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----\n", OtherFormat),
            (b"PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 1\nAAAA", Private),
            (&[ED25519, "\n", P256].concat().into_bytes(), SeveralLines { lines: 2 }),
            (&[ED25519, "\0", ED25519].concat().into_bytes(), SeveralLines { lines: 2 }),
            (DSA.as_bytes(), Dsa),
            (CERTIFICATE.as_bytes(), Certificate),
            (RSA_1024.as_bytes(), WeakRsa { bits: 1024 }),
        ];
        for (text, reason) in cases {
            assert_eq!(PublicKey::parse(text), Err(reason), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn options_are_refused_also_when_they_hold_spaces() {
        for options in ["no-pty", "command=\"rm -rf /\",no-pty", "restrict,command=\"x\" "] {
            let reason = InvalidKey::Options { key_type: "ssh-ed25519".to_owned() };
            assert_eq!(parse(&format!("{options} {ED25519}")), Err(reason));
        }
    }

    #[test]
    fn an_unknown_type_is_quoted_without_its_escapes() {
        for text in ["hello", "# a comment", "\u{1b}[2Jx AAAA", "ssh-ed448 AAAA", "--help"] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains("is no type of public key") && !message.contains('\u{1b}'), "{message:?}");
        }
    }

    #[test]
    fn damaged_data_is_refused() {
        let (_, data) = P256.split_once(' ').unwrap();
        let trailing = blob(&[b"ssh-ed25519", &[7; 32], b"more"]);
        for text in [
            "ssh-ed25519".to_owned(),
            "ssh-ed25519 alice@laptop".to_owned(),
            format!("ssh-ed25519 {data}"),
            format!("ssh-ed25519 {trailing}"),
            ED25519.replace("939 ", "93 "),
            ED25519.replacen("AAAA", "AAA*", 1),
        ] {
            assert!(matches!(parse(&text), Err(InvalidKey::Damaged(_))), "{text}: {:?}", parse(&text));
        }
    }

    #[test]
    fn a_comment_is_short_and_cannot_move_the_cursor() {
        let with = |comment: &str| parse(&ED25519.replace("alice@laptop", comment));
        assert_eq!(with("a\u{1b}[2J\u{7} \u{202e}b c").unwrap().comment(), "a[2J b c");
        assert_eq!(with(&"x".repeat(MAX_COMMENT_BYTES)).unwrap().comment().len(), MAX_COMMENT_BYTES);
        assert_eq!(with(&"x".repeat(10 * 1024)), Err(InvalidKey::LongComment { bytes: 10 * 1024 }));
        assert_eq!(with("").unwrap().comment(), "");
    }

    #[test]
    fn an_rsa_modulus_is_measured_in_bits() {
        assert_eq!(bit_length(&[0, 0x80, 0]), 16);
        assert_eq!(bit_length(&[1]), 1);
        assert_eq!(bit_length(&[]), 0);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_what_is_taken_is_one_clean_line(text in "(ssh-ed25519|ssh-rsa|\\PC{0,9}) [A-Za-z0-9+/=]{0,80}[ \\PC\n]{0,20}") {
            if let Ok(key) = parse(&text) {
                prop_assert!(!key.to_string().contains(|c: char| c.is_control() || c == '"'));
            }
        }
    }
}
