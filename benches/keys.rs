//! Measures what sshd waits for at each connection, with few keys and with very many, and what people wait for at the
//! shortest commands; fails when a limit is broken: `make bench`.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on may stop here")]
#![allow(dead_code, unreachable_pub, reason = "the tests' support has more than is needed here")]

#[path = "parts/report.rs"]
mod report;
#[path = "parts/sshd.rs"]
mod sshd;
#[path = "../tests/support"]
mod support {
    pub mod figures;
    pub mod times;
}

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use paas::accounts::authorized_keys::{MADE_BY_INSTALL, authorized_keys_file};
use paas::store::{Change, SqliteStore, Store as _, StorePath};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use report::Report;
use sshd::{Sshd, make_key};
use support::figures::figure;
use support::times::{Times, ms};

const MS: Duration = Duration::from_millis(1);
/// How often each program is started.
const RUNS: usize = 200;
const FEW: usize = 1_000;
const MANY: usize = 1_000_000;
/// Lines of the file beside which a look-up is put.
const LINES: usize = 100_000;
/// How often ssh connects: it takes longer.
const CONNECTIONS: usize = 20;
/// What a store of many keys may cost more than one of few.
const GROWTH_PERCENT: u32 = 20;

const PAAS: &str = env!("CARGO_BIN_EXE_paas");
const RECEIVE: &str = env!("CARGO_BIN_EXE_paas-receive");

fn main() -> ExitCode {
    let mut report = Report::default();
    let (few, many) = (Platform::with_keys(FEW), Platform::with_keys(MANY));
    look_ups(&mut report, &few, &many);
    commands(&mut report);
    connections(&many);
    report.end()
}

/// From before a program is started until its end is known.
fn time_of(command: &mut Command, expected: &str) -> Duration {
    let begun = Instant::now();
    let output = command.stdin(Stdio::null()).output().unwrap();
    let took = begun.elapsed();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains(expected), "{command:?}: {said:?} has no {expected:?}");
    took
}

fn program(path: &str, home: &Path) -> Command {
    let mut command = Command::new(path);
    command.env_clear().env("PAAS_HOME", home).current_dir("/");
    command
}

/// sshd's question. Few and many take turns, so that what else the machine does is the same for both.
fn look_ups(report: &mut Report, few: &Platform, many: &Platform) {
    let (mut of_few, mut of_many) = (Times::default(), Times::default());
    for turn in 0..RUNS {
        of_few.push(few.look_up(turn * 7919));
        of_many.push(many.look_up(turn * 7919));
    }
    let (of_few, of_many) = (of_few.median(), of_many.median());
    report.time("`paas-receive authorized-keys` with 1 000 keys, median of 200", of_few, 10 * MS);
    report.time("`paas-receive authorized-keys` with 1 000 000 keys, median of 200", of_many, 10 * MS);
    let limit = of_few * (100 + GROWTH_PERCENT) / 100;
    report.time("the same beside 20 % more than with 1 000", of_many, limit);
}

/// The shortest things that people ask for.
fn commands(report: &mut Report) {
    let home = Platform::with_keys(3);
    let version = (0..RUNS).map(|_| time_of(program(PAAS, home.path()).arg("--version"), env!("CARGO_PKG_VERSION")));
    report.time("`paas --version`, median of 200", version.collect::<Times>().median(), 5 * MS);
    let list = (0..RUNS).map(|_| time_of(program(PAAS, home.path()).args(["keys", "list"]), "SHA256:"));
    report.time("`paas keys list` with 3 keys, median of 200", list.collect::<Times>().median(), 20 * MS);
}

/// A whole connection of ssh, when sshd asks us with very many keys, and when it reads a file of fewer. No limits: most
/// of it is ssh's own.
fn connections(many: &Platform) {
    let ours = format!(
        "AuthorizedKeysFile none\nAuthorizedKeysCommand {RECEIVE} authorized-keys --home {} %t %k\nAuthorizedKeysCommandUser root",
        many.path().display()
    );
    let asked = connections_to(&ours, &many.client);
    let directory = tempfile::tempdir().unwrap();
    for (what, lines) in [("1 line", 1), ("100 000 lines", LINES)] {
        let file = directory.path().join("authorized_keys");
        std::fs::write(&file, many.authorized_keys(lines)).unwrap();
        let read = connections_to(&format!("AuthorizedKeysFile {}", file.display()), &many.client);
        figure(&format!("a connection of ssh, `authorized_keys` with {what}, the last one fits: {}", ms(read)));
    }
    figure(&format!("a connection of ssh, asking `paas-receive` with 1 000 000 keys: {}", ms(asked)));
}

