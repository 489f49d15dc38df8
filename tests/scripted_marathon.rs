//! The verdict on a release, against what a real Marathon was seen to say: played back to a whole push, whose deadline is
//! far away, so that whatever ends before it ended by its verdict.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use paas::git::Repository;
use paas::marathon::Client;
use paas::pipeline::{DeployRules, Permission, Platform, Progress, Push, PushId, PushOptions, run};
use tempfile::TempDir;

use crate::support::builder::TestBuilder;
use crate::support::pipeline::platform;
use crate::support::project::{Project, SERVES_ITS_FILES};
use crate::support::scripted_marathon::{Act, Recording, ScriptedMarathon};

const DEADLINE: Duration = Duration::from_mins(5);
/// A verdict takes a few of the script's tries, which are tenths of a second.
const SOON: Duration = Duration::from_secs(15);
/// What every task has written.
const OUTPUT: [&str; 2] = ["about to start\n", "no such table: users\n"];
const RETRIES: u32 = 2;
const BRANCH: &str = "refs/heads/deployed";

/// An app, pushed by a platform whose Marathon is scripted.
struct Lab {
    marathon: ScriptedMarathon,
    project: Project,
    platform: Platform,
    _home: TempDir,
    _builder: TestBuilder,
}

/// How a push ended, what it said, and how long it took from when its release was posted.
struct Outcome {
    result: Result<(), String>,
    said: Vec<Progress>,
    deploying: Duration,
}

impl Lab {
    fn playing(acts: Vec<Act>) -> Self {
        let (home, builder) = (tempfile::tempdir().unwrap(), TestBuilder::make());
        let marathon = ScriptedMarathon::playing(acts, OUTPUT);
        let client = Client::new(&marathon.url(), None).unwrap();
        let ours = platform(home.path(), &builder, client);
        let deploy = DeployRules { deadline: DEADLINE, settle: Duration::from_secs(1), retries: RETRIES };
        let platform = Platform { deploy, ..ours };
        let project = Project::empty();
        project.write("Procfile", SERVES_ITS_FILES);
        project.commit("first");
        Self { marathon, project, platform, _home: home, _builder: builder }
    }

    /// With a process type that has no health check instead of `web`.
    fn of_a_worker(acts: Vec<Act>) -> Self {
        let lab = Self::playing(acts);
        lab.project.write("Procfile", "worker: ./work\n");
        lab.project.write("paas.yml", "processes: {worker: {instances: 1}}\n");
        lab.project.commit("a worker");
        lab
    }

    /// With a `web` that wants as many CPUs as the one that real Marathon had no room for.
    fn too_big(acts: Vec<Act>, deadline: Duration) -> Self {
        let mut lab = Self::playing(acts);
        lab.project.write("paas.yml", "processes: {web: {cpus: 1000}}\n");
        lab.project.commit("too big");
        lab.platform.deploy.deadline = deadline;
        lab
    }

    async fn push(&self) -> Outcome {
        let repository = self.project.path().join(".git");
        let commit: paas::model::CommitId = self.project.git(["rev-parse", "HEAD"]).trim().parse().unwrap();
        let push = Push {
            tenant: "dev".parse().unwrap(),
            app: "shop".parse().unwrap(),
            user: "alice".parse().unwrap(),
            push: PushId::random(),
            commit: commit.clone(),
            branch: BRANCH.to_owned(),
            previous: Repository::open(&repository).unwrap().reference(BRANCH).unwrap(),
            repository: repository.clone(),
            options: PushOptions::default(),
        };
        let (said, posted) = (Mutex::new(Vec::new()), Mutex::new(Instant::now()));
        let say = |progress| {
            if let Progress::Deploying(_) = progress {
                *posted.lock().unwrap() = Instant::now();
            }
            said.lock().unwrap().push(progress);
        };
        let permission = Permission { by_token: None, tenancy: self.platform.tenancy.clone() };
        let pushed = run(push, &self.platform, || std::future::ready(Ok(Some(permission.clone()))), &say).await;
        let result = pushed.map_err(|error| error.reason()).map(|released| {
            let repository = Repository::open(&repository).unwrap();
            repository.move_reference(BRANCH, released.branch_at.as_ref(), &commit, "pushed").unwrap();
        });
        let deploying = posted.into_inner().unwrap().elapsed();
        Outcome { result, said: said.into_inner().unwrap(), deploying }
    }

