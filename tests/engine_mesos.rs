//! Mesos' read API of `paas engine`, with real Docker: what a client finds that follows a task's outputs by its id, and
//! that answers have the shape of a real Mesos'.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::engine::{Reply, TestEngine, probe_app};

/// An app of one container that runs a script of its image's shell.
fn container(script: &str) -> Value {
    let mut app = probe_app("1");
    app["args"] = json!(["/bin/sh", "-c", script]);
    app["healthChecks"] = json!([]);
    app["backoffSeconds"] = json!(3600);
    app.as_object_mut().unwrap().remove("id");
    app
}

/// An app of one process.
fn command(script: &str) -> Value {
    json!({ "cmd": script, "cpus": 0.1, "mem": 32, "backoffSeconds": 3600 })
}

/// Puts an app and answers the id of its first task, once that runs.
fn run(engine: &TestEngine, id: &str, app: &Value) -> String {
    engine.put(&format!("/v2/apps{id}"), app).ok();
    let found = engine.until(&format!("/v2/apps{id}"), "running", |found| found["app"]["tasksRunning"] == 1);
    found["app"]["tasks"][0]["id"].as_str().unwrap().to_owned()
}

/// Waits until the app's task has ended and its files have all that it wrote.
fn ended(engine: &TestEngine, task: &str) {
    engine.until("/slave(1)/state", "ended", |state| {
        executor(state, "completed_executors", task).is_some_and(|found| {
            let statuses = found["completed_tasks"][0]["statuses"].as_array().unwrap();
            statuses.last().is_some_and(|last| last["state"] != "TASK_RUNNING")
        })
    });
    let deadline = Instant::now() + Duration::from_secs(20);
    while !engine.state().join("tasks").join(task).join("ended").exists() {
        assert!(Instant::now() < deadline, "the end of {task} is not noted");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn executor(state: &Value, list: &str, task: &str) -> Option<Value> {
    let frameworks = state["frameworks"].as_array().unwrap();
    let mut all = frameworks.iter().flat_map(|framework| framework[list].as_array().unwrap());
    all.find(|executor| executor["id"] == task).cloned()
}

/// The directory of a task, found as a client does that knows nothing but the task's id.
fn directory(engine: &TestEngine, task: &str) -> String {
    let info = engine.get("/v2/info").json();
    let mesos = info["marathon_config"]["mesos_leader_ui_url"].as_str().unwrap().to_owned();
    assert_eq!(mesos, format!("{}/", engine.url()));
    let tasks = engine.get(&format!("/master/tasks?task_id={task}")).ok().json();
    let agent = tasks["tasks"][0]["slave_id"].clone();
    let slaves = engine.get("/slaves").ok().json();
    let slave = slaves["slaves"].as_array().unwrap().iter().find(|slave| slave["id"] == agent).unwrap().clone();
    let pid = slave["pid"].as_str().unwrap();
    assert_eq!(pid, format!("slave(1)@{}", engine.address()));
    let state = engine.get("/slave(1)/state").ok().json();
    let found = ["executors", "completed_executors"].iter().find_map(|list| executor(&state, list, task));
    found.unwrap_or_else(|| panic!("no executor {task}: {state:#}"))["directory"].as_str().unwrap().to_owned()
}

fn encoded(path: &str) -> String {
    path.bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02X}"))
}

/// Reads a file on from where it was read to, until it ends.
struct Follower {
    path: String,
    text: String,
}

impl Follower {
    fn of(directory: &str, file: &str) -> Self {
        Self { path: format!("{directory}/{file}"), text: String::new() }
    }
    fn read_on(&mut self, engine: &TestEngine, length: usize) -> &str {
        loop {
            let (path, offset) = (encoded(&self.path), self.text.len());
            let url = format!("/files/read?path={path}&offset={offset}&length={length}");
            let piece = engine.get(&url).ok().json();
            assert_eq!(piece["offset"], offset);
            let data = piece["data"].as_str().unwrap();
            if data.is_empty() {
                return &self.text;
            }
            self.text.push_str(data);
        }
    }
    fn until(&mut self, engine: &TestEngine, wanted: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.read_on(engine, 7) != wanted {
            assert!(wanted.starts_with(&self.text), "{:?} is not the beginning of {wanted:?}", self.text);
            assert!(Instant::now() < deadline, "{:?}, never {wanted:?}", self.text);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The body of an answer as it came.
fn bytes(engine: &TestEngine, path: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(engine.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n").unwrap();
    (String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase(), answer[end + 4..].to_vec())
}

fn size(engine: &TestEngine, path: &str) -> u64 {
    let answer = engine.get(&format!("/files/read?path={}&offset=-1", encoded(path)));
    if answer.status == 404 { 0 } else { answer.ok().json()["offset"].as_u64().unwrap() }
}

/// Writes as its sandbox tells it to: what is in `go`, which it takes away first, and ends after that if `last` is there.
const ON_DEMAND: &str = "echo begun; echo wrong >&2; cd $MESOS_SANDBOX; while true; do \
    if [ -e go ]; then mv go gone; cat gone; if [ -e last ]; then exit 0; fi; fi; sleep 0.05; done";

#[test]
fn outputs_are_followed_by_a_tasks_id_while_it_runs_and_after_it_ended() {
    let engine = TestEngine::start();
    let in_container = ON_DEMAND.replace("mv ", "/bin/busybox mv ");
    for (id, app) in [("/in/container", container(&in_container)), ("/as/command", command(ON_DEMAND))] {
        let task = run(&engine, id, &app);
        let directory = directory(&engine, &task);
        let sandbox = format!("{directory}/sandbox");
        let (mut out, mut err) = (Follower::of(&directory, "stdout"), Follower::of(&directory, "stderr"));
        // The first read has what was written before it: nothing may be missing that is there for sure.
        engine.until(&format!("/v2/apps{id}"), "running", |found| found["app"]["tasksRunning"] == 1);
        err.until(&engine, "wrong\n");
        assert_eq!(out.read_on(&engine, 100), "begun\n");
        let tell = |text: &str| {
            std::fs::write(format!("{sandbox}/new"), text).unwrap();
            std::fs::rename(format!("{sandbox}/new"), format!("{sandbox}/go")).unwrap();
        };
        tell("grün\n");
        out.until(&engine, "begun\ngrün\n");
        tell("more\n");
        out.until(&engine, "begun\ngrün\nmore\n");
        std::fs::write(format!("{sandbox}/last"), "").unwrap();
        tell("the end, without a newline");
        out.until(&engine, "begun\ngrün\nmore\nthe end, without a newline");
        ended(&engine, &task);
        let whole = out.text.clone();
        // By every name, and again from the beginning.
        let framework = engine.get("/v2/info").json()["frameworkId"].as_str().unwrap().to_owned();
        let by_name = format!("/frameworks/{framework}/executors/{task}/runs/latest");
        for directory in [directory.clone(), by_name.clone(), by_name.replace("latest", &task)] {
            assert_eq!(Follower::of(&directory, "stdout").read_on(&engine, 4096), whole);
            assert_eq!(Follower::of(&directory, "stderr").read_on(&engine, 4096), "wrong\n");
        }
        let listed = engine.get(&format!("/files/browse?path={by_name}")).ok().json();
        let paths: Vec<_> = listed.as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
        assert_eq!(paths, ["gone", "last", "stderr", "stdout"].map(|name| format!("{by_name}/{name}")));
        let (head, body) = bytes(&engine, &format!("/files/download?path={directory}/stdout"));
        assert_eq!(String::from_utf8(body).unwrap(), whole);
        assert!(head.contains("content-disposition: attachment; filename=stdout"), "{head}");
        assert!(head.contains("content-type: application/octet-stream"), "{head}");
    }
    assert_eq!(engine.containers(), [""; 0]);
}

#[test]
fn what_was_written_before_the_first_read_is_in_its_answer() {
    let engine = TestEngine::start();
    // The file says that all of it was written.
    let script = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; \
        echo done > $MESOS_SANDBOX/written; sleep 1000";
    let task = run(&engine, "/writer", &container(script));
    let directory = directory(&engine, &task);
    let written = std::path::PathBuf::from(format!("{directory}/sandbox/written"));
    let deadline = Instant::now() + Duration::from_secs(20);
    while !written.exists() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(10));
    }
    // Docker itself takes a moment to take over what a container wrote.
    std::thread::sleep(Duration::from_millis(300));
    let expected: String = (0..2000).fold(String::new(), |text, number| text + &format!("line {number}\n"));
    assert_eq!(size(&engine, &format!("{directory}/stdout")), expected.len() as u64);
    assert_eq!(Follower::of(&directory, "stdout").read_on(&engine, 65536), expected);
}

#[test]
fn bytes_that_are_no_text_keep_their_places() {
    let engine = TestEngine::start();
    let raw = b"a\xff\xfe\x00b\xc3\xa4\xc3\n";
    // Octal, as both shells read it.
    let script = "printf 'a\\377\\376\\000b\\303\\244\\303\\n'; sleep 1000";
    for (id, app) in [("/container", container(script)), ("/command", command(script))] {
        let task = run(&engine, id, &app);
        let directory = directory(&engine, &task);
        let mut out = Follower::of(&directory, "stdout");
        let deadline = Instant::now() + Duration::from_secs(10);
        while out.read_on(&engine, 100).len() < raw.len() {
            assert!(Instant::now() < deadline, "{:?}", out.text);
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(out.text, "a??\0bä?\n", "{id}");
        assert_eq!(bytes(&engine, &format!("/files/download?path={directory}/stdout")).1, raw, "{id}");
    }
}

#[test]
fn a_terminals_output_is_read_as_it_comes() {
    let engine = TestEngine::start();
    // What looks like the head of a frame is none, and a prompt has no end of a line.
    let script =
        "printf '\\001 begun\\n'; cd $MESOS_SANDBOX; while [ ! -e go ]; do sleep 0.05; done; printf 'more\\n> '";
    let mut app = container(script);
    app["tty"] = json!(true);
    let task = run(&engine, "/terminal", &app);
    let directory = directory(&engine, &task);
    let mut out = Follower::of(&directory, "stdout");
    out.until(&engine, "\u{1} begun\r\n");
    std::fs::write(format!("{directory}/sandbox/go"), "").unwrap();
    out.until(&engine, "\u{1} begun\r\nmore\r\n> ");
    ended(&engine, &task);
    assert_eq!(Follower::of(&directory, "stdout").read_on(&engine, 100), out.text);
}

/// Bytes in memory that are the engine's own.
fn memory(engine: &TestEngine) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", engine.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[test]
fn much_output_is_rotated_and_costs_little_memory() {
    const MIB: u64 = 1 << 20;
    let engine = TestEngine::start();
    // 24 MiB of lines of 64 bytes.
    let line = "x".repeat(63);
    let script = format!(
        "l={line}; b=\"$l\n$l\n$l\n$l\n$l\n$l\n$l\n$l\"; b=\"$b\n$b\n$b\n$b\n$b\n$b\n$b\n$b\"; i=0; \
         while [ $i -lt 6144 ]; do echo \"$b\"; i=$((i+1)); done; echo end; \
         while [ ! -e $MESOS_SANDBOX/stop ]; do sleep 0.1; done"
    );
    let before = memory(&engine);
    for (id, app) in [("/container", container(&script)), ("/command", command(&script))] {
        let task = run(&engine, id, &app);
        let directory = directory(&engine, &task);
        let (present, earlier) = (format!("{directory}/stdout"), format!("{directory}/stdout.1"));
        let deadline = Instant::now() + Duration::from_mins(1);
        let tail = || {
            let at = size(&engine, &present).saturating_sub(4);
            let piece = engine.get(&format!("/files/read?path={present}&offset={at}&length=10")).ok().json();
            piece["data"].as_str().unwrap().to_owned()
        };
        // A command's output is cut up to a second later.
        while tail() != "end\n" && size(&engine, &earlier) == 0 {
            assert!(Instant::now() < deadline, "{id}: {:?}", tail());
            std::thread::sleep(Duration::from_millis(100));
        }
        while engine.get(&format!("/files/read?path={earlier}")).status == 404 || size(&engine, &present) > 5 * MIB {
            assert!(Instant::now() < deadline, "{id}: not rotated");
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(size(&engine, &earlier) <= 4 * MIB + (64 << 10), "{id}");
        let (_, old) = bytes(&engine, &format!("/files/download?path={earlier}"));
        assert!(old.len() > 1 << 20, "{id}");
        std::fs::write(format!("{directory}/sandbox/stop"), "").unwrap();
        let at_end = id == "/container";
        ended(&engine, &task);
        if at_end {
            assert_eq!(tail(), "end\n");
        }
    }
    let grown = memory(&engine).saturating_sub(before);
    assert!(grown < 24 * MIB, "{grown} bytes more");
}

#[test]
fn what_a_task_plants_in_its_sandbox_leads_nowhere() {
    let engine = TestEngine::start();
    let plant = "cd $MESOS_SANDBOX; ln -s /etc/passwd absolute; ln -s ../../../../../../../../etc/passwd relative; \
        ln -s / root; ln -s ../.. up; mkfifo pipe; echo mine > stdout; echo fine > file; mknod disk b 254 0 || true; \
        echo planted; exec sleep 1000";
    let in_container = ["ln", "mkfifo", "mknod"].iter().fold(plant.to_owned(), |script, applet| {
        script.replace(&format!("{applet} "), &format!("/bin/busybox {applet} "))
    });
    for (id, app) in [("/container", container(&in_container)), ("/command", command(plant))] {
        let task = run(&engine, id, &app);
        let directory = directory(&engine, &task);
        Follower::of(&directory, "stdout").until(&engine, "planted\n");
        for file in ["absolute", "relative", "root/etc/passwd", "up/ended", "pipe", "disk", "../../state.db", "nope"] {
            for what in ["read", "download"] {
                for path in [encoded(&format!("{directory}/{file}")), format!("{directory}/{file}")] {
                    let reply = engine.get(&format!("/files/{what}?path={path}&offset=0&length=100"));
                    assert_eq!((reply.status, reply.body.as_str()), (404, ""), "{id} {what} {file}");
                }
            }
        }
        for place in ["root", "up", "file", ".."] {
            assert_eq!(engine.get(&format!("/files/browse?path={directory}/{place}")).status, 404, "{place}");
        }
        let listed = engine.get(&format!("/files/browse?path={directory}")).ok().json();
        let kind = |name: &str| {
            let all = listed.as_array().unwrap();
            let found = all.iter().filter(|file| file["path"] == format!("{directory}/{name}")).collect::<Vec<_>>();
            assert_eq!(found.len(), 1, "{name}: {listed:#}");
            (found[0]["mode"].as_str().unwrap()[..1].to_owned(), found[0]["size"].as_u64().unwrap())
        };
        assert_eq!((kind("absolute").0, kind("pipe").0), ("l".into(), "p".into()));
        // The output, not the file of that name.
        assert_eq!(kind("stdout"), ("-".into(), 8));
        assert_eq!(Follower::of(&directory, "file").read_on(&engine, 100), "fine\n");
    }
    for path in ["/etc/passwd", "/", "", "stdout", "/frameworks/x/executors/y/runs/latest/stdout"] {
        assert_eq!(engine.get(&format!("/files/read?path={path}&offset=0")).status, 404, "{path}");
    }
}

#[test]
fn an_ended_tasks_directory_goes_after_the_set_time_and_a_running_ones_stays() {
    let engine = TestEngine::start_with(&["--allow-commands", "--keep-sandboxes", "3s"], None);
    let running = run(&engine, "/runs", &command("echo here; exec sleep 1000"));
    let gone = run(&engine, "/ends", &command("echo bye; while [ ! -e stop ]; do sleep 0.1; done"));
    let directory_of_gone = directory(&engine, &gone);
    std::fs::write(format!("{directory_of_gone}/sandbox/stop"), "").unwrap();
    ended(&engine, &gone);
    let begun = Instant::now();
    assert_eq!(Follower::of(&directory_of_gone, "stdout").read_on(&engine, 10), "bye\n");
    while std::fs::exists(&directory_of_gone).unwrap() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it stays");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(begun.elapsed() > Duration::from_secs(1), "gone after {:?}", begun.elapsed());
    let state = engine.get("/state").ok().json();
    assert_eq!(executor(&state, "completed_executors", &gone), None);
    let reply = engine.get(&format!("/files/read?path={directory_of_gone}/stdout&offset=0"));
    assert_eq!((reply.status, reply.body.as_str()), (404, ""));
    assert_eq!(Follower::of(&directory(&engine, &running), "stdout").read_on(&engine, 10), "here\n");
}

#[test]
fn every_instance_of_a_large_app_keeps_its_directory_while_others_of_it_end() {
    const INSTANCES: usize = 24;
    let mut engine = TestEngine::start();
    let mut app = command("echo $MESOS_TASK_ID; exec sleep 1000");
    app["instances"] = json!(INSTANCES);
    app["cpus"] = json!(0.01);
    engine.put("/v2/apps/many", &app).ok();
    let running = |engine: &TestEngine| {
        let found = engine
            .until("/v2/apps/many", "running", |found| found["app"]["tasksRunning"].as_u64() == Some(INSTANCES as u64));
        let tasks = found["app"]["tasks"].as_array().unwrap();
        tasks.iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let check = |engine: &TestEngine| {
        for task in running(engine) {
            let path = format!("{}/tasks/{task}", engine.state().display());
            let mut out = Follower::of(&path, "stdout");
            out.until(engine, &format!("{task}\n"));
        }
    };
    check(&engine);
    for _ in 0..3 {
        let one = running(&engine)[0].clone();
        engine.delete(&format!("/v2/apps/many/tasks/{one}")).ok();
        ended(&engine, &one);
        check(&engine);
    }
    engine.kill();
    engine.launch();
    check(&engine);
}

/// How many files and connections the engine has open.
fn open(engine: &TestEngine) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", engine.pid())).unwrap().count()
}

#[test]
fn no_container_holds_a_connection_to_docker_whether_it_is_read_or_not() {
    const COUNT: usize = 6;
    let engine = TestEngine::start();
    let tasks: Vec<String> =
        (0..COUNT).map(|n| run(&engine, &format!("/quiet{n}"), &container("echo hi; sleep 1000"))).collect();
    let until = |what: &str, holds: &dyn Fn(usize) -> bool| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !holds(open(&engine)) {
            assert!(Instant::now() < deadline, "{what}: {} descriptors", open(&engine));
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    // What Docker was asked for the launches is answered, and those connections are few.
    std::thread::sleep(Duration::from_secs(1));
    let idle = open(&engine);
    for task in &tasks {
        Follower::of(&directory(&engine, task), "stdout").until(&engine, "hi\n");
    }
    until("read", &|count| count <= idle + 2);
    engine.delete("/v2/groups/?force=true").ok();
    for task in &tasks {
        ended(&engine, task);
    }
    until("ended", &|count| count <= idle + 2);
}

#[test]
fn no_line_is_lost_or_doubled_while_docker_begins_new_files_of_its_log() {
    const LINES: u32 = 120_000;
    let engine = TestEngine::start();
    // 12 MB, over some seconds: Docker keeps 10 of them in two files.
    let filling = "x".repeat(90);
    let script = format!(
        "cd $MESOS_SANDBOX; i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo {filling} $i; \
         if [ $((i % 3000)) = 0 ]; then sleep 0.1; fi; done; exec sleep 1000"
    );
    let task = run(&engine, "/counts", &container(&script));
    let out = format!("{}/stdout", directory(&engine, &task));
    let last_line = || {
        let at = size(&engine, &out).saturating_sub(20);
        let piece = engine.get(&format!("/files/read?path={out}&offset={at}&length=100")).ok().json();
        piece["data"].as_str().unwrap().rsplit(' ').next().unwrap().trim_end().to_owned()
    };
    let deadline = Instant::now() + Duration::from_mins(1);
    while last_line() != LINES.to_string() {
        assert!(Instant::now() < deadline, "only {}", last_line());
        std::thread::sleep(Duration::from_millis(50));
    }
    let content = |file: &str| {
        let (_, body) = bytes(&engine, &format!("/files/download?path={file}"));
        String::from_utf8(body).unwrap()
    };
    let check = || {
        let text = content(&format!("{out}.1")) + &content(&out);
        let numbers: Vec<u32> =
            text.lines().map(|line| line.strip_prefix(&format!("{filling} ")).unwrap().parse().unwrap()).collect();
        let first = numbers[0];
        assert!(first > 1 && text.len() > 4 << 20, "nothing was rotated");
        assert!(numbers.iter().copied().eq(first..=LINES), "not each line once from {first} on");
        text
    };
    let before = check();
    engine.delete("/v2/apps/counts?force=true").ok();
    ended(&engine, &task);
    assert!(check() == before, "what was read is not what there is at the end");
}

#[test]
fn requests_are_refused_as_mesos_does() {
    let engine = TestEngine::start();
    let task = run(&engine, "/sleeper", &command("echo hello; exec sleep 1000"));
    let directory = directory(&engine, &task);
    let out = format!("{directory}/stdout");
    Follower::of(&directory, "stdout").until(&engine, "hello\n");
    let text = "text/plain; charset=utf-8";
    for (method, path, status, kind, body) in [
        (
            "GET",
            format!("/files/read?path={out}&offset=0&length=3"),
            200,
            "application/json",
            "{\"data\":\"hel\",\"offset\":0}",
        ),
        (
            "GET",
            format!("/files/read?path={out}&offset=0&length=0"),
            200,
            "application/json",
            "{\"data\":\"\",\"offset\":0}",
        ),
        ("GET", format!("/files/read?path={out}"), 200, "application/json", "{\"data\":\"\",\"offset\":6}"),
        ("GET", format!("/files/read?path={out}&offset=-1"), 200, "application/json", "{\"data\":\"\",\"offset\":6}"),
        (
            "GET",
            format!("/files/read?path={out}&offset=99&length=4"),
            200,
            "application/json",
            "{\"data\":\"\",\"offset\":99}",
        ),
        (
            "GET",
            format!("/files/read?path={out}&offset=0&length=x"),
            400,
            text,
            "Failed to parse length: Failed to convert 'x' to number.\n",
        ),
        ("GET", format!("/files/read?path={out}&offset=-5&length=3"), 400, text, "Negative offset provided: -5.\n"),
        ("GET", format!("/files/read?path={directory}&offset=0"), 400, text, "Cannot read a directory.\n"),
        ("GET", format!("/files/download?path={directory}"), 400, text, "Cannot download a directory.\n"),
        ("GET", "/files/read".into(), 400, text, "Expecting 'path=value' in query.\n"),
        ("GET", "/files/browse".into(), 400, text, "Expecting 'path=value' in query.\n"),
        ("GET", format!("/files/read?path={directory}/nope&offset=0"), 404, text, ""),
        ("GET", format!("/files/browse?path={out}"), 404, text, ""),
        ("GET", format!("/files/read.json?path={out}"), 404, text, "404 Not Found."),
        ("GET", format!("/files/browse.json?path={directory}"), 404, text, "404 Not Found."),
        ("GET", format!("/slave(1)/files/read?path={out}&offset=0"), 404, text, "404 Not Found."),
        (
            "POST",
            "/slaves".into(),
            405,
            text,
            "405 Method Not Allowed. Expecting one of { 'GET' }, but received 'POST'.",
        ),
        (
            "DELETE",
            "/slave(1)/state".into(),
            405,
            text,
            "405 Method Not Allowed. Expecting one of { 'GET' }, but received 'DELETE'.",
        ),
        ("GET", "/health".into(), 200, "", ""),
        ("GET", "/master/health".into(), 200, "", ""),
    ] {
        let Reply { status: found, head, body: said } = engine.ask(method, &path, None);
        assert_eq!((found, said.as_str()), (status, body), "{method} {path}");
        assert!(kind.is_empty() || head.contains(&format!("content-type: {kind}")), "{method} {path}: {head}");
    }
    let redirect = engine.get("/redirect");
    assert_eq!(redirect.status, 307);
    assert!(redirect.head.contains(&format!("location: //{}/", engine.address())), "{}", redirect.head);
}

#[test]
fn mesos_is_not_shown_without_the_password() {
    let engine = TestEngine::start_with(&["--allow-commands"], Some("admin:s3cret"));
    for path in [
        "/slaves",
        "/master/state",
        "/state-summary",
        "/slave(1)/state",
        "/tasks",
        "/frameworks",
        "/roles",
        "/version",
        "/health",
        "/containers",
        "/monitor/statistics",
        "/files/browse?path=/",
        "/files/read?path=/",
        "/files/download?path=/",
        "/files/debug",
    ] {
        assert_eq!(engine.try_ask("GET", path, None, None).unwrap().status, 401, "{path}");
    }
    engine.get("/state").ok();
}

#[test]
fn what_tasks_use_is_told_and_counted() {
    let engine = TestEngine::start();
    let busy = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo counted; sleep 1000";
    let mut app = container(busy);
    app["resourceLimits"] = json!({ "cpus": 1.0, "mem": 48 });
    let tasks = [run(&engine, "/container", &app), run(&engine, "/command", &command(busy))];
    for task in &tasks {
        Follower::of(&directory(&engine, task), "stdout").until(&engine, "counted\n");
    }
    let statistics = engine.get("/monitor/statistics").ok().json();
    for (index, task) in tasks.iter().enumerate() {
        let found = statistics.as_array().unwrap().iter().find(|found| found["source"] == **task);
        let used = &found.unwrap_or_else(|| panic!("{statistics:#}"))["statistics"];
        assert_eq!(used["cpus_soft_limit"], 0.1);
        assert_eq!(used.get("cpus_limit"), (index == 0).then_some(&json!(1.0)));
        assert_eq!(used["mem_limit_bytes"], if index == 0 { 48 << 20 } else { 32 << 20 });
        assert!(used["cpus_user_time_secs"].as_f64().unwrap() > 0.0, "{used:#}");
        assert!(used["mem_rss_bytes"].as_u64().unwrap() > 0, "{used:#}");
    }
    assert_eq!(engine.get(&format!("/containers?container_id={}", tasks[1])).ok().json().as_array().unwrap().len(), 1);
    let slaves = engine.get("/slaves").ok().json();
    assert_eq!(
        (&slaves["slaves"][0]["used_resources"]["cpus"], &slaves["slaves"][0]["used_resources"]["mem"]),
        (&json!(0.2), &json!(64.0))
    );
    let roles = engine.get("/roles").ok().json();
    assert_eq!(roles["roles"][0]["allocated"], json!({ "cpus": 0.2, "mem": 64.0 }));
}

#[test]
fn this_projects_own_client_reads_a_task_by_its_id() {
    let engine = TestEngine::start_with(&["--allow-commands"], Some("admin:s3cret"));
    let task = run(&engine, "/a", &container("echo to out; echo to err >&2; sleep 1000"));
    let agent = engine.get("/v2/tasks").json()["tasks"][0]["slaveId"].as_str().unwrap().to_owned();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let credentials = Some(paas::model::Secret::new("admin:s3cret"));
        let mesos = paas::mesos::Mesos::new(&engine.url(), credentials).unwrap();
        for agent in [None, Some(agent.as_str())] {
            let sandbox = mesos.sandbox(&task, agent).await.unwrap();
            let deadline = Instant::now() + Duration::from_secs(10);
            while mesos.tail(&sandbox, "stderr", 100).await.unwrap() != "to err\n" {
                assert!(Instant::now() < deadline);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert_eq!(mesos.tail(&sandbox, "stdout", 4).await.unwrap(), "out\n");
            assert_eq!(mesos.tail(&sandbox, "nope", 4).await.unwrap(), "");
        }
    });
}

/// Every path of keys in a document, `[]` for a list's elements, and the kinds of value that stand there.
fn shape(value: &Value, at: &str, found: &mut std::collections::BTreeSet<(String, &'static str)>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    found.insert((at.to_owned(), kind));
    match value {
        Value::Array(elements) => elements.iter().for_each(|element| shape(element, &format!("{at}[]"), found)),
        Value::Object(fields) => fields.iter().for_each(|(key, value)| shape(value, &format!("{at}.{key}"), found)),
        _ => {}
    }
}

/// What a real Mesos has and this engine does not: the end, or the middle, of the paths, and why.
const LEFT_OUT: [(&str, &str); 4] = [
    (".build_", "the engine was not built as a part of Mesos"),
    (".capabilities[]", "features that frameworks and operators switch on; there are none here"),
    (".flags.", "the settings of a real master and agent; those that mean something here are checked below"),
    (".labels[]", "as the app says"),
];

#[test]
fn every_field_of_a_real_mesos_that_means_something_here_is_there() {
    let engine = TestEngine::start();
    let running = run(&engine, "/shop/web", &probe_app_on_host());
    let failed =
        run(&engine, "/shop/job", &container("while [ ! -e $MESOS_SANDBOX/stop ]; do sleep 0.1; done; exit 3"));
    std::fs::write(format!("{}/sandbox/stop", directory(&engine, &failed)), "").unwrap();
    ended(&engine, &failed);
    for (recorded, paths) in [
        ("master-slaves", &["/slaves", "/master/slaves"][..]),
        ("master-state", &["/state", "/master/state"]),
        ("master-state-after-teardown", &["/state"]),
        ("agent-state", &["/slave(1)/state", "/state"]),
        ("master-state-summary", &["/state-summary", "/master/state-summary"]),
        ("master-tasks", &["/tasks", "/master/tasks"]),
        ("master-frameworks", &["/frameworks", "/master/frameworks"]),
        ("master-roles", &["/roles", "/master/roles"]),
        ("version", &["/version"]),
        ("agent-containers", &["/containers", "/slave(1)/containers"]),
        ("agent-monitor-statistics", &["/monitor/statistics", "/slave(1)/monitor/statistics"]),
    ] {
        let file = format!("{}/tests/mesos/{recorded}.json", env!("CARGO_MANIFEST_DIR"));
        // One framework is all there is, and it is never gone.
        let recorded = std::fs::read_to_string(file).unwrap().replace("\"completed_frameworks\": []", "\"x\": []");
        let mut recorded: Value = serde_json::from_str(&recorded).unwrap();
        if let Some(gone) = recorded["completed_frameworks"].as_array().filter(|gone| !gone.is_empty()).cloned() {
            recorded["frameworks"] = json!(gone);
            recorded["completed_frameworks"] = json!([]);
        }
        recorded.as_object_mut().map(|fields| fields.remove("x"));
        let mut wanted = std::collections::BTreeSet::new();
        shape(&recorded, "", &mut wanted);
        wanted.retain(|(path, _)| !LEFT_OUT.iter().any(|(left_out, _)| path.contains(left_out)));
        for path in paths {
            let answer = engine.get(path).ok().json();
            let mut found = std::collections::BTreeSet::new();
            shape(&answer, "", &mut found);
            let missing: Vec<_> = wanted.difference(&found).collect();
            assert!(missing.is_empty(), "{path} has no {missing:#?}\n{answer:#}");
        }
    }
    let state = engine.get("/state").ok().json();
    let framework = &state["frameworks"][0];
    let task = |list: &str, id: &str| {
        let all = framework[list].as_array().unwrap();
        all.iter().find(|task| task["id"] == id).unwrap_or_else(|| panic!("{list} {id}: {framework:#}")).clone()
    };
    let (web, job) = (task("tasks", &running), task("completed_tasks", &failed));
    assert_eq!(
        (&web["name"], &web["executor_id"], &web["state"]),
        (&json!("web.shop"), &json!(""), &json!("TASK_RUNNING"))
    );
    assert_eq!(web["container"]["docker"]["network"], "HOST");
    assert_eq!(job["state"], "TASK_FAILED");
    let states: Vec<_> = job["statuses"].as_array().unwrap().iter().map(|status| status["state"].clone()).collect();
    assert_eq!(states, ["TASK_STARTING", "TASK_RUNNING", "TASK_FAILED"]);
    let executor = executor(&state, "executors", &running).unwrap();
    assert_eq!((&executor["tasks"][0]["id"], &executor["container"]), (&json!(running), &json!(running)));
    let summary = engine.get("/state-summary").ok().json();
    assert_eq!(
        (&summary["slaves"][0]["TASK_RUNNING"], &summary["frameworks"][0]["TASK_FAILED"]),
        (&json!(1), &json!(1))
    );
    let work = state["flags"]["work_dir"].as_str().unwrap();
    assert_eq!(executor["directory"], format!("{work}/{running}"));
    let debug = engine.get("/files/debug").ok().json();
    let by_name = format!("/frameworks/{}/executors/{running}/runs/latest", framework["id"].as_str().unwrap());
    assert_eq!(debug[by_name], executor["directory"]);
}

/// As the recorded task was: on the host's network.
fn probe_app_on_host() -> Value {
    let mut app = container("exec sleep 1000");
    app["networks"] = json!([{ "mode": "host" }]);
    app["container"].as_object_mut().unwrap().remove("portMappings");
    app
}
