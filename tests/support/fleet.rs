//! Many apps on one engine, in containers of the double: the load.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::engine::{DockerAt, TestEngine};
use super::fake_docker::{Delays, FakeDocker};
use super::load::Client;

/// More ports and resources than the machine has: nothing of them is used.
const ARGUMENTS: [&str; 9] =
    ["--allow-commands", "--ports", "12000-30000", "--cpus", "100000", "--mem", "1e9", "--disk", "1e9"];

/// An engine with apps that run.
pub struct Fleet {
    // Ends before the Docker that it asks.
    pub engine: TestEngine,
    docker: FakeDocker,
    checked: Option<TcpListener>,
    groups: usize,
    apps_per_group: usize,
    instances: usize,
}

impl Fleet {
    pub fn new(groups: usize, apps_per_group: usize, instances: usize) -> Self {
        let docker = FakeDocker::start(Delays::default());
        let engine = TestEngine::setup().arguments(&ARGUMENTS).docker(DockerAt::Double(docker.socket())).start();
        Self { engine, docker, checked: None, groups, apps_per_group, instances }
    }

    /// With a health check of each instance in a minute, which a listener answers in their place.
    pub fn with_checks(mut self) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let answering = listener.try_clone().unwrap();
        std::thread::spawn(move || answering.incoming().for_each(drop));
        self.checked = Some(listener);
        self
    }

    /// Asks for all apps, a group at a time, and answers when the last is accepted; how long that took.
    pub fn create(&self) -> Duration {
        let mut client = self.client();
        let begun = Instant::now();
        for group in 0..self.groups {
            let apps: Vec<_> = (0..self.apps_per_group).map(|app| self.definition(app, "1")).collect();
            client.put(&format!("/v2/groups/g{group:02}"), &json!({ "apps": apps }).to_string()).ok();
        }
        begun.elapsed()
    }

    /// Waits until every instance runs (and is found healthy, where it is checked), and no deployment is left.
    pub fn settled(&self) {
        let mut client = self.client();
        let deadline = Instant::now() + Duration::from_mins(2);
        let wanted = self.groups * self.apps_per_group * self.instances;
        loop {
            let running = client.get("/v2/apps").json();
            let counter = if self.checked.is_some() { "tasksHealthy" } else { "tasksRunning" };
            let counts = running["apps"].as_array().unwrap().iter().filter_map(|app| app[counter].as_u64());
            let count: u64 = counts.sum();
            if count == u64::try_from(wanted).unwrap() && client.get("/v2/deployments").body == "[]" {
                return;
            }
            assert!(Instant::now() < deadline, "{count} of {wanted}: {}", self.engine.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub fn client(&self) -> Client {
        Client::to(self.address())
    }
    pub fn address(&self) -> SocketAddr {
        self.engine.address()
    }
    pub fn count(&self) -> usize {
        self.groups * self.apps_per_group
    }
    /// The path of the n-th app.
    pub fn app(&self, n: usize) -> String {
        let n = n % self.count();
        format!("/v2/apps/g{:02}/a{:02}", n / self.apps_per_group, n % self.apps_per_group)
    }

    /// Ids of the containers that run, in order.
    pub fn containers(&self) -> Vec<String> {
        let mut running = self.docker.running();
        running.sort();
        running
    }
    /// Ends a container by itself, and waits until the engine has taken that in.
    pub fn end(&self, container: &str) {
        self.docker.die(container, 1);
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.client().get("/v2/apps?embed=apps.lastTaskFailure").body.contains("lastTaskFailure") {
            assert!(Instant::now() < deadline, "nobody noticed");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Puts the n-th app in another release, as clients do that send what they want whole.
    pub fn put(&self, client: &mut Client, n: usize, release: &str) {
        let body = self.definition(n % self.apps_per_group, release).to_string();
        client.put(&format!("{}?force=true&partialUpdate=false", self.app(n)), &body).ok();
    }

    fn definition(&self, app: usize, release: &str) -> Value {
        // Of their own they have none: an engine asks the containers of the double at this machine's.
        let port = self.checked.as_ref().map(|listener| listener.local_addr().unwrap().port());
        let mut mapping = json!({ "containerPort": port.unwrap_or(0), "protocol": "tcp", "name": "http" });
        let mut definition = json!({
            "id": format!("a{app:02}"), "args": ["/start", "web"], "cpus": 0.1, "mem": 64, "instances": self.instances,
            "container": { "type": "DOCKER", "docker": { "image": "registry.example.org/shop/web:1" } },
            "networks": [{ "mode": "container/bridge" }],
            "env": { "PAAS_RELEASE": release, "DATABASE_URL": "postgres://db.example.org:5432/shop" },
            "labels": { "paas.app": "shop", "HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": "shop.example.org" },
        });
        if port.is_some() {
            definition["healthChecks"] = json!([{ "protocol": "MESOS_TCP", "portIndex": 0, "intervalSeconds": 60 }]);
        } else {
            mapping["hostPort"] = json!(0);
        }
        definition["container"]["portMappings"] = json!([mapping]);
        definition
    }
}