    /// Another commit, pushed after a release that serves.
    async fn push_after_one_that_serves(&self) -> Outcome {
        let first = self.push().await;
        assert_eq!(first.result, Ok(()), "{:?}", first.said);
        self.project.write("more", "more");
        self.project.commit("second");
        self.push().await
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let filter = format!("label=paas.home={}", self.platform.home_label);
        for (list, remove) in [
            (vec!["ps", "--all", "--quiet"], vec!["rm", "--force", "--volumes"]),
            (vec!["images", "--quiet"], vec!["rmi", "--force"]),
            (vec!["volume", "ls", "--quiet"], vec!["volume", "rm", "--force"]),
        ] {
            let listed = std::process::Command::new("docker").args(list).args(["--filter", &filter]).output();
            let ids = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
            if !ids.trim().is_empty() {
                let _ = std::process::Command::new("docker").args(remove).args(ids.split_whitespace()).output();
            }
        }
    }
}

impl Outcome {
    /// All that was said of waiting for resources.
    fn waits(&self) -> Vec<&str> {
        let warned = self.said.iter().filter_map(|said| match said {
            Progress::Warning(text) => Some(text.as_str()),
            _ => None,
        });
        warned.filter(|text| text.starts_with("web waits for resources")).collect()
    }

    /// It failed for this very reason, soon, and was never said to have succeeded.
    #[track_caller]
    fn fails_soon_with(&self, reason: &str) {
        assert_eq!(self.result, Err(reason.to_owned()), "{:#?}", self.said);
        assert!(self.deploying < SOON, "the verdict took {:?}", self.deploying);
        assert!(!self.said.iter().any(|said| matches!(said, Progress::Milestone(_))), "{:#?}", self.said);
    }

    /// The output of that task was shown.
    #[track_caller]
    fn shows_the_output_of(&self, task: &str) {
        let title = |said: &Progress| matches!(said, Progress::Step(text) if text.starts_with(&format!("Last lines of {task}")));
        let at = self.said.iter().position(title).unwrap_or_else(|| panic!("no output of {task}: {:#?}", self.said));
        let lines = ["about to start", "no such table: users"].map(|line| Progress::Output(line.to_owned()));
        assert_eq!(self.said[at + 1..at + 3], lines);
    }
}

/// `failing-app`: the deployment is a success at `TASK_RUNNING`, and then the command exits with status 3.
#[tokio::test]
async fn a_command_that_exits_at_once_has_failed_though_its_deployment_was_called_a_success() {
    let lab = Lab::of_a_worker(vec![Act::Fails(Recording::of_a_command_that_exits())]);
    let outcome = lab.push().await;
    outcome.fails_soon_with("deploy failed: worker exited with status 3; nothing serves");
    outcome.shows_the_output_of("shop_worker.instance-1f5e3db7-e722-11f1-aa61-0242189058f9._app.");
    let asked: Vec<String> = lab.marathon.asked().into_iter().map(|asked| asked.line).collect();
    assert_eq!(asked, ["PUT /v2/groups/shop?force=false", "DELETE /v2/groups/shop?force=true"]);
}

/// `waiting-app`: the agent kills what never listens; there is no lastTaskFailure, and the deployment never ends.
#[tokio::test]
async fn an_agents_health_kill_is_a_verdict_though_marathon_has_no_failure_to_show() {
    let lab = Lab::playing(vec![Act::Fails(Recording::of_a_health_kill())]);
    let outcome = lab.push().await;
    outcome.fails_soon_with("deploy failed: web did not pass its health check (3 times); nothing serves");
    outcome.shows_the_output_of("shop_web.instance-2cf2f4d1-e722-11f1-aa61-0242189058f9._app.");
}

/// Contract, section 6: `TASK_FAILED` with docker's words, again and again, for ever.
#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_told_in_dockers_words_and_not_tried_for_ever() {
    let image = format!("127.0.0.1:5000/dev/shop@sha256:{}", "a".repeat(64));
    let words = format!("Error response from daemon: manifest for {image} not found: manifest unknown");
    let message = format!(
        "Failed to launch container: Failed to run 'docker -H unix:///var/run/docker.sock pull {image}': exited with \
         status 1; stderr='{words}\n'"
    );
    let lab = Lab::playing(vec![Act::Fails(Recording::of_a_failing_pull(&message))]);
    let outcome = lab.push().await;
    // What Docker's own command exited with is no status of the app.
    outcome.fails_soon_with(&format!("deploy failed: web could not run: {words}; nothing serves"));
}

