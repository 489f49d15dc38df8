//! The least that a push could take here: a plain `git push` to a bare repository over an sshd that does nothing else,
//! then the calls of Docker's API without which no builder runs and no instance starts, one after another.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::docker_api::DockerApi;
use crate::sshd::{Sshd, make_key};
use crate::support::http;
use crate::support::project::Project;

/// The plain sshd, and bare repositories behind it.
pub struct Floor {
    sshd: Sshd,
    directory: TempDir,
    repositories: u32,
    /// As a tenant's, in which its instances are by themselves. On Docker's default bridge all instances of all tenants
    /// would reach each other.
    network: String,
    /// The version that the next push replaces.
    serving: Option<Left>,
}

/// How long one took, from before git started.
pub struct Least {
    pub answered: Duration,
    /// The same with an instance on Docker's default bridge, which starts sooner.
    pub on_default_bridge: Duration,
    /// Until the version before it had ended, if there was one.
    pub ended: Option<Duration>,
}

/// What a floor's push left in Docker.
struct Left {
    containers: Vec<String>,
    images: Vec<String>,
}

impl Floor {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("key");
        make_key(&key);
        // Away from this machine's root: what its shell reads at its start is no part of a plain push.
        let home = directory.path().display();
        let sshd =
            Sshd::start(&format!("AuthorizedKeysFile {}\nSetEnv HOME={home}", key.with_extension("pub").display()));
        let network = format!("paas-bench-{}", uuid::Uuid::new_v4());
        DockerApi::connect().post("/networks/create", &json!({"Name": network, "Driver": "bridge"}));
        let floor = Self { sshd, directory, repositories: 0, network, serving: None };
        // The first connection also learns the host's key.
        let words = floor.words();
        let port = floor.sshd.port().to_string();
        let greeted = Command::new(&words[0]).args(&words[1..]).args(["-p", &port, "root@127.0.0.1", "true"]).status();
        assert!(greeted.unwrap().success());
        floor
    }

    fn words(&self) -> Vec<String> {
        self.sshd.ssh(&self.directory.path().join("key"))
    }

    /// A new bare repository; git is given its place as a remote.
    pub fn repository(&mut self) -> PathBuf {
        self.repositories += 1;
        let path = self.directory.path().join(format!("{}.git", self.repositories));
        let made = Command::new("git").args(["init", "--quiet", "--bare"]).arg(&path).status();
        assert!(made.unwrap().success());
        path
    }

    /// `git push` of the work tree's commit, and nothing else.
    pub fn plain_push(&self, project: &Project, repository: &Path, to: &str) -> Duration {
        let remote = format!("ssh://root@127.0.0.1:{}{}", self.sshd.port(), repository.display());
        let ssh = self.words().join(" ");
        let begun = Instant::now();
        let pushed = project.push(&ssh, &["--force", &remote, to]);
        let took = begun.elapsed();
        assert!(pushed.accepted, "{}", pushed.output);
        took
    }

    /// The plain push, then build and start by the bare calls, until the app answers, and until the version before it has
    /// ended. `registry` is `host:port`.
    pub fn push(&mut self, project: &Project, repository: &Path, builder: &str, registry: Option<&str>) -> Least {
        let tar = archive(project);
        let address = free_address();
        let mut api = DockerApi::connect();
        let mut left = Left { containers: Vec::new(), images: Vec::new() };
        let begun = Instant::now();
        self.plain_push(project, repository, "HEAD:main");
        let image = build(&mut api, builder, &tar, &mut left);
        let image = registry.map_or(image.clone(), |host| publish(&mut api, &image, host, &mut left));
        let pushed = begun.elapsed();
        run(&mut api, &image, address, &self.network, &mut left);
        let answered = begun.elapsed();
        let on_default_bridge = pushed + on_default_bridge(&mut api, &image);
        let begun = Instant::now();
        let before = self.serving.replace(left);
        let ended = before.map(|before| {
            before.stop(&mut api);
            let ended = answered + begun.elapsed();
            before.remove(&mut api);
            ended
        });
        Least { answered, on_default_bridge, ended }
    }

    /// Another instance of what serves, until it answers and the one before it has ended.
    pub fn deploy(&mut self) -> Duration {
        let serving = self.serving.as_mut().expect("something was pushed");
        let (image, mut api) = (serving.images.last().expect("it was built").clone(), DockerApi::connect());
        let mut next = Left { containers: Vec::new(), images: Vec::new() };
        let address = free_address();
        let begun = Instant::now();
        run(&mut api, &image, address, &self.network, &mut next);
        serving.stop(&mut api);
        let took = begun.elapsed();
        serving.containers.append(&mut next.containers);
        took
    }

    /// Leaves nothing.
    pub fn end(self) {
        let mut api = DockerApi::connect();
        if let Some(left) = &self.serving {
            left.remove(&mut api);
        }
        api.delete(&format!("/networks/{}", self.network));
    }
}

