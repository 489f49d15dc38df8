//! `paas keys` and the two commands of `paas-receive` about keys: what they answer, say and leave behind.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAfklVsOshWl4wrcSaY2kFFYiR3zuDaqSQzeHdNF3939 alice@laptop";
const ED25519_FINGERPRINT: &str = "SHA256:YOhUsXkRX/S81/070Jm1209HfpFzWfe4RxWt3W8k6io";
const P256: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEyiBsElwHs1hFFRWjvbG22IXKmwivBFOBM8jSzXYBGPv/Cu25SFuH9V/lumhZEDswp/r88qZq1kvVx7rhP3giQ=";
const P256_FINGERPRINT: &str = "SHA256:I4zbA4hHQgOsaHoK60VQMkY/03IakBYR3YE00M52HfE";
const RSA_1024: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQChMAogM9+t1hdpMXL23IdCOhY0DcKebM5Px/GjJUo/La5QAFwQzLYemhXfRetkbpdvyvdqdZri6/oOzJVoPBocR7YhiIIovq/zdI6PpzKRAT6iPWOC+BAGieQoPyenKp8ryd8fLBAB6tpDFgfHh1SmDikUrrwJaRRcPduAj2N5kQ==";

const PAAS: &str = env!("CARGO_BIN_EXE_paas");
const RECEIVE: &str = env!("CARGO_BIN_EXE_paas-receive");

/// Somebody's home directory, with a platform of their own that was never started.
struct Home(TempDir);

/// What a command answered, said, and how it ended.
#[must_use]
#[derive(Debug)]
struct Ended {
    answer: String,
    said: String,
    status: i32,
}

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn platform(&self) -> PathBuf {
        self.0.path().join("platform")
    }

    fn with_key(self, name: &str, key: &str) -> Self {
        std::fs::create_dir_all(self.0.path().join(".ssh")).unwrap();
        std::fs::write(self.0.path().join(".ssh").join(name), format!("{key}\n")).unwrap();
        self
    }

    fn run(&self, program: &str, arguments: &[&str], input: &[u8]) -> Ended {
        let mut process = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("HOME", self.0.path())
            .env("PAAS_HOME", self.platform())
            .current_dir(self.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that does not read its input to the end is no failure.
        let _ = process.stdin.take().unwrap().write_all(input);
        let output = process.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&*self.0.path().to_string_lossy(), "~");
        Ended { answer: text(output.stdout), said: text(output.stderr), status: output.status.code().unwrap() }
    }

    fn keys(&self, arguments: &[&str]) -> Ended {
        self.run(PAAS, &[&["keys"], arguments].concat(), b"")
    }

    fn add(&self, arguments: &[&str], input: &[u8]) -> Ended {
        self.run(PAAS, &[&["keys", "add"], arguments].concat(), input)
    }
}

impl Ended {
    #[track_caller]
    fn answers(self, answer: &str) {
        assert_eq!((self.answer.as_str(), self.status), (answer, 0), "{}", self.said);
    }

    /// Ended with `status` and no answer; the message holds `words` and no terminal escapes.
    #[track_caller]
    fn is_refused(&self, status: i32, words: &str) {
        assert_eq!((self.answer.as_str(), self.status), ("", status), "{}", self.said);
        assert!(self.said.starts_with("error: ") && self.said.contains(words), "no {words:?} in {:?}", self.said);
        assert!(!self.said.contains('\u{1b}'), "{:?}", self.said);
    }
}