/// `locked-app`: 409 with the deployment that holds the app; nothing is forced.
#[tokio::test]
async fn a_lock_held_by_somebody_else_is_named_and_left_alone() {
    let lab = Lab::playing(vec![Act::ComesUp(Recording::of_a_first_release()), Act::IsLocked]);
    let outcome = lab.push_after_one_that_serves().await;
    outcome.fails_soon_with(
        "deploy failed: Marathon's deployment 43b75419-729f-455d-a6ec-a72e09e32667 holds the app; wait for it, or push \
         again with `-o force` to take over",
    );
    let asked: Vec<String> = lab.marathon.asked().into_iter().map(|asked| asked.line).collect();
    assert_eq!(asked, ["PUT /v2/groups/shop?force=false"; 2]);
    assert_eq!(lab.marathon.running().len(), 1, "what served goes on");
}

/// Contract, section 6: a roll back is a deployment of its own, which replaces the instances that were still running.
#[tokio::test]
async fn a_roll_back_that_replaces_what_runs_is_followed_until_it_serves() {
    let lab = Lab::playing(vec![
        Act::ComesUp(Recording::of_a_first_release()),
        Act::Fails(Recording::of_a_health_kill()),
        Act::ComesUp(Recording::of_a_replacement()),
    ]);
    let outcome = lab.push_after_one_that_serves().await;
    outcome.fails_soon_with("deploy failed: web did not pass its health check (3 times); v1 is still serving");
    outcome.shows_the_output_of("shop_web.instance-2cf2f4d1-e722-11f1-aa61-0242189058f9._app.");
    // It is seen to serve by its new instance; the one from before is gone by then.
    assert_eq!(lab.marathon.running(), ["shop_web.instance-0f903871-e722-11f1-aa61-0242189058f9._app.1"]);
    let rolling_back = outcome.said.iter().position(|said| *said == Progress::Step("Rolling back to v1".to_owned()));
    let healthy = |said: &Progress| matches!(said, Progress::Detail(text) if text.starts_with("web.1 healthy after"));
    assert!(outcome.said[rolling_back.unwrap()..].iter().any(healthy), "{:#?}", outcome.said);
    let asked = lab.marathon.asked();
    let lines: Vec<&str> = asked.iter().map(|asked| asked.line.as_str()).collect();
    let (plain, forced) = ("PUT /v2/groups/shop?force=false", "PUT /v2/groups/shop?force=true");
    assert_eq!(lines, [plain, plain, forced]);
    assert_eq!(asked[2].body, asked[0].body, "the definitions of v1");
}

const TOO_FEW_CPUS: &str = "cpus (needs 1000, offered at most 7.95; 1 of 1 offers refused for it)";

/// `waiting-app`: what no offer has room for stays in the queue, and its deployment never ends.
#[tokio::test]
async fn a_release_that_no_offer_has_room_for_says_for_what_and_fails_at_the_deadline_with_that() {
    let lab = Lab::too_big(vec![Act::Waits(None)], Duration::from_secs(6));
    let outcome = lab.push().await;
    outcome.fails_soon_with(&format!(
        "deploy failed: web had 0 of 1 instances up after 6s, waiting for resources: {TOO_FEW_CPUS}; nothing serves"
    ));
    // It was seen several times, and told once.
    assert_eq!(outcome.waits(), [format!("web waits for resources for 1 of 1 instances: {TOO_FEW_CPUS}")]);
    let advice = |said: &Progress| matches!(said, Progress::Detail(text) if text.contains("`processes: {web: …}` in `paas.yml`"));
    assert!(outcome.said.iter().any(advice), "{:#?}", outcome.said);
}

#[tokio::test]
async fn a_release_that_waits_serves_as_soon_as_there_is_room() {
    let room_after = Duration::from_secs(8);
    let lab = Lab::too_big(vec![Act::Waits(Some((room_after, Recording::of_a_first_release())))], DEADLINE);
    let outcome = lab.push().await;
    assert_eq!(outcome.result, Ok(()), "{:#?}", outcome.said);
    assert!(outcome.deploying >= room_after && outcome.deploying < SOON, "{:?}", outcome.deploying);
    assert_eq!(outcome.waits().len(), 1, "{:#?}", outcome.said);
}
