use proptest::prelude::*;

use super::*;

const EVERYTHING: &str = "\
app: shop                     # default: the name in the push URL
token: paas_dt_hunter2
build:
  builder: buildstep
  buildpacks: [https://example.org/buildpack.git#v3]
  dockerfile: docker/Dockerfile
  target: prod
  env: {NODE_ENV: production}
  timeout: 15m
processes:
  web:
    command: ./serve --port $PORT
    instances: 2
    cpus: 0.5
    mem: 256
    health: {path: /healthz, interval: 2s, grace: 60s, failures: 3}
    stop_timeout: 10s
    constraints: [[hostname, UNIQUE]]
  worker: {instances: 1}
release: ./migrate
env: {LOG_LEVEL: info}
domains: [shop.example.org]
tenants:
  prod: {processes: {web: {instances: 6, health: {failures: 9}}}, env: {TIER: gold}}
x-notes: [anything, {goes: here}]
";

fn parse(text: &str) -> Manifest {
    Manifest::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}
fn message(text: &str) -> String {
    Manifest::parse(text).unwrap_err().to_string()
}
fn process<'a>(manifest: &'a Manifest, name: &str) -> &'a Process {
    &manifest.processes[&name.parse::<ProcessType>().unwrap()]
}
fn tenant(name: &str) -> TenantName {
    name.parse().unwrap()
}

#[test]
fn every_key_is_read_into_its_type() {
    let manifest = parse(EVERYTHING);
    assert_eq!(manifest.app.as_ref().map(AppName::as_str), Some("shop"));
    assert_eq!(manifest.token.as_ref().map(Secret::reveal), Some("paas_dt_hunter2"));
    assert_eq!(
        manifest.build,
        Build {
            builder: Some(Builder::Buildstep),
            buildpacks: Some(vec!["https://example.org/buildpack.git#v3".to_owned()]),
            env: BTreeMap::from([("NODE_ENV".to_owned(), "production".to_owned())]),
            timeout: Some(Period::from_secs(900)),
            dockerfile: Some("docker/Dockerfile".to_owned()),
            target: Some("prod".to_owned()),
        }
    );
    assert_eq!(
        *process(&manifest, "web"),
        Process {
            command: Some("./serve --port $PORT".to_owned()),
            instances: Some(2),
            cpus: Some(0.5),
            mem: Some(256),
            health: Some(Health {
                path: Some("/healthz".to_owned()),
                interval: Some(Period::from_secs(2)),
                grace: Some(Period::from_secs(60)),
                failures: Some(3),
            }),
            stop_timeout: Some(Period::from_secs(10)),
            constraints: Some(vec![vec!["hostname".to_owned(), "UNIQUE".to_owned()].try_into().unwrap()]),
        }
    );
    assert_eq!(*process(&manifest, "worker"), Process { instances: Some(1), ..Process::default() });
    assert_eq!(manifest.release.as_deref(), Some("./migrate"));
    assert_eq!(manifest.env, BTreeMap::from([("LOG_LEVEL".to_owned(), "info".to_owned())]));
    assert_eq!(manifest.domains, Some(vec!["shop.example.org".parse().unwrap()]));
    assert_eq!(manifest.tenants().map(TenantName::as_str).collect::<Vec<_>>(), ["prod"]);
}

#[test]
fn a_token_does_not_show() {
    assert!(!format!("{:?}", parse(EVERYTHING)).contains("hunter2"));
}

#[test]
fn a_tenant_has_its_overlay_over_the_rest() {
    let manifest = parse(EVERYTHING);
    let prod = manifest.for_tenant(&tenant("prod"));
    let web = process(&prod, "web");
    assert_eq!((web.instances, web.mem), (Some(6), Some(256)));
    let health = web.health.clone().unwrap();
    assert_eq!((health.failures, health.path.as_deref()), (Some(9), Some("/healthz")));
    assert_eq!(prod.env.keys().collect::<Vec<_>>(), ["LOG_LEVEL", "TIER"]);
    assert_eq!(prod.app, manifest.app);
    assert_eq!(manifest.for_tenant(&tenant("dev")), Manifest { tenants: BTreeMap::new(), ..manifest });
}