/// A platform's home whose store has so many keys.
struct Platform {
    home: TempDir,
    keys: usize,
    /// The private half of one more key that it knows.
    client: PathBuf,
}

/// A key that nobody can use: its data is the hash of its number.
fn data_of(number: usize) -> Vec<u8> {
    let mut data = vec![0, 0, 0, 11];
    data.extend(b"ssh-ed25519");
    data.extend([0, 0, 0, 32]);
    data.extend(Sha256::digest(number.to_be_bytes()));
    data
}

/// The record of a key, as `accounts::keys` writes it.
fn record(data: &[u8]) -> Change {
    let fingerprint = BASE64_STANDARD_NO_PAD.encode(Sha256::digest(data)).replace('/', "_");
    let value = serde_json::json!({
        "user": "alice",
        "key": format!("ssh-ed25519 {}", BASE64_STANDARD.encode(data)),
        "comment": "alice@laptop",
        "added": "2026-11-24T00:00:00Z",
    });
    let path = StorePath::root().join("keys").join(format!("SHA256:{fingerprint}"));
    Change::Create { path, value: value.to_string().into_bytes() }
}

impl Platform {
    fn with_keys(keys: usize) -> Self {
        let home = tempfile::Builder::new().prefix("keys-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let client = home.path().join("client");
        make_key(&client);
        let public = std::fs::read_to_string(client.with_extension("pub")).unwrap();
        let own = BASE64_STANDARD.decode(public.split(' ').nth(1).unwrap()).unwrap();
        let mut records: Vec<Change> = (0..keys).map(|number| record(&data_of(number))).chain([record(&own)]).collect();
        // In the order of the tree, each goes beside the one before it.
        records.sort_by(|a, b| place(a).cmp(place(b)));
        records.insert(0, Change::Create { path: StorePath::root().join("keys"), value: Vec::new() });
        let store = SqliteStore::open(&home.path().join("store")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(store.commit(records)).unwrap();
        Self { home, keys, client }
    }

    fn path(&self) -> &Path {
        self.home.path()
    }

    fn look_up(&self, number: usize) -> Duration {
        let data = BASE64_STANDARD.encode(data_of(number % self.keys));
        time_of(program(RECEIVE, self.path()).args(["authorized-keys", "ssh-ed25519", &data]), "--user alice")
    }

    /// So many lines as `paas install --authorized-keys` writes them, the client's own last.
    fn authorized_keys(&self, lines: usize) -> String {
        let home = self.path().display();
        let line = |key: String, fingerprint: &str| {
            format!(
                "restrict,command=\"{RECEIVE} session --user alice --key SHA256:{fingerprint} --home {home}\" {key}\n"
            )
        };
        let mut text = format!("{MADE_BY_INSTALL}: {}\n", authorized_keys_file(self.path()).display());
        for number in 1..lines {
            let data = data_of(number);
            let fingerprint = BASE64_STANDARD_NO_PAD.encode(Sha256::digest(&data));
            text.push_str(&line(format!("ssh-ed25519 {}", BASE64_STANDARD.encode(data)), &fingerprint));
        }
        let own = std::fs::read_to_string(self.client.with_extension("pub")).unwrap();
        text + &line(own.trim().to_owned(), "own")
    }
}

fn place(change: &Change) -> &StorePath {
    match change {
        Change::Create { path, .. }
        | Change::Put { path, .. }
        | Change::Delete { path, .. }
        | Change::Check { path, .. } => path,
    }
}

/// The median of connections from beginning to end to an sshd that runs `true` for whomever it lets in.
fn connections_to(keys: &str, client: &Path) -> Duration {
    let sshd = Sshd::start(&format!("ForceCommand /bin/true\n{keys}"));
    let words = sshd.ssh(client);
    let connect = || {
        let mut ssh = Command::new(&words[0]);
        time_of(ssh.args(&words[1..]).args(["-p", &sshd.port().to_string(), "root@127.0.0.1", "true"]), "")
    };
    // The first one also learns the host's key.
    connect();
    (0..CONNECTIONS).map(|_| connect()).collect::<Times>().median()
}
