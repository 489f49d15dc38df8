//! Does to an engine whatever clients, operators and bad luck do, and knows what was asked for.

mod comparison;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::chance::Chance;
use super::engine::{Reply, TestEngine, probe_app, run};
use super::usage::Usage;

/// More are not made, so that a machine with two processors keeps up.
const MOST_APPS: usize = 10;
const MOST_INSTANCES: u64 = 3;

/// What an app is, and so how it is to be at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Serves in a container, with a health check.
    Serving,
    /// A process of the machine.
    Command,
    /// A process that fails; its failure has to show.
    Failing,
    /// A container of an image that nobody has.
    WithoutImage,
    /// Needs more than the machine has, which the queue has to say.
    TooLarge,
}

const KINDS: [Kind; 9] = [
    Kind::Serving,
    Kind::Serving,
    Kind::Serving,
    Kind::Serving,
    Kind::Command,
    Kind::Command,
    Kind::Failing,
    Kind::WithoutImage,
    Kind::TooLarge,
];

/// What was answered as accepted for an app, and not put in question by anything since.
#[derive(Debug, Clone, PartialEq)]
struct Wanted {
    kind: Kind,
    release: u64,
    instances: u64,
}

/// An engine under stress.
pub struct Soak {
    engine: TestEngine,
    chance: Chance,
    wanted: BTreeMap<String, Wanted>,
    /// How often each thing was done.
    done: BTreeMap<&'static str, u32>,
    refused: u32,
    release: u64,
    peak: u64,
}

impl Soak {
    pub fn of(engine: TestEngine) -> Self {
        let chance = Chance::new();
        Self { engine, chance, wanted: BTreeMap::new(), done: BTreeMap::new(), refused: 0, release: 0, peak: 0 }
    }

