//! A small load balancer, as one that follows Marathon's events does it: which instances serve it learns from the
//! events and from asking, and a connection that is refused is tried once more, on another instance.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::events::{Ender, Events};
use super::load::Client;
use super::times::Times;

/// What came of the requests that went through it.
#[derive(Debug)]
pub struct Served {
    pub asked: u64,
    /// Refused by one instance, and answered by another.
    pub retried: u64,
    /// Why those that failed did.
    pub failures: Vec<String>,
    /// What was answered, and how often.
    pub pages: BTreeMap<String, u64>,
    pub times: Times,
}

/// Instances of one app, and what is known of them.
pub struct Balancer {
    app: String,
    engine: SocketAddr,
    serving: Mutex<Vec<Place>>,
    next: AtomicUsize,
    retried: AtomicU64,
    done: AtomicBool,
}

#[derive(Debug, Clone, PartialEq)]
struct Place {
    instance: String,
    address: SocketAddr,
}

impl Balancer {
    pub fn of(engine: SocketAddr, app: &str) -> Self {
        Self {
            app: app.to_owned(),
            engine,
            serving: Mutex::default(),
            next: AtomicUsize::default(),
            retried: AtomicU64::default(),
            done: AtomicBool::default(),
        }
    }

    /// Sends so many requests a second through the app's instances, by so many clients, until `work` is done.
    pub fn serve<T>(&self, rate: u32, clients: u32, work: impl FnOnce() -> T) -> (T, Served) {
        let events = Events::of(self.engine, "").unwrap();
        let ender = events.ender();
        self.look();
        assert!(!self.places().is_empty(), "nothing serves");
        std::thread::scope(|scope| {
            scope.spawn(|| self.follow(events));
            let each = Duration::from_secs(1) * clients / rate;
            let senders: Vec<_> = (0..clients).map(|_| scope.spawn(move || self.send(each))).collect();
            let finish = Finish(self, ender);
            let result = work();
            drop(finish);
            let mut served =
                Served { asked: 0, retried: 0, failures: Vec::new(), pages: BTreeMap::new(), times: Times::default() };
            for sender in senders {
                for (time, page) in sender.join().unwrap() {
                    served.asked += 1;
                    served.times.push(time);
                    match page {
                        Ok(page) => *served.pages.entry(page).or_default() += 1,
                        Err(why) => served.failures.push(why),
                    }
                }
            }
            served.retried = self.retried.load(Ordering::Relaxed);
            (result, served)
        })
    }

    fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(&self, mut events: Events) {
        while let Some((kind, data)) = events.next() {
            if self.done.load(Ordering::Relaxed) {
                return;
            }
            match kind.as_str() {
                // Sent when the condition changes or what is wanted of the instance: of one that serves, either means
                // that it is about to go.
                "instance_changed_event" => {
                    let instance = data["instanceId"].as_str().unwrap_or_default();
                    self.places().retain(|place| place.instance != instance);
                }
                "status_update_event" if data["taskStatus"] != "TASK_RUNNING" => {
                    let task = data["taskId"].as_str().unwrap_or_default();
                    self.places().retain(|place| !task.starts_with(&place.instance));
                }
                "instance_health_changed_event" if data["healthy"] == true => {
                    self.add(data["instanceId"].as_str().unwrap_or_default());
                }
                _ => {}
            }
        }
    }

    /// Takes in one that began to serve.
    fn add(&self, instance: &str) {
        let found = self.ask().into_iter().filter(|place| place.instance == instance);
        let mut places = self.places();
        for place in found {
            if !places.contains(&place) {
                places.push(place);
            }
        }
    }

    /// Takes in all that serve.
    fn look(&self) {
        *self.places() = self.ask();
    }

    fn ask(&self) -> Vec<Place> {
        let found = Client::to(self.engine).get(&format!("/v2/apps{}/tasks", self.app)).ok().json();
        let serves = |task: &&Value| {
            let results = task["healthCheckResults"].as_array().unwrap();
            !results.is_empty() && results.iter().all(|result| result["alive"] == true)
        };
        let place = |task: &Value| {
            let instance = task["id"].as_str()?.split_once("._app.")?.0.to_owned();
            let address = format!("{}:{}", task["host"].as_str()?, task["ports"][0]).parse().ok()?;
            Some(Place { instance, address })
        };
        found["tasks"].as_array().unwrap().iter().filter(serves).filter_map(place).collect()
    }

    /// One client: a request every `pause`, however long the last took.
    fn send(&self, pause: Duration) -> Vec<(Duration, Result<String, String>)> {
        let (mut results, begun) = (Vec::new(), Instant::now());
        while !self.done.load(Ordering::Relaxed) {
            let asked = Instant::now();
            let result = self.request();
            results.push((asked.elapsed(), result));
            let due = pause * u32::try_from(results.len()).unwrap();
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
        }
        results
    }

    fn request(&self) -> Result<String, String> {
        let Some(first) = self.choose(None) else { return Err("no instance serves".to_owned()) };
        match get(first.address) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                self.retried.fetch_add(1, Ordering::Relaxed);
                let second = self.choose(Some(&first)).ok_or("refused, and there is no other instance")?;
                get(second.address).map_err(|error| format!("{first:?} refused, {second:?}: {error}"))
            }
            other => other.map_err(|error| format!("{first:?}: {error}")),
        }
    }

    /// The next one in turn, but that one.
    fn choose(&self, but: Option<&Place>) -> Option<Place> {
        let places: Vec<_> = self.places().iter().filter(|place| Some(*place) != but).cloned().collect();
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        (!places.is_empty()).then(|| places[turn % places.len()].clone())
    }
}

/// Ends the clients and the follower, also when the work fails.
struct Finish<'a>(&'a Balancer, Ender);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.done.store(true, Ordering::Relaxed);
        self.1.end();
    }
}

/// The page; whatever is not a whole answer with status 200 is an error.
fn get(address: SocketAddr) -> std::io::Result<String> {
    let patience = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    // Whatever happens after the connection was made is no refusal.
    let asked = write!(stream, "GET / HTTP/1.0\r\n\r\n").and_then(|()| {
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    });
    let text = asked.map_err(|error| std::io::Error::other(error.to_string()))?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| std::io::Error::other(format!("only {text:?}")))?;
    if head.contains(" 200 ") { Ok(body.trim().to_owned()) } else { Err(std::io::Error::other(head.to_owned())) }
}
