//! Hostile texts at the front door, most of them over a real sshd. `docs/threats.md` says which rule each test keeps.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use paas::model::{AppName, InvalidName, ProcessType, TenantName, UserName};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::laptop::Laptop;
use crate::support::platform::{Said, TestKey, TestPlatform};
use crate::support::project::Project;
use crate::support::stack::stack_image;

/// A directory that anybody may write to, and nobody should.
struct Trap(TempDir);

impl Trap {
    fn set() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        Self(directory)
    }
    /// What a shell that reads this would leave there.
    fn touch(&self) -> String {
        format!("touch {}/sprung", self.0.path().display())
    }
    #[track_caller]
    fn is_not_sprung(&self, by: &str) {
        assert_eq!(std::fs::read_dir(self.0.path()).unwrap().count(), 0, "a shell read {by}");
    }
}

/// Everything below the directory that is a link.
fn links_below(directory: &Path) -> Vec<String> {
    let mut find = Command::new("find");
    let found = find.arg(directory).args(["-type", "l"]).output().unwrap();
    String::from_utf8(found.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// A platform without a builder, with the tenant `dev` and the key of its owner.
struct Door {
    platform: TestPlatform,
    key: TestKey,
    /// Where ssh keeps its connection.
    line: TempDir,
}

impl Door {
    fn open() -> Self {
        let platform = TestPlatform::start();
        let key = platform.key_of("alice");
        let _ = platform.paas(["tenant", "create", "dev"]).ok();
        Self { platform, key, line: tempfile::tempdir().unwrap() }
    }

    /// Puts the app `odd` there, with a branch that does not deploy.
    fn with_odd(self) -> Self {
        let project = Project::from_fixture("static");
        let pushed = project.push(&self.platform.ssh_command(&self.key), &[&self.odd(), "HEAD:refs/heads/topic"]);
        assert!(pushed.accepted, "{}", pushed.output);
        self
    }

    fn odd(&self) -> String {
        self.platform.remote("dev", "odd")
    }

    fn send(&self, command: &[u8]) -> Said {
        let plain = self.platform.ssh_process(&self.key, "");
        let words: Vec<&OsStr> = plain.get_args().collect();
        let [options @ .., place, _] = &words[..] else { panic!("no command: {words:?}") };
        let mut ssh = Command::new(plain.get_program());
        // One connection for all commands, which ends with the platform.
        let socket = format!("ControlPath={}", self.line.path().join("ssh").display());
        ssh.args(["-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o", &socket]);
        // Without `--` ssh would take a command that begins with `-` for an option of its own.
        ssh.args(options).arg("--").args([place, OsStr::from_bytes(command)]).stdin(Stdio::null());
        ssh.output().unwrap().into()
    }

    fn repositories(&self) -> BTreeSet<String> {
        let root = self.platform.home().join("repositories");
        let below = |path: &Path| -> Vec<_> { std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path()).collect() };
        let all = below(&root).iter().flat_map(|tenant| below(tenant)).collect::<Vec<_>>();
        all.iter().map(|path| path.strip_prefix(&root).unwrap().display().to_string()).collect()
    }
}

#[test]
fn no_hostile_command_over_ssh_runs_anything_or_names_another_place() {
    let (door, trap) = (Door::open().with_odd(), Trap::set());
    let (touch, home) = (trap.touch(), door.platform.home().display().to_string());
    let long = "x".repeat(64 << 10);
    let mut commands: Vec<Vec<u8>> = [
        "git-upload-pack --help",
        "git-upload-pack '--help'",
        "git-receive-pack --help",
        "git-receive-pack '--help' '/dev/odd'",
        "git-upload-pack '--upload-pack=TOUCH' '/dev/odd'",
        "git-upload-archive '/dev/odd'",
        "git-shell -c 'TOUCH'",
        "git upload-pack '/dev/odd'",
        "git-upload-pack '/dev/odd'; TOUCH",
        "git-upload-pack '/dev/odd' & TOUCH",
        "git-upload-pack $(TOUCH)",
        "git-upload-pack '/dev/$(TOUCH)'",
        "git-upload-pack `TOUCH`",
        "git-upload-pack '/dev/`TOUCH`'",
        "git-upload-pack \"/dev/$(TOUCH)\"",
        "git-upload-pack '/dev/odd",
        "git-upload-pack '/dev/odd'\nTOUCH",
        "git-upload-pack '/dev/odd\nTOUCH'",
        "tenant list | TOUCH",
        "tenant list && TOUCH",
        "tenant list\nTOUCH",
        "tenant show '$(TOUCH)'",
        "tenant show '; TOUCH'",
        "tenant show '../dev'",
        "TOUCH",
        "sh -c 'TOUCH'",
        "/bin/sh -c 'TOUCH'",
        "env TOUCH",
        "--exec='TOUCH'",
        "-c 'TOUCH'",
        "git-upload-pack '../../../etc'",
        "git-upload-pack '/dev/../dev/odd'",
        "git-upload-pack '/dev/odd.git/../odd'",
        "git-upload-pack '/dev/./odd'",
        "git-upload-pack '//dev/odd'",
        "git-upload-pack 'HOME/repositories/dev/odd.git'",
        "git-upload-pack '~/repositories/dev/odd.git'",
        "git-upload-pack '/dev/%6fdd'",
        "git-upload-pack '%2e%2e/dev/odd'",
        "git-upload-pack '/dév/odd'",
        "git-upload-pack '/dev/\u{ff4f}dd'",
        "git-upload-pack '/dev/odd\u{202e}'",
        "git-upload-pack '/dev/\u{1b}[2J'",
        "tenant\u{1b}[2J",
    ]
    .map(|text| text.replace("TOUCH", &touch).replace("HOME", &home).into_bytes())
    .into();
    commands.extend([long.clone(), format!("git-upload-pack '/dev/{long}'"), "'".repeat(64 << 10)].map(String::into));
    commands.push(b"git-upload-pack '/dev/\xff'".to_vec());
    for command in &commands {
        let named = String::from_utf8_lossy(&command[..command.len().min(80)]);
        let said = door.send(command);
        assert!([1, 2, 3].contains(&said.status) && said.out.is_empty(), "{named}: {said:?}");
        assert!(said.err.contains("error: ") && said.err.len() < 2000, "{named}: {}", said.err);
        assert!(!said.err.contains(|c: char| c.is_control() && c != '\n'), "{named}: {:?}", said.err);
        trap.is_not_sprung(&named);
    }
    assert_eq!(door.repositories(), BTreeSet::from(["dev/odd.git".to_owned()]));
    // What is no hostile command is answered, and by no pager.
    assert!(door.send(b"--help").ok().out.contains("Usage: paas"));
}

#[test]
fn a_push_takes_nothing_of_the_clients_environment() {
    let door = Door::open();
    let hostile = "GIT_TRACE=1 GIT_DIR=/nowhere GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=core.hooksPath \
                   GIT_CONFIG_VALUE_0=/nowhere LD_PRELOAD=/nowhere.so PATH=/nowhere PAAS_HOME=/nowhere";
    let ssh = format!("{} -o 'SetEnv={hostile}'", door.platform.ssh_command(&door.key));
    let pushed = Project::from_fixture("static").push(&ssh, &[&door.odd(), "HEAD:refs/heads/topic"]);
    assert!(pushed.accepted, "{}", pushed.output);
    // The note is the hook's: it ran, as the platform has it.
    assert!(pushed.output.contains("topic:main"), "{}", pushed.output);
    for trace in ["trace:", "ld.so", "nowhere"] {
        assert!(!pushed.output.contains(trace), "{trace} in {}", pushed.output);
    }
}

#[test]
fn a_ref_that_looks_like_an_option_or_a_command_is_a_name_like_any_other() {
    let (door, trap) = (Door::open(), Trap::set());
    let refs = [
        "refs/heads/--upload-pack=x",
        "refs/heads/--exec=x",
        "refs/heads/-c",
        "refs/heads/--",
        "refs/heads/$(touch${IFS}sprung)",
        "refs/heads/;id",
        "refs/heads/`id`",
        "refs/heads/'x'",
        "refs/heads/\"x\"",
        "refs/heads/x&y|z>w",
        "refs/tags/--output=x",
    ];
    let ssh = door.platform.ssh_command(&door.key);
    let project = Project::from_fixture("static");
    // A link in what is pushed leads nowhere on the host, and makes none there.
    std::os::unix::fs::symlink(trap.0.path(), project.path().join("hooks")).unwrap();
    std::os::unix::fs::symlink("../../../../etc/passwd", project.path().join("config")).unwrap();
    project.commit("links");
    let remote = door.odd();
    let mut arguments = vec![remote.clone()];
    arguments.extend(refs.map(|name| format!("HEAD:{name}")));
    let pushed = project.push(&ssh, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(pushed.accepted, "{}\n{}", pushed.porcelain, pushed.output);

    let listed = project.command().env("GIT_SSH_COMMAND", &ssh).args(["ls-remote", &remote]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let named: BTreeSet<&str> = listed.lines().filter_map(|line| line.split('\t').nth(1)).collect();
    assert_eq!(named, BTreeSet::from(refs));
    let gone = project.push(&ssh, &[&remote, &format!(":{}", refs[0])]);
    assert!(gone.accepted, "{}", gone.output);
    trap.is_not_sprung("a ref or a link");
    assert_eq!(links_below(&door.platform.home().join("repositories")), [""; 0]);
}

/// A public key that OpenSSH makes.
fn made(arguments: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    let mut make = Command::new("ssh-keygen");
    make.args(["-q", "-N", "", "-C", "x", "-f"]).arg(&file).args(arguments);
    assert!(make.status().unwrap().success());
    std::fs::read_to_string(file.with_extension("pub")).unwrap().trim().to_owned()
}

#[test]
fn a_hostile_key_that_is_pasted_over_ssh_opens_nothing() {
    let door = Door::open();
    let alice = Laptop::of("alice", door.key.clone(), &door.platform);
    let good = made(&["-t", "ed25519"]);
    for (pasted, reason) in [
        (format!("command=\"id\" {good}"), "such as options"),
        (format!("no-restrict,environment=\"PATH=/x\" {good}"), "such as options"),
        (format!("{good}\n{}", made(&["-t", "ed25519"])), "2 lines"),
        (format!("{good}\ncommand=\"id\" {good}"), "2 lines"),
        (format!("{good}{}", "x".repeat(10 << 10)), "comment"),
        (made(&["-t", "rsa", "-b", "1024"]), "1024 bits"),
        (good.replace("ssh-ed25519 ", "ssh-dss "), "DSA"),
        (good.replace("ssh-ed25519 ", "ssh-ed25519-cert-v01@openssh.com "), "certificate"),
    ] {
        let _ = alice.paas_reading(["keys", "add", "-"], &pasted).fails(1, &[reason]);
    }
    let _ = alice.paas_reading(["keys", "add", "-"], &format!("{good} \u{1b}[2J\u{202e}")).ok();
    let listed = alice.paas(["keys", "list"]).ok().out;
    assert_eq!(listed.lines().count(), 3, "{listed}");
    assert!(!listed.contains(['\u{1b}', '\u{202e}']), "{listed:?}");
}

#[test]
fn a_token_on_the_command_line_is_refused_before_it_leaves_the_machine() {
    // Were it sent, the host would not be reached, which is another status.
    for words in [&["tenant", "join", "paas_jt_0123"][..], &["tenant", "join", "--token", "paas_jt_0123"]] {
        let mut paas = Command::new(env!("CARGO_BIN_EXE_paas"));
        paas.env_clear().env("PATH", "/usr/bin:/bin").env("PAAS_HOST", "nobody@127.0.0.1:1");
        let _ = Said::from(paas.args(words).output().unwrap()).fails(2, &["unexpected argument"]);
    }
}

#[test]
fn a_value_of_paas_yml_arrives_as_it_stands_there_or_is_refused() {
    let platform = TestPlatform::start_with(&[("PAAS_BUILD_IMAGE", stack_image())]);
    let (key, trap) = (platform.key_of("alice"), Trap::set());
    let _ = platform.paas(["tenant", "create", "dev"]).ok();
    let (ssh, remote, touch) = (platform.ssh_command(&key), platform.remote("dev", "shop"), trap.touch());
    let value = format!("; {touch}\n`{touch}` $({touch}) && {touch} | 'x' \"y\" \\ ${{HOME}} %s \u{1b}[2J é");
    let manifest = json!({
        "env": {"HOSTILE": value, "LONG": "x;".repeat(1 << 12)},
        "build": {"env": {"BUILD_HOSTILE": value}},
    });
    let project = Project::from_fixture("procfile");
    let push = |text: &str| {
        project.write("paas.yml", text);
        project.commit("another paas.yml");
        project.push(&ssh, &[&remote, "HEAD:main"])
    };
    let mut bomb = "x-a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (this, last) in ('b'..='z').zip('a'..) {
        bomb += &[&format!("x-{this}: &{this} ["), vec![format!("*{last}"); 9].join(",").as_str(), "]\n"].concat();
    }
    push(&bomb).is_rejected_with("aliases");
    push(&format!("env: {{LONG: \"{}\"}}", "x".repeat(1 << 20))).is_rejected_with("paas.yml");
    push(&format!("app: \"x; {touch}\"")).is_rejected_with("paas.yml");
    // JSON is YAML.
    push(&manifest.to_string()).live_at();

    let home = format!("label=paas.home={}", platform.home().display());
    let mut list = Command::new("docker");
    list.args(["ps", "--quiet", "--filter", &home, "--filter", "label=MESOS_TASK_ID"]);
    let listed = String::from_utf8(list.output().unwrap().stdout).unwrap();
    let mut inspect = Command::new("docker");
    inspect.args(["inspect", "--format", "{{json .Config.Env}}"]).args(listed.lines().next());
    let env: Value = serde_json::from_slice(&inspect.output().unwrap().stdout).unwrap();
    for name in ["HOSTILE", "LONG"] {
        let expected = format!("{name}={}", manifest["env"][name].as_str().unwrap());
        assert!(env.as_array().unwrap().contains(&json!(expected)), "{name} is another in {env}");
    }
    trap.is_not_sprung("a value of paas.yml");
}

/// What a name is, said once more and in another way.
fn is_label(text: &str) -> bool {
    let middle = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    let bytes = text.as_bytes();
    matches!(bytes.len(), 1..=30) && bytes.iter().all(middle) && ![bytes.first(), bytes.last()].contains(&Some(&b'-'))
}

fn as_each_kind(text: &str) -> [Result<String, InvalidName>; 4] {
    [
        text.parse::<TenantName>().map(Into::into),
        text.parse::<AppName>().map(Into::into),
        text.parse::<UserName>().map(Into::into),
        text.parse::<ProcessType>().map(Into::into),
    ]
}

proptest! {
    #[test]
    fn the_whole_of_a_name_is_a_dns_label_or_it_is_none(text in "(?s)[a-z0-9-]{0,32}.{0,2}[a-z0-9-]{0,3}|.{0,6}") {
        for read in as_each_kind(&text) {
            match read {
                Ok(name) => prop_assert!(is_label(&text) && name == text),
                Err(error) => {
                    prop_assert!(!is_label(&text));
                    prop_assert!(!error.to_string().contains(char::is_control), "{error:?}");
                }
            }
        }
    }
}