    /// One thing after another, with short pauses, for so long.
    pub fn run(&mut self, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            let what = self.step();
            *self.done.entry(what).or_default() += 1;
            self.peak = self.peak.max(Usage::of(self.engine.pid()).peak);
            self.check_some_app();
            std::thread::sleep(Duration::from_millis(self.chance.between(0, 250)));
        }
    }

    /// What was done, as people read it.
    pub fn figures(&self) -> String {
        let done: Vec<_> = self.done.iter().map(|(what, count)| format!("{count} {what}")).collect();
        let instances: u64 = self.wanted.values().map(|wanted| wanted.instances).sum();
        format!(
            "{}, of which {} were refused for a deployment that ran; at the end {} apps with {instances} instances, \
             all as asked for; the engine's peak {} MiB",
            done.join(", "),
            self.refused,
            self.wanted.len(),
            self.peak >> 10,
        )
    }

    fn step(&mut self) -> &'static str {
        match self.chance.between(0, 99) {
            0..=19 => self.put_app(),
            20..=29 => self.put_group(),
            30..=41 => self.update_app(),
            42..=51 => self.scale_app(),
            52..=56 => self.restart_app(),
            57..=62 => self.delete_app(),
            63..=72 => self.end_container(),
            73..=79 => self.kill_process(),
            80..=84 => self.kill_task(),
            85..=89 => self.undo_deployment(),
            _ => self.kill_engine(),
        }
    }

    fn put_app(&mut self) -> &'static str {
        if self.wanted.len() >= MOST_APPS {
            return self.delete_app();
        }
        let id = format!("/solo/a{}", self.chance.between(0, 7));
        let wanted = self.any_app();
        self.change(&id, &wanted, &definition(&wanted));
        "apps put"
    }

    /// Two apps of a group at once; what else the group had goes.
    fn put_group(&mut self) -> &'static str {
        let group = format!("/team{}", self.chance.between(0, 1));
        let apps: Vec<_> = ["web", "job"].map(|name| (name, self.any_app())).into();
        let list: Vec<_> = apps
            .iter()
            .map(|(name, wanted)| {
                let mut app = definition(wanted);
                app["id"] = json!(name);
                app
            })
            .collect();
        let path = self.path(&format!("/v2/groups{group}"));
        let reply = self.engine.put(&path, &json!({ "apps": list }));
        if self.accepted(&reply) {
            self.wanted.extend(apps.into_iter().map(|(name, wanted)| (format!("{group}/{name}"), wanted)));
        }
        "groups put"
    }

    fn update_app(&mut self) -> &'static str {
        if let Some((id, mut wanted)) = self.some_app() {
            self.release += 1;
            wanted.release = self.release;
            let body = json!({ "env": { "PAAS_RELEASE": wanted.release.to_string() } });
            self.change(&id, &wanted, &body);
        }
        "apps updated"
    }

    fn scale_app(&mut self) -> &'static str {
        if let Some((id, mut wanted)) = self.some_app() {
            wanted.instances = self.chance.between(0, MOST_INSTANCES);
            self.change(&id, &wanted, &json!({ "instances": wanted.instances }));
        }
        "apps scaled"
    }

    fn restart_app(&mut self) -> &'static str {
        if let Some((id, _)) = self.some_app() {
            let path = self.path(&format!("/v2/apps{id}/restart"));
            let reply = self.engine.ask("POST", &path, Some(&json!({})));
            self.accepted(&reply);
        }
        "apps restarted"
    }

    fn delete_app(&mut self) -> &'static str {
        if let Some((id, _)) = self.some_app() {
            let reply = self.engine.delete(&format!("/v2/apps{id}"));
            if self.accepted(&reply) {
                self.wanted.remove(&id);
            }
        }
        "apps deleted"
    }

    fn end_container(&mut self) -> &'static str {
        let containers = self.engine.containers();
        if let Some(container) = self.chance.one_of(&containers) {
            let how: &[&str] = if self.chance.coin() { &["kill"] } else { &["rm", "-f"] };
            run("docker", &[how, &[container]].concat());
        }
        "containers ended"
    }

    fn kill_process(&mut self) -> &'static str {
        let processes = self.engine.processes();
        if let Some(process) = self.chance.one_of(&processes) {
            run("kill", &["-9", &process.to_string()]);
        }
        "processes killed"
    }

    /// One that comes back, or is replaced by another.
    fn kill_task(&mut self) -> &'static str {
        let tasks = self.engine.get("/v2/tasks").ok().json();
        let ids: Vec<_> = tasks["tasks"].as_array().unwrap().iter().map(|task| task["id"].clone()).collect();
        if let Some(id) = self.chance.one_of(&ids) {
            let wipe = self.chance.coin();
            let path = format!("/v2/tasks/delete?wipe={wipe}");
            self.engine.ask("POST", &path, Some(&json!({ "ids": [id] }))).ok();
        }
        "tasks killed"
    }

    /// Cancelled or reversed: nobody but the engine knows what is asked for then.
    fn undo_deployment(&mut self) -> &'static str {
        let running = self.engine.get("/v2/deployments").ok().json();
        if let Some(deployment) = self.chance.one_of(running.as_array().unwrap()) {
            let force = self.chance.coin();
            let id = deployment["id"].as_str().unwrap();
            // It may have ended by itself meanwhile.
            let reply = self.engine.delete(&format!("/v2/deployments/{id}?force={force}"));
            assert!(matches!(reply.status, 200 | 202 | 404), "{} {}", reply.status, reply.body);
            for app in deployment["affectedApps"].as_array().unwrap() {
                self.wanted.remove(app.as_str().unwrap());
            }
        }
        "deployments undone"
    }

    fn kill_engine(&mut self) -> &'static str {
        self.engine.kill();
        std::thread::sleep(Duration::from_millis(self.chance.between(0, 300)));
        self.engine.launch();
        "kills of the engine"
    }

    fn any_app(&mut self) -> Wanted {
        self.release += 1;
        let kind = *self.chance.one_of(&KINDS).expect("there are kinds");
        Wanted { kind, release: self.release, instances: self.chance.between(1, MOST_INSTANCES) }
    }

    fn some_app(&mut self) -> Option<(String, Wanted)> {
        let all: Vec<_> = self.wanted.clone().into_iter().collect();
        self.chance.one_of(&all).cloned()
    }

    fn change(&mut self, id: &str, wanted: &Wanted, body: &Value) {
        // The whole definition, where it may be another kind of app.
        let whole = body.get("instances").is_some() && body.get("cpus").is_some();
        let path = self.path(&format!("/v2/apps{id}"));
        let path = if whole { format!("{path}&partialUpdate=false") } else { path };
        let reply = self.engine.put(&path, body);
        if self.accepted(&reply) {
            self.wanted.insert(id.to_owned(), wanted.clone());
        }
    }

    /// With or without force.
    fn path(&mut self, path: &str) -> String {
        format!("{path}?force={}", self.chance.coin())
    }

    /// An app may be held by a deployment; anything else is no answer.
    #[track_caller]
    fn accepted(&mut self, reply: &Reply) -> bool {
        assert!(matches!(reply.status, 200 | 201 | 409), "{} {}", reply.status, reply.body);
        self.refused += u32::from(reply.status == 409);
        reply.status != 409
    }

    /// What was answered as accepted is what is shown, also after the engine was killed.
    fn check_some_app(&mut self) {
        let Some((id, wanted)) = self.some_app() else { return };
        let found = self.engine.get(&format!("/v2/apps{id}")).ok().json();
        let shown = (&found["app"]["env"]["PAAS_RELEASE"], &found["app"]["instances"]);
        assert_eq!(shown, (&json!(wanted.release.to_string()), &json!(wanted.instances)), "{id}: {found:#}");
    }
}

fn definition(wanted: &Wanted) -> Value {
    let mut app = match wanted.kind {
        Kind::Serving => probe_app(""),
        Kind::WithoutImage => {
            let mut app = probe_app("");
            // Nothing listens there, so that nothing is fetched.
            app["container"]["docker"]["image"] = json!("127.0.0.1:1/nobodys:1");
            app
        }
        Kind::Command | Kind::TooLarge => json!({ "cmd": "sleep 10000 & exec sleep 10001", "mem": 32 }),
        Kind::Failing => json!({ "cmd": "exit 3", "mem": 32 }),
    };
    app.as_object_mut().unwrap().remove("id");
    app["cpus"] = json!(if wanted.kind == Kind::TooLarge { 9999.0 } else { 0.01 });
    app["instances"] = json!(wanted.instances);
    app["env"] = json!({ "PAAS_RELEASE": wanted.release.to_string() });
    if matches!(wanted.kind, Kind::Failing | Kind::WithoutImage) {
        // Once is enough to show why.
        app["backoffSeconds"] = json!(3600);
        app["maxLaunchDelaySeconds"] = json!(7200);
    }
    app["taskKillGracePeriodSeconds"] = json!(1);
    app
}
