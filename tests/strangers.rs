//! Every command and every kind of push against a tenant that one is no member of: as if there were none.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::CommandFactory as _;

use crate::support::figures::figure;
use crate::support::laptop::Laptop;
use crate::support::platform::{Said, TestPlatform};
use crate::support::project::Project;
use crate::support::times::{Times, ms};

/// Where the tenant's name goes.
const TENANT: &str = "TENANT";

/// What a command has to do with tenants.
enum Reach {
    /// So it is put to a tenant.
    Tenant(&'static [&'static str]),
    /// It names none: why it is none of this matter.
    Elsewhere,
    /// It works on the machine where it is typed, and no host runs it.
    Here,
}

use Reach::{Elsewhere, Here, Tenant};

/// A command without a line here fails the test.
fn matrix() -> BTreeMap<&'static str, Reach> {
    BTreeMap::from([
        ("apps redeploy", Tenant(&["apps", "redeploy", "--tenant", TENANT, "--app", "shop"])),
        ("apps token create", Tenant(&["apps", "token", "create", "--tenant", TENANT, "--app", "shop"])),
        ("apps token list", Tenant(&["apps", "token", "list", "--tenant", TENANT])),
        ("apps token revoke", Tenant(&["apps", "token", "revoke", "00000000", "--tenant", TENANT])),
        ("audit", Tenant(&["audit", "--tenant", TENANT])),
        ("builds cancel", Tenant(&["builds", "cancel", "--tenant", TENANT, "--app", "shop"])),
        ("builds list", Tenant(&["builds", "list", "--tenant", TENANT, "--app", "shop"])),
        ("builds log", Tenant(&["builds", "log", "--follow", "--tenant", TENANT, "--app", "shop"])),
        ("builds show", Tenant(&["builds", "show", "1", "--tenant", TENANT, "--app", "shop"])),
        ("down", Here),
        ("engine", Here),
        ("init", Here),
        ("install", Here),
        ("keys add", Elsewhere),
        ("keys list", Elsewhere),
        ("keys remove", Elsewhere),
        ("keys rename", Elsewhere),
        ("stack build", Here),
        ("status", Elsewhere),
        ("tenant create", Elsewhere),
        ("tenant delete", Tenant(&["tenant", "delete", TENANT, "--yes", "--force"])),
        ("tenant join", Elsewhere),
        ("tenant list", Elsewhere),
        ("tenant members add", Tenant(&["tenant", "members", "add", "mallory", "--tenant", TENANT])),
        ("tenant members list", Tenant(&["tenant", "members", "list", "--tenant", TENANT])),
        ("tenant members remove", Tenant(&["tenant", "members", "remove", "alice", "--tenant", TENANT])),
        ("tenant members set-role", Tenant(&["tenant", "members", "set-role", "mallory", "owner", "--tenant", TENANT])),
        ("tenant quota set", Tenant(&["tenant", "quota", "set", TENANT, "--cpus", "64"])),
        ("tenant quota show", Tenant(&["tenant", "quota", "show", TENANT])),
        ("tenant show", Tenant(&["tenant", "show", TENANT, "--json"])),
        ("tenant token create", Tenant(&["tenant", "token", "create", "--tenant", TENANT])),
        ("tenant token list", Tenant(&["tenant", "token", "list", "--tenant", TENANT])),
        ("tenant token revoke", Tenant(&["tenant", "token", "revoke", "00000000", "--tenant", TENANT])),
        ("uninstall", Here),
        ("up", Here),
        ("users list", Elsewhere),
        ("users remove", Elsewhere),
        ("users rename", Elsewhere),
        ("users set-admin", Elsewhere),
        ("users show", Elsewhere),
    ])
}

/// The commands that have no commands below them, by their words.
fn leaves(command: &clap::Command, above: &str) -> Vec<String> {
    let below: Vec<_> = command.get_subcommands().collect();
    if below.is_empty() {
        return vec![above.to_owned()];
    }
    let path = |name: &str| format!("{above} {name}").trim().to_owned();
    below.into_iter().flat_map(|command| leaves(command, &path(command.get_name()))).collect()
}