#[test]
fn a_key_is_added_listed_and_removed() {
    let home = Home::new().with_key("id_ed25519.pub", ED25519);
    let added = home.add(&[], b"");
    assert_eq!(
        added.said,
        "the key from ~/.ssh/id_ed25519.pub belongs to `alice` now\n`alice` is this platform's first user, and so its admin, who may do anything\n"
    );
    added.answers(&format!("{ED25519_FINGERPRINT}\n"));
    home.add(&["--user", "bob", "-"], P256.as_bytes()).answers(&format!("{P256_FINGERPRINT}\n"));
    let listed = home.keys(&["list"]).answer;
    let words: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["USER", "FINGERPRINT", "TYPE", "ADDED", "LAST", "USED", "FROM", "NAME"]);
    assert_eq!(words[1][..3], ["alice", ED25519_FINGERPRINT, "ssh-ed25519"]);
    assert_eq!(words[1][4..], ["-", "-", "alice@laptop"]);
    assert_eq!(words[2][..3], ["bob", P256_FINGERPRINT, "ecdsa-sha2-nistp256"]);
    home.keys(&["remove", ED25519_FINGERPRINT]).answers(&format!("{ED25519_FINGERPRINT}\n"));
    assert_eq!(home.keys(&["list"]).answer.lines().count(), 2);
}

#[test]
fn programs_get_one_json_document() {
    let home = Home::new().with_key("a.pub", ED25519);
    home.keys(&["list", "--json"]).answers("[]\n");
    let added: serde_json::Value = serde_json::from_str(&home.add(&["--json"], b"").answer).unwrap();
    assert_eq!(added["fingerprint"], ED25519_FINGERPRINT);
    let listed: serde_json::Value = serde_json::from_str(&home.keys(&["list", "--json"]).answer).unwrap();
    assert_eq!(listed, serde_json::json!([added]));
    let removed: serde_json::Value =
        serde_json::from_str(&home.keys(&["remove", "--json", ED25519_FINGERPRINT]).answer).unwrap();
    assert_eq!(removed, added);
}

