//! `paas install` and `paas uninstall` on a root directory of the test's own, with a real sshd that reads what they put
//! there, as a throwaway system user.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::laptop::Laptop;
use crate::support::platform::{Said, TestKey, TestPlatform};
use crate::support::project::Project;
use crate::support::stack::stack_image;

/// A machine's `/etc`, a home and a user for the platform, and the machine's sshd once it is started. All of it goes
/// when this is dropped.
struct Machine {
    sshd: Option<Child>,
    service: Option<Child>,
    root: TempDir,
    platform: TestPlatform,
}

impl Machine {
    /// With sshd's configuration as Debian has it.
    fn new() -> Self {
        Self::with_config("Include ETC/sshd_config.d/*.conf\nX11Forwarding yes\nAcceptEnv LANG LC_*\n")
    }

    /// `ETC` stands for sshd's directory.
    fn with_config(config: &str) -> Self {
        let platform = TestPlatform::prepare(&[]);
        let root = tempfile::tempdir().unwrap();
        let ssh = root.path().join("etc/ssh");
        std::fs::create_dir_all(ssh.join("sshd_config.d")).unwrap();
        std::fs::create_dir_all(root.path().join("etc/systemd/system")).unwrap();
        let key = ssh.join("host_key");
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
        assert!(made.unwrap().success());
        let own = format!("ListenAddress 127.0.0.1\nPort {}\nHostKey {}\n", platform.ssh_port(), key.display());
        let config = config.replace("ETC", &ssh.display().to_string());
        std::fs::write(ssh.join("sshd_config"), format!("{config}{own}PidFile none\n")).unwrap();
        Self { sshd: None, service: None, root, platform }
    }

    fn install(&self, flags: &[&str]) -> Said {
        self.run("install", &[&["--user", self.platform.user()], flags].concat())
    }

    fn uninstall(&self, flags: &[&str]) -> Said {
        self.run("uninstall", flags)
    }

    fn run(&self, noun: &str, flags: &[&str]) -> Said {
        self.platform.command().args([noun, "--root"]).arg(self.root.path()).args(flags).output().unwrap().into()
    }

    /// Starts the machine's sshd, or starts it anew, and waits until it serves.
    fn start_sshd(&mut self) {
        self.end_sshd();
        let config = self.root.path().join("etc/ssh/sshd_config");
        let mut sshd = Command::new("/usr/sbin/sshd");
        sshd.args(["-D", "-e", "-f"]).arg(config).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut sshd = sshd.spawn().unwrap();
        let mut lines = BufReader::new(sshd.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("Server listening on ") {
            assert_ne!(lines.read_line(&mut said).unwrap(), 0, "sshd ended: {said}");
        }
        // What it says later is read, or it would wait for a reader.
        std::thread::spawn(move || lines.read_to_end(&mut Vec::new()));
        self.sshd = Some(sshd);
    }

    fn end_sshd(&mut self) {
        if let Some(mut sshd) = self.sshd.take() {
            let _ = sshd.kill();
            let _ = sshd.wait();
        }
    }

    /// Runs what the unit says, as systemd would, and waits until it serves.
    fn start_service(&mut self) {
        let unit = std::fs::read_to_string(self.unit()).unwrap();
        let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        let mut words = line.split(' ');
        let mut service = Command::new(words.next().unwrap());
        service.args(words).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir("/");
        let mut service = service.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(service.stderr.take().unwrap());
        self.service = Some(service);
        let mut said = String::new();
        while !said.contains("The platform serves") {
            assert_ne!(lines.read_line(&mut said).unwrap(), 0, "the service ended: {said}");
        }
        std::thread::spawn(move || lines.read_to_end(&mut Vec::new()));
    }

    /// As `systemctl stop` does.
    fn end_service(&mut self) {
        if let Some(mut service) = self.service.take() {
            let _ = Command::new("kill").arg(service.id().to_string()).status();
            let _ = service.wait();
        }
    }

    fn ssh(&self, key: &TestKey, command: &str) -> Said {
        self.platform.ssh(key, command)
    }

    fn drop_in(&self) -> PathBuf {
        self.root.path().join("etc/ssh/sshd_config.d/paas.conf")
    }

    fn unit(&self) -> PathBuf {
        self.root.path().join("etc/systemd/system/paas.service")
    }

    fn keys_file(&self) -> PathBuf {
        self.platform.home().join(".ssh/authorized_keys")
    }

    /// Every file below the root directory and the platform's home, with its text where it is one.
    fn files(&self) -> BTreeMap<PathBuf, String> {
        let mut files = BTreeMap::new();
        for directory in [self.root.path(), self.platform.home()] {
            collect(directory, &mut files);
        }
        files
    }

    fn has_user(&self) -> bool {
        Command::new("getent").args(["passwd", self.platform.user()]).output().unwrap().status.success()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.end_service();
        self.end_sshd();
    }
}

fn collect(directory: &Path, files: &mut BTreeMap<PathBuf, String>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            collect(&entry, files);
        } else {
            let text = std::fs::read(&entry).unwrap();
            files.insert(entry, String::from_utf8_lossy(&text).into_owned());
        }
    }
}