#[test]
fn every_command_has_its_place_in_the_matrix() {
    let mut known: Vec<_> = matrix().into_keys().map(str::to_owned).collect();
    let mut all = leaves(&paas::cli::Paas::command(), "");
    known.sort();
    all.sort();
    assert_eq!(known, all);
}

#[test]
fn another_tenant_is_as_if_it_were_not_there() {
    let platform = TestPlatform::start();
    let alice = Laptop::of("alice", platform.key_of("alice"), &platform);
    let mallory = Laptop::of("mallory", platform.key_of("mallory"), &platform);
    for tenant in ["theirs", "own"] {
        let _ = alice.paas(["tenant", "create", tenant]).ok();
    }
    let _ = alice.paas(["tenant", "members", "add", "mallory", "--role", "owner", "--tenant", "own"]).ok();
    let put = |words: &[&str], tenant: &str| -> Said {
        let words = words.iter().map(|word| if *word == TENANT { tenant } else { word });
        mallory.command().args(words).output().unwrap().into()
    };
    let without = |said: Said, name: &str| (said.status, said.out, said.err.replace(name, "X"));
    for (command, reach) in matrix() {
        if let Tenant(words) = reach {
            let (theirs, nowhere) = (put(words, "theirs"), put(words, "nowhere"));
            assert_eq!((theirs.status, theirs.out.as_str()), (3, ""), "{command}: {}", theirs.err);
            assert_eq!(without(theirs, "theirs"), without(nowhere, "nowhere"), "{command}");
        }
    }
    // In one's own the same words do something.
    let _ = put(&["tenant", "members", "list", "--tenant", TENANT], "own").ok();

    let project = Project::from_fixture("static");
    // Without any deploy token on the platform, and with one for the very app.
    for with_token in [false, true] {
        if with_token {
            let _ = alice.paas(["apps", "token", "create", "--tenant", "theirs", "--app", "shop"]).ok();
        }
        pushes_tell_nothing(&project, &platform, &mallory);
    }
    assert!(!platform.home().join("repositories/theirs").exists());
    same_time(&|tenant| put(&["tenant", "show", TENANT], tenant));
    same_time(&|tenant| {
        let pushed = project.push(&mallory.ssh(), &[&platform.remote(tenant, "shop"), "HEAD:main"]);
        assert!(!pushed.accepted);
    });
}

fn pushes_tell_nothing(project: &Project, platform: &TestPlatform, mallory: &Laptop) {
    for arguments in [
        &["HEAD:main"][..],
        &["HEAD:other"],
        &["HEAD:refs/tags/v1"],
        &["--force", "HEAD:main"],
        &["HEAD:main", "HEAD:other"],
    ] {
        let push = |tenant: &str| {
            let remote = platform.remote(tenant, "shop");
            let all: Vec<&str> = std::iter::once(remote.as_str()).chain(arguments.iter().copied()).collect();
            let pushed = project.push(&mallory.ssh(), &all);
            (pushed.accepted, pushed.porcelain.replace(tenant, "X"), pushed.output.replace(tenant, "X"))
        };
        assert_eq!(push("theirs"), push("nowhere"), "{arguments:?}");
        let (accepted, _, output) = push("theirs");
        let told = output.contains("there is no tenant") || output.contains("brings one branch");
        assert!(!accepted && told, "{arguments:?}: {output}");
    }
}

/// Neither how long it takes tells.
fn same_time<T>(ask: &dyn Fn(&str) -> T) {
    const TIMES: usize = 40;
    let (mut theirs, mut nowhere) = (Times::default(), Times::default());
    for _ in 0..TIMES {
        drop(theirs.take(|| ask("theirs")));
        drop(nowhere.take(|| ask("nowhere")));
    }
    let (theirs, nowhere) = (theirs.median(), nowhere.median());
    figure(&format!("refused: a tenant of others {}, none {}", ms(theirs), ms(nowhere)));
    let noise = Duration::from_millis(3).max(nowhere / 5);
    assert!(theirs.abs_diff(nowhere) < noise, "{} and {}", ms(theirs), ms(nowhere));
}