/// The commit's tree below `app`, as a build takes it.
fn archive(project: &Project) -> Vec<u8> {
    project.command().args(["archive", "--format=tar", "--prefix=app/", "HEAD"]).output().unwrap().stdout
}

fn build(api: &mut DockerApi, builder: &str, tar: &[u8], left: &mut Left) -> String {
    let created = api.post("/containers/create", &json!({"Image": builder, "Cmd": ["/build/builder"]}));
    let container = id(&created, "Id");
    left.containers.push(container.clone());
    api.upload(&container, tar);
    api.post(&format!("/containers/{container}/start"), &Value::Null);
    let ended = api.post(&format!("/containers/{container}/wait"), &Value::Null);
    assert_eq!(ended["StatusCode"], 0, "{ended}");
    let committed = api.post(&format!("/commit?container={container}&pause=false"), &json!({"Cmd": ["/start", "web"]}));
    let image = id(&committed, "Id");
    left.images.push(image.clone());
    image
}

/// Gives the name under which the registry has it.
fn publish(api: &mut DockerApi, image: &str, host: &str, left: &mut Left) -> String {
    let repository = format!("{host}/floor/{}", &image["sha256:".len()..][..12]);
    api.post(&format!("/images/{image}/tag?repo={repository}&tag=1"), &Value::Null);
    // With its only name the image goes.
    left.images = vec![format!("{repository}:1")];
    let told = api.push(&repository, "1");
    let digest = told.split("\"Digest\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a digest");
    format!("{repository}@{digest}")
}

/// How long an instance takes there; it is gone afterwards.
fn on_default_bridge(api: &mut DockerApi, image: &str) -> Duration {
    let mut left = Left { containers: Vec::new(), images: Vec::new() };
    let address = free_address();
    let begun = Instant::now();
    run(api, image, address, "bridge", &mut left);
    let took = begun.elapsed();
    left.remove(api);
    took
}

/// Until it answers.
fn run(api: &mut DockerApi, image: &str, address: SocketAddr, network: &str, left: &mut Left) {
    let port = format!("{}/tcp", address.port());
    let binding = json!({(&port): [{"HostIp": "127.0.0.1", "HostPort": address.port().to_string()}]});
    let body = json!({
        "Image": image,
        "Env": [format!("PORT={}", address.port())],
        "ExposedPorts": {(&port): {}},
        "HostConfig": {"PortBindings": binding, "NetworkMode": network},
    });
    let container = id(&api.post("/containers/create", &body), "Id");
    left.containers.push(container.clone());
    api.post(&format!("/containers/{container}/start"), &Value::Null);
    while http::get(address, "/", None).is_err() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn id(answer: &Value, key: &str) -> String {
    answer[key].as_str().unwrap_or_else(|| panic!("no {key} in {answer}")).to_owned()
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Left {
    /// Ends the instance, which is the newest of the containers.
    fn stop(&self, api: &mut DockerApi) {
        let instance = self.containers.last().expect("it serves");
        api.post(&format!("/containers/{instance}/stop?t=3"), &Value::Null);
        api.post(&format!("/containers/{instance}/wait"), &Value::Null);
    }

    fn remove(&self, api: &mut DockerApi) {
        self.containers.iter().for_each(|id| api.delete(&format!("/containers/{id}?force=1")));
        self.images.iter().for_each(|name| api.delete(&format!("/images/{name}?force=1")));
    }
}