/// What the steps of an answer did, by what they are about.
fn did(answer: &Value) -> BTreeMap<String, String> {
    let steps = answer["steps"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    steps.iter().map(|step| (text(&step["what"]), text(&step["did"]))).collect()
}

/// The key opens a session of paas-receive and nothing else.
#[track_caller]
fn is_let_in(machine: &Machine, key: &TestKey) {
    let version = machine.ssh(key, "version").ok();
    assert_eq!(version.out, format!("paas-receive {}\n", env!("CARGO_PKG_VERSION")));
    let shell = machine.ssh(key, "id; echo $HOME");
    assert!(shell.status != 0 && !shell.out.contains("uid="), "{shell:?}");
}

/// The key opens nothing; `methods` are what the machine's sshd offers that user.
#[track_caller]
fn is_shut_out(machine: &Machine, key: &TestKey, methods: &str) {
    let said = machine.ssh(key, "version");
    assert!(said.status == 255 && said.err.contains(&format!("Permission denied ({methods}).")), "{said:?}");
}

/// All that holds for both ways by which sshd learns of keys.
fn a_machine_is_installed_serves_and_is_taken_back(way: &[&str]) {
    let mut machine = Machine::new();
    let before = machine.files();
    let planned = machine.install(&[way, &["--dry-run", "--json"]].concat()).ok().json();
    assert_eq!((&planned["dry_run"], &planned["changed"]), (&Value::from(true), &Value::from(true)));
    assert_eq!(machine.files(), before, "a dry run writes nothing");
    assert!(!machine.has_user());

    let said = machine.install(&[way, &["--json"]].concat()).ok();
    assert_eq!(said.err.contains("newcomers cannot join"), way == ["--authorized-keys"], "{said:?}");
    let answer = said.json();
    assert_eq!(did(&answer), did(&planned), "what was done is what was said before");
    assert_eq!(did(&answer)[&machine.drop_in().display().to_string()], "made");
    let by_hand = answer["by_hand"].to_string();
    assert!(by_hand.contains("paas up --home") && by_hand.contains("kill -HUP"), "{by_hand}");
    let again = machine.install(&[way, &["--json"]].concat()).ok().json();
    assert_eq!(again["changed"], false, "{again}");

    let alice = machine.platform.key_of("alice");
    // A key that nobody knows could redeem a token else; that is another test's.
    std::fs::write(machine.platform.home().join("config.yml"), "ssh: {newcomers: false}\n").unwrap();
    machine.start_sshd();
    is_let_in(&machine, &alice);
    is_shut_out(&machine, &machine.platform.unknown_key("mallory"), "publickey");
    for (what, flags) in
        [("a terminal", &["-tt"][..]), ("forwarding", &["-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1"])]
    {
        let mut ssh = machine.platform.ssh_process(&alice, "version");
        let arguments: Vec<_> = ssh.get_args().map(ToOwned::to_owned).collect();
        let program = ssh.get_program().to_owned();
        ssh = Command::new(program);
        let said = Said::from(ssh.args(flags).args(arguments).stdin(Stdio::null()).output().unwrap());
        assert!(said.err.contains("PTY allocation request failed") || said.status == 255, "{what}: {said:?}");
    }

    let taken = machine.uninstall(&["--json"]).ok().json();
    assert_eq!(taken["purged"], false);
    assert!(!machine.drop_in().exists() && !machine.unit().exists() && !machine.keys_file().exists());
    assert!(machine.has_user() && machine.platform.home().join("store/store.db").exists(), "the data stays");
    machine.start_sshd();
    // As for any user of the machine without a key.
    is_shut_out(&machine, &alice, "publickey,password,keyboard-interactive");
    assert_eq!(machine.uninstall(&["--json"]).ok().json()["changed"], false);

    let _ = machine.install(way).ok();
    let refused = machine.uninstall(&["--purge"]).fails(3, &["nobody can be asked", "--yes"]);
    assert!(machine.drop_in().exists(), "{refused:?}");
    let _ = machine.uninstall(&["--purge", "--yes"]).ok();
    assert!(!machine.has_user() && !machine.platform.home().exists());
    assert_eq!(machine.files(), before, "nothing is left");
    assert_eq!(machine.uninstall(&["--purge", "--yes", "--json"]).ok().json()["changed"], false);
}

#[test]
fn a_machine_whose_sshd_asks_for_keys_is_installed_serves_and_is_taken_back() {
    a_machine_is_installed_serves_and_is_taken_back(&[]);
}

#[test]
fn a_machine_whose_sshd_reads_a_file_of_keys_is_installed_serves_and_is_taken_back() {
    a_machine_is_installed_serves_and_is_taken_back(&["--authorized-keys"]);
}

/// Two people on two laptops, and a host that nothing but `paas install` has set up.
#[test]
fn a_team_works_through_the_sshd_of_an_installed_host_until_nothing_of_it_is_left() {
    let mut machine = Machine::new();
    let before = machine.files();
    let _ = machine.install(&[]).ok();
    let home = machine.platform.home().to_owned();
    let found = std::fs::read_to_string(home.join("installed.yml")).unwrap();
    assert!(found.contains(&format!("port: {}", machine.platform.ssh_port())), "{found}");
    let bundle = std::env::var("SSL_CERT_FILE").ok().filter(|path| Path::new(path).exists());
    let config = format!(
        "user: {}\nengine: {{port: {}}}\nbuild:\n  image: {}\n{}",
        machine.platform.user(),
        machine.platform.engine_port(),
        stack_image(),
        bundle.map(|bundle| format!("  ca_bundle: {bundle}\n")).unwrap_or_default()
    );
    std::fs::write(home.join("config.yml"), &config).unwrap();
    let alice = machine.platform.key_of("alice");
    machine.start_sshd();
    machine.start_service();
    let own_sshd = home.join("ssh/sshd_config");
    assert!(!own_sshd.exists(), "the platform starts no sshd of its own");
    let serves = machine.platform.paas(["status"]).ok();
    assert!(serves.out.contains(&format!("127.0.0.1:{}", machine.platform.ssh_port())), "{serves:?}");

    a_team_works(&machine.platform, &alice);

    machine.end_service();
    let _ = machine.install(&[]).ok();
    assert_eq!(std::fs::read_to_string(home.join("config.yml")).unwrap(), config, "what the operator wrote stays");
    let _ = machine.uninstall(&["--purge", "--yes"]).ok();
    assert!(!machine.has_user() && !home.exists());
    assert_eq!(machine.files(), before, "nothing is left");
    assert_eq!(machine.platform.processes(), [""; 0]);
    for kind in ["container", "network", "volume"] {
        assert_eq!(machine.platform.in_docker(kind), [""; 0], "{kind}");
    }
}

fn a_team_works(platform: &TestPlatform, key: &TestKey) {
    let alice = Laptop::of("alice", key.clone(), platform);
    let created = alice.paas(["tenant", "create", "dev"]).ok();
    assert!(format!("{created:?}").contains(&platform.remote("dev", "")), "it names the host's port: {created:?}");
    let token = alice.paas(["tenant", "token", "create", "--tenant", "dev", "--role", "developer"]).ok().out;
    let bob = Laptop::of("bob", platform.unknown_key("bob"), platform);
    let _ = bob.paas(["tenant", "list"]).fails(3, &["nobody knows the key"]);
    assert_eq!(bob.paas_reading(["tenant", "join"], &token).ok().out, "bob is developer of tenant dev\n");

    let project = Project::from_fixture("procfile");
    let remote = platform.remote("dev", "shop");
    let init = bob.command().current_dir(project.path()).args(["init", "--tenant", "dev", "--app", "shop"]).output();
    assert!(Said::from(init.unwrap()).ok().out.contains(&remote), "it names the host's port");
    project.commit("with paas.yml");
    project.push(&bob.ssh(), &["paas-dev", "HEAD:main"]).live_at();
    let denied = bob.paas(["tenant", "token", "create", "--tenant", "dev"]);
    let _ = denied.fails(3, &["needs to be an owner of tenant `dev`"]);
    let _ = alice.paas(["users", "remove", "bob"]).ok();
    let _ = bob.paas(["tenant", "list"]).fails(3, &[]);
    assert!(!project.push(&bob.ssh(), &[&remote, "HEAD:main"]).accepted);
}

#[test]
fn what_the_operator_wrote_wins_and_is_said_where_it_is_in_the_way() {
    let machine = Machine::new();
    let config = machine.platform.home().join("config.yml");
    for (written, said) in
        [("ssh: {server: own}\n", "take `server: own` out"), ("ssh: {port: 2}\n", "take ssh's `port: 2` out")]
    {
        std::fs::write(&config, written).unwrap();
        let answer = machine.install(&["--json"]).ok().json();
        assert!(answer["by_hand"].to_string().contains(said), "{answer}");
        assert_eq!(std::fs::read_to_string(&config).unwrap(), written);
    }
}

#[test]
fn a_platform_that_serves_when_its_machine_is_installed_is_to_be_started_anew() {
    let machine = Machine::new();
    let _ = machine.platform.up().ok();
    let answer = machine.install(&["--json"]).ok().json();
    assert!(answer["by_hand"].to_string().contains("it still serves by the settings of before"), "{answer}");
    let again = machine.install(&["--json"]).ok().json();
    assert!(!again["by_hand"].to_string().contains("settings of before"), "{again}");
}

/// What sshd does not do must not be found out by those who push.
#[test]
fn a_platform_that_relies_on_the_hosts_sshd_does_not_start_while_that_lets_nobody_in() {
    let machine = Machine::new();
    let _ = machine.install(&[]).ok();
    let engine = machine.platform.engine_port().to_string();
    let up = || machine.platform.paas(["up", "--detach", "--engine-port", &engine, "--user", machine.platform.user()]);
    let text = std::fs::read_to_string(machine.drop_in()).unwrap();
    std::fs::remove_file(machine.drop_in()).unwrap();
    let _ = up().fails(1, &["lets nobody in", "it is not there", "sudo paas install"]);
    std::fs::write(machine.drop_in(), text).unwrap();
    let sshd = machine.root.path().join("etc/ssh/sshd_config");
    let without = std::fs::read_to_string(&sshd).unwrap().replace("Include ", "#Include ");
    std::fs::write(&sshd, without).unwrap();
    let _ = up().fails(1, &["lets nobody in", "is not in effect", "Include "]);
}

#[test]
fn a_broken_off_installation_is_finished_by_the_next_and_one_way_replaces_the_other() {
    let machine = Machine::new();
    let _ = machine.install(&["--authorized-keys"]).ok();
    assert!(machine.keys_file().exists());
    // As after a power cut, half of it is there.
    std::fs::write(machine.drop_in(), "").unwrap();
    std::fs::remove_file(machine.unit()).unwrap();
    std::fs::remove_dir_all(machine.platform.home().join("ssh")).unwrap();
    let healed = machine.install(&["--json"]).ok().json();
    let did = did(&healed);
    assert_eq!(did[&machine.drop_in().display().to_string()], "changed");
    assert_eq!(did[&machine.unit().display().to_string()], "made");
    assert_eq!(did[&machine.keys_file().display().to_string()], "removed");
    assert!(machine.platform.home().join("ssh/hooks").is_dir() && !machine.keys_file().exists());
    assert_eq!(machine.install(&["--json"]).ok().json()["changed"], false);
}

#[test]
fn files_of_somebody_else_stop_it_before_anything_is_done() {
    let machine = Machine::new();
    for path in [machine.drop_in(), machine.unit()] {
        std::fs::write(&path, "# mine\n").unwrap();
        let _ = machine.install(&[]).fails(3, &["was not made by `paas install`", &path.display().to_string()]);
        assert!(!machine.has_user(), "nothing was done");
        let left = machine.uninstall(&["--json"]).ok().json();
        assert!(left["by_hand"].to_string().contains("so it was left there"), "{left}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "# mine\n");
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn an_sshd_that_does_not_read_the_drop_in_is_said_with_what_to_do() {
    let machine = Machine::with_config("");
    let said = machine.install(&[]).fails(1, &["is not in effect", "try: put `Include "]);
    assert!(!machine.drop_in().exists(), "{said:?}");
    let broken = Machine::with_config("Nonsense yes\n");
    let _ = broken.install(&[]).fails(1, &["without any change of ours", "Nonsense"]);
    assert!(!broken.has_user());
}

#[test]
fn only_root_installs_and_programs_that_others_could_change_are_not_shown_to_sshd() {
    // Anybody may write to the directory for temporary files.
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::set_permissions(elsewhere.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for program in ["paas", "paas-receive"] {
        let built = Path::new(env!("CARGO_BIN_EXE_paas")).with_file_name(program);
        std::fs::copy(built, elsewhere.path().join(program)).unwrap();
    }
    let paas = elsewhere.path().join("paas");
    let machine = Machine::new();
    for noun in ["install", "uninstall"] {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--"]).arg(&paas);
        command.args([noun, "--home"]).arg(elsewhere.path().join("home")).arg("--root").arg(machine.root.path());
        let _ = Said::from(command.output().unwrap()).fails(3, &["needs root", &format!("try: `sudo paas {noun}`")]);
    }
    let mut command = Command::new(&paas);
    command.args(["install", "--user", machine.platform.user(), "--home"]).arg(machine.platform.home());
    let said = Said::from(command.arg("--root").arg(machine.root.path()).output().unwrap());
    let _ = said.fails(1, &["sshd would refuse to run", "sudo make install"]);
    assert!(!machine.has_user() && !machine.drop_in().exists());
}