#[test]
fn an_overlay_takes_the_place_of_lists_and_adds_processes() {
    let text = "domains: [a.b, c.d]\nbuild: {timeout: 1m}\ntenants:\n  prod:\n    domains: []\n    \
                build: {builder: dockerfile}\n    processes: {extra: {command: ./x}}\n    release:\n";
    let prod = parse(text).for_tenant(&tenant("prod"));
    assert_eq!(prod.domains, Some(Vec::new()));
    assert_eq!((prod.build.builder, prod.build.timeout), (Some(Builder::Dockerfile), Some(Period::from_secs(60))));
    assert_eq!(process(&prod, "extra").command.as_deref(), Some("./x"));
}

#[test]
fn what_says_nothing_is_no_error() {
    for text in ["", "\n", "# only a comment\n\n  # and another\n", "---\n", "\u{feff}", "~", "{}"] {
        assert_eq!(parse(text), Manifest::default(), "{text:?}");
    }
    let text = "app:\nbuild:\nprocesses:\n  # web:\nenv:\ndomains: ~\ntenants:\nrelease: null\n";
    assert_eq!(parse(text), Manifest::default());
    assert_eq!(parse("processes: {web: }\n").processes.len(), 1);
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_nearest_known_one() {
    for (text, expected) in [
        (
            "app: shop\n\nproceses:\n  web: {}\n",
            "paas.yml line 3, column 1: unknown key `proceses`; did you mean `processes`?",
        ),
        (
            "processes:\n  web:\n    mem: 256\n    instanes: 2\n",
            "paas.yml line 4, column 5: processes.web: unknown key `instanes`; did you mean `instances`?",
        ),
        (
            "processes:\n  web:\n    health: {path: /, intervall: 2s}\n",
            "paas.yml line 3, column 23: processes.web.health: unknown key `intervall`; did you mean `interval`?",
        ),
        (
            "tenants:\n  prod:\n    processes: {web: {mme: 1}}\n",
            "paas.yml line 3, column 23: tenants.prod.processes.web: unknown key `mme`; did you mean `mem`?",
        ),
        (
            "build:\n  qwertz: 1\n",
            "paas.yml line 2, column 3: build: unknown key `qwertz`; known are builder, buildpacks, env, timeout, dockerfile, target",
        ),
        (
            "tenants:\n  prod: {app: other}\n",
            "paas.yml line 2, column 10: tenants.prod: unknown key `app`; known are processes, build, release, env, domains, token",
        ),
    ] {
        assert_eq!(message(text), expected);
    }
}

#[test]
fn keys_that_begin_with_x_are_free_everywhere() {
    parse("x-a: {b: [c]}\nbuild: {x-b: 1}\nprocesses: {web: {x-c: [], health: {x-d: ~}}}\n");
}

#[test]
fn a_wrong_type_is_named_with_its_place_and_path() {
    for (text, start) in [
        ("app: [a]\n", "paas.yml line 1, column 6: app: "),
        (
            "processes:\n  web:\n    instances: two\n",
            "paas.yml line 3, column 16: processes.web.instances: `two` is no whole",
        ),
        ("processes: [web]\n", "paas.yml line 1, column 12: processes: "),
        ("processes:\n  web: ./serve\n", "paas.yml line 2, column 8: processes.web: "),
        ("domains: shop.example.org\n", "paas.yml line 1, column 10: domains: "),
        ("domains:\n  - a.b\n  - {c: d}\n", "paas.yml line 3, column 5: domains[1]: "),
        ("env:\n  A: [1]\n", "paas.yml line 2, column 6: env.A: "),
        ("- a\n", "paas.yml line 1, column 1: "),
        ("just text", "paas.yml line 1, column 1: "),
    ] {
        let message = message(text);
        assert!(message.starts_with(start), "{message}");
        assert!(!message.contains('\n') && !message.contains(" at line "), "{message}");
    }
}

#[test]
fn a_bad_value_is_refused_with_what_a_good_one_is() {
    for (text, part) in [
        ("app: Shop", "line 1, column 6: app: `Shop` is no app name"),
        ("processes: {Web_1: {}}", "`Web_1` is no process type name"),
        ("tenants: {a.b: {}}", "`a.b` is no tenant name"),
        ("build: {builder: dokerfile}", "there is no builder `dokerfile`; did you mean `dockerfile`?"),
        ("build: {timeout: 15}", "is no duration; one looks like"),
        ("build: {timeout: 0s}", "at least `1s`"),
        ("build: {buildpacks: [--upload-pack=x]}", "is no buildpack"),
        ("build: {dockerfile: ../Dockerfile}", "is no path in the repository"),
        ("build: {dockerfile: /etc/passwd}", "is no path in the repository"),
        ("build: {target: 'a b'}", "is no name of a stage"),
        ("build: {buildpacks: ['https://a b']}", "is no buildpack"),
        ("build: {env: {../x: 1}}", "`../x` is no variable's name"),
        ("env: {1A: 1}", "is no variable's name"),
        ("env: {A: \"a\\0\"}", "a value may not hold a NUL"),
        ("release: ''", "the command is empty"),
        ("domains: ['a,b']", "`a,b` is no domain"),
        ("domains: ['a b']", "is no domain"),
        ("processes: {web: {instances: -1}}", "`-1` is no whole number"),
        ("processes: {web: {cpus: .nan}}", "no number of CPUs"),
        ("processes: {web: {cpus: 0}}", "no number of CPUs"),
        ("processes: {web: {cpus: inf}}", "no number of CPUs"),
        ("processes: {web: {mem: 256MiB}}", "a whole number of MiB"),
        ("processes: {web: {mem: 99999999999999999999}}", "a whole number of MiB"),
        ("processes: {web: {health: {path: healthz}}}", "one looks like `/healthz`"),
        ("processes: {web: {health: {path: \"/a\\r\\nb\"}}}", "is no path"),
        ("processes: {web: {health: {interval: 500ms}}}", "not in whole seconds"),
        ("processes: {web: {health: {failures: 0}}}", "no whole number from 1"),
        ("processes: {web: {constraints: [[hostname, UNIQE]]}}", "`UNIQE`; did you mean `UNIQUE`?"),
        ("processes: {web: {constraints: [[hostname]]}}", "this one has 1"),
    ] {
        let message = message(text);
        assert!(message.contains(part), "{text}\n{message}");
        assert!(message.starts_with("paas.yml line 1, column "), "{message}");
    }
}

#[test]
fn what_stands_there_twice_is_refused_at_the_second_place() {
    assert_eq!(message("app: a\napp: b\n"), "paas.yml line 2, column 1: the key `app` stands there twice");
    assert_eq!(message("env:\n  A: 1\n  A: 2\n"), "paas.yml line 3, column 3: env: `A` stands there twice");
    assert!(message("processes: {web: {}, web: {}}\n").contains("`web` stands there twice"));
}

#[test]
fn a_scalar_is_the_text_that_stands_there() {
    let env = parse("env: {A: 1.10, B: yes, C: 0x10, D: '', E: 012, F: , G: 'null'}\n").env;
    let read: Vec<_> = env.values().map(String::as_str).collect();
    assert_eq!(read, ["1.10", "yes", "0x10", "", "012", "", "null"]);
    assert_eq!(parse("env:\n  F: |\n    two\n    lines\n").env["F"], "two\nlines\n");
}

#[test]
fn values_are_only_data() {
    let hostile = "; rm -rf / `id` $(id) 'x' \"y\" && \n newline";
    let text = format!("env: {{A: {0}}}\nrelease: {0}\n", serde_json::to_string(hostile).unwrap());
    let manifest = parse(&text);
    assert_eq!((manifest.env["A"].as_str(), manifest.release.as_deref()), (hostile, Some(hostile)));
}

#[test]
fn broken_yaml_is_refused_with_its_place() {
    for text in [
        "app: [a\n",
        "a: b: c\n",
        "\tapp: x\n",
        "app: 'x\n",
        "app: *nowhere\n",
        "app: a\n---\napp: b\n",
        "a: \"\\q\"",
        "\0",
    ] {
        let message = message(text);
        assert!(message.starts_with("paas.yml"), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
    assert!(message("app: shop\nbuild: {a\n").starts_with("paas.yml line "), "{}", message("app: shop\nbuild: {a\n"));
}

#[test]
fn what_would_grow_or_nest_without_end_is_refused() {
    let mut bomb = "x-a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (this, last) in ('b'..='z').zip('a'..) {
        bomb += &[&format!("x-{this}: &{this} ["), vec![format!("*{last}"); 9].join(",").as_str(), "]\n"].concat();
    }
    assert!(message(&bomb).contains("aliases"), "{}", message(&bomb));
    let rows = format!("processes: {{web: {{constraints: [&a [{}], {}]}}}}", "a,".repeat(20_000), "*a,".repeat(20_000));
    assert!(message(&rows).contains("aliases"), "a flat bomb has few aliases of aliases: {}", message(&rows));
    let names: Vec<_> = (0..1000).map(|n| format!("A{n}: *a")).collect();
    let long = format!("env: {{A: &a \"{}\", {}}}", "x".repeat(1 << 16), names.join(","));
    assert!(message(&long).contains("aliases"), "{}", message(&long));
    assert!(message(&format!("x-a: {}{}", "[".repeat(2000), "]".repeat(2000))).contains("recursion limit"));
    assert!(Manifest::parse("x-a: &a [*a]").is_err());
    assert_eq!(Manifest::parse(&" ".repeat(MAX_BYTES + 1)), Err(ManifestError::TooLarge { bytes: MAX_BYTES + 1 }));
    assert_eq!(Manifest::read(b"app: \xff"), Err(ManifestError::NotText));
}

#[test]
fn aliases_within_reason_are_values_like_others() {
    let manifest = parse("processes:\n  web: &w {mem: 64}\n  worker: *w\nx-tagged: !any [thing]\n");
    assert_eq!(process(&manifest, "web"), process(&manifest, "worker"));
}

#[test]
fn a_hostile_text_is_cut_and_cannot_reach_a_terminal() {
    for text in [format!("\"\\e[2J{}\": 1", "x".repeat(1 << 17)), format!("app: \"\\e[2J{}\"", "x".repeat(1 << 17))] {
        let message = message(&text);
        assert!(!message.contains('\u{1b}') && message.chars().count() < 400, "{message}");
    }
    let message = message(&format!("env: {{A: \"{}\"}}", "x".repeat(1 << 19)));
    assert!(message.contains("the value is too long"), "{message}");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_in_one_line(text in "(?s).{0,60}|[a-z:{}\\[\\] \n&*!|>'\"-]{0,60}") {
        if let Err(error) = Manifest::parse(&text) {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }
}

#[test]
fn what_would_keep_the_scanner_busy_is_refused_at_once() {
    let started = std::time::Instant::now();
    assert!(message(&"[".repeat(MAX_BYTES)).contains("too many `[`"));
    assert!(message(&"{a: ".repeat(MAX_BYTES / 4)).contains("too many `[`"));
    assert!(message(&"%TAG !e! tag:x\n".repeat(MAX_BYTES / 16)).contains("too many `%TAG`"));
    assert!(started.elapsed() < std::time::Duration::from_secs(5), "each would take minutes");
    let value = "x[{".repeat(1000);
    assert_eq!(parse(&format!("env: {{A: \"{value}\"}}")).env["A"], value);
}