#[test]
fn a_text_that_is_no_key_is_refused_and_nothing_is_made() {
    let home = Home::new();
    let long_comment = format!("{ED25519}{}", "x".repeat(10 * 1024));
    let two = format!("{ED25519}\n{P256}\n");
    let with_options = format!("command=\"rm -rf /\",no-pty {ED25519}");
    let cases: [(&[u8], &str); 12] = [
        (b"", "the text is empty"),
        (b"hello", "`hello` is no type of public key"),
        (b"\x1b[2J\x1b]0;x\x07 AAAA", "is no type of public key"),
        (b"ssh-ed25519 AAAA alice", "the key's data is damaged"),
        (&[0xff; 100], "bytes that are no text"),
        (&vec![b'x'; 1 << 20], "longer than any public key"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\n", "this is a private key"),
        (b"ssh-dss AAAAB3NzaC1kc3MAAACB", "DSA"),
        (RSA_1024.as_bytes(), "an RSA key of 1024 bits"),
        (two.as_bytes(), "there are 2 lines"),
        (with_options.as_bytes(), "something before the key's type"),
        (long_comment.as_bytes(), "at most 256"),
    ];
    for (text, words) in cases {
        home.add(&["--user", "alice", "-"], text).is_refused(1, words);
    }
    assert!(!home.platform().exists(), "a refusal leaves nothing behind");
}

#[test]
fn a_key_belongs_to_one_user() {
    let home = Home::new().with_key("a.pub", ED25519);
    home.add(&[], b"").answers(&format!("{ED25519_FINGERPRINT}\n"));
    home.add(&["--user", "bob"], b"").is_refused(3, "registered already, to the user `alice`");
    home.add(&["--user", "bob"], b"").is_refused(3, &format!("try: `paas keys remove {ED25519_FINGERPRINT}`"));
}

#[test]
fn an_unclear_command_line_is_refused_with_what_to_say() {
    let none = Home::new();
    none.add(&[], b"").is_refused(2, "There is none that ends in `.pub` in ~/.ssh");
    let two = Home::new().with_key("a.pub", ED25519).with_key("b.pub", P256);
    two.add(&[], b"").is_refused(2, "There are 2: ~/.ssh/a.pub, ~/.ssh/b.pub");
    let unnamed = Home::new().with_key("b.pub", P256);
    unnamed.add(&[], b"").is_refused(2, "It has no comment that says so");
    unnamed.add(&["--user", "Not A Name"], b"").is_refused(2, "is no user name");
    unnamed.add(&["no-such-file", "--user", "alice"], b"").is_refused(1, "no-such-file");
}

#[test]
fn a_key_that_is_not_there_cannot_be_removed() {
    let home = Home::new();
    home.keys(&["remove", ED25519_FINGERPRINT]).is_refused(3, "is registered");
    assert!(!home.platform().exists());
    for bad in ["SHA256:x", "../../etc", "MD5:aa"] {
        home.keys(&["remove", bad]).is_refused(2, "is no key fingerprint");
    }
}

#[test]
fn a_store_of_a_newer_version_is_not_touched() {
    let home = Home::new().with_key("a.pub", ED25519);
    home.add(&[], b"").answers(&format!("{ED25519_FINGERPRINT}\n"));
    let file = home.platform().join("store/store.db");
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let before = std::fs::read(&file).unwrap();
    for command in [&["list"][..], &["add"], &["remove", ED25519_FINGERPRINT]] {
        home.keys(command).is_refused(1, "it was written by a newer version");
    }
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[test]
fn a_key_is_uploaded_on_standard_input_and_its_fingerprint_printed() {
    let home = Home::new();
    let upload = |text: &str| home.run(RECEIVE, &["upload-key", "alice"], text.as_bytes());
    upload("hello\n").is_refused(1, "`hello` is no type of public key");
    upload("").is_refused(1, "the text is empty");
    upload(&format!("{ED25519}\n{P256}\n")).is_refused(1, "there are 2 lines");
    assert!(!home.platform().exists(), "a refusal leaves nothing behind");
    upload(&format!("{ED25519}\n")).answers(&format!("{ED25519_FINGERPRINT}\n"));
    upload(ED25519).is_refused(3, "registered already, to the user `alice`");
    home.run(RECEIVE, &["upload-key", "Alice; rm"], ED25519.as_bytes()).is_refused(2, "is no user name");
    assert_eq!(home.keys(&["list"]).answer.lines().count(), 2);
}

#[test]
fn sshd_is_told_what_a_registered_key_may_run_and_nothing_of_any_other() {
    let home = Home::new().with_key("a.pub", ED25519);
    let (key_type, data) = (ED25519.split(' ').next().unwrap(), ED25519.split(' ').nth(1).unwrap());
    let ask = || home.run(RECEIVE, &["authorized-keys", key_type, data], b"");
    ask().answers("");
    std::fs::create_dir_all(home.platform()).unwrap();
    std::fs::write(home.platform().join("config.yml"), "ssh: {newcomers: false}\n").unwrap();
    home.add(&[], b"").answers(&format!("{ED25519_FINGERPRINT}\n"));
    let command = format!("{RECEIVE} session --user alice --key {ED25519_FINGERPRINT} --home ~/platform");
    ask().answers(&format!("restrict,command=\"{command}\" {key_type} {data}\n"));
    home.run(RECEIVE, &["authorized-keys", "ssh-dss", "AAAA"], b"").answers("");
    home.run(RECEIVE, &["authorized-keys", "ssh-ed25519", "$(x)\"\n"], b"").answers("");
    home.keys(&["remove", ED25519_FINGERPRINT]).answers(&format!("{ED25519_FINGERPRINT}\n"));
    ask().answers("");
}

#[test]
fn a_file_whose_name_is_no_text_is_a_file_like_any_other() {
    use std::os::unix::ffi::OsStrExt as _;
    let home = Home::new();
    let name = std::ffi::OsStr::from_bytes(b"key-\xff.pub");
    std::fs::write(home.0.path().join(name), ED25519).unwrap();
    let mut add = Command::new(PAAS);
    add.env_clear().env("HOME", home.0.path()).env("PAAS_HOME", home.platform()).current_dir(home.0.path());
    let added = add.args(["keys", "add"]).arg(name).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&added.stdout), format!("{ED25519_FINGERPRINT}\n"), "{added:?}");
}
