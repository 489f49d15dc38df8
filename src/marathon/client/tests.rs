//! The client against a small server on a real socket, which answers what a real Marathon was seen to answer.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

/// One canned answer for everything, and what was asked.
struct Scripted {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    server: JoinHandle<()>,
}

struct Asked {
    line: String,
    headers: HeaderMap,
    body: String,
}

#[derive(Clone)]
struct Script {
    status: u16,
    content_type: &'static str,
    body: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Scripted {
    async fn answering(status: u16, body: impl ToString) -> Self {
        Self::sending(status, "application/json", body.to_string()).await
    }
    async fn sending(status: u16, content_type: &'static str, body: String) -> Self {
        let asked = Arc::default();
        let script = Script { status, content_type, body, asked: Arc::clone(&asked) };
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(script);
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, asked, server }
    }
    fn client(&self) -> Client {
        Client::new(&self.url, None).unwrap()
    }
    fn asked(&self) -> Asked {
        self.asked.lock().unwrap().pop().unwrap()
    }
}

async fn answer(State(script): State<Script>, request: Request) -> Response {
    let line = format!("{} {}", request.method(), request.uri());
    let headers = request.headers().clone();
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    script.asked.lock().unwrap().push(Asked { line, headers, body: String::from_utf8(body.to_vec()).unwrap() });
    let answer = Response::builder().status(script.status).header("content-type", script.content_type);
    answer.body(Body::from(script.body)).unwrap()
}

fn id(text: &str) -> PathId {
    text.parse().unwrap()
}

const DEPLOYMENT: &str = "4444bdef-2e34-4ad9-8f37-3cbf136a84c3";

fn deployment_result() -> Value {
    json!({"deploymentId": DEPLOYMENT, "version": "2026-11-23T09:43:02.483Z"})
}

#[tokio::test]
async fn a_group_is_put_as_one_deployment() {
    let server = Scripted::answering(200, deployment_result()).await;
    let update = GroupUpdate::of_apps(vec![App { cmd: Some("true".to_owned()), ..App::new(id("/shop/web")) }]);
    let result = server.client().put_group(&id("/shop"), &update, false).await.unwrap();
    assert_eq!(result.deployment_id.to_string(), DEPLOYMENT);
    let asked = server.asked();
    assert_eq!(asked.line, "PUT /v2/groups/shop?force=false");
    assert_eq!(asked.headers["content-type"], "application/json");
    let body: Value = serde_json::from_str(&asked.body).unwrap();
    assert_eq!((&body["apps"][0]["id"], body["apps"][0].get("version")), (&json!("/shop/web"), None));
}

#[tokio::test]
async fn each_change_has_its_method_and_path() {
    let server = Scripted::answering(200, deployment_result()).await;
    let client = server.client();
    client.put_app(&App::new(id("/a")), true).await.unwrap();
    assert_eq!(server.asked().line, "PUT /v2/apps/a?partialUpdate=false&force=true");
    client.scale_app(&id("/a"), 3, false).await.unwrap();
    assert_eq!(server.asked().body, r#"{"instances":3}"#);
    client.restart_app(&id("/a"), false).await.unwrap();
    assert_eq!(server.asked().line, "POST /v2/apps/a/restart?force=false");
    client.delete_app(&id("/a"), false).await.unwrap();
    assert_eq!(server.asked().line, "DELETE /v2/apps/a?force=false");
    client.delete_group(&PathId::root(), true).await.unwrap();
    assert_eq!(server.asked().line, "DELETE /v2/groups?force=true");
}

#[tokio::test]
async fn cancelling_by_force_starts_no_deployment() {
    let deployment: DeploymentId = DEPLOYMENT.parse().unwrap();
    let server = Scripted::answering(202, "").await;
    assert_eq!(server.client().cancel_deployment(&deployment, true).await.unwrap(), None);
    let server = Scripted::answering(200, deployment_result()).await;
    assert!(server.client().cancel_deployment(&deployment, false).await.unwrap().is_some());
}

#[tokio::test]
async fn what_is_not_there_is_none() {
    let server = Scripted::answering(404, json!({"message": "App '/a' does not exist", "details": []})).await;
    assert_eq!(server.client().app(&id("/a")).await.unwrap(), None);
    assert_eq!(server.client().tasks(&id("/a")).await.unwrap(), None);
    let error = server.client().delete_app(&id("/a"), false).await.unwrap_err();
    assert!(matches!(&error, ClientError::NotFound { message } if message == "App '/a' does not exist"));
}

#[tokio::test]
async fn a_lock_names_its_deployments() {
    let body = json!({"message": "App is locked…", "deployments": [{"id": DEPLOYMENT}]});
    let server = Scripted::answering(409, body).await;
    let error = server.client().scale_app(&id("/a"), 1, false).await.unwrap_err();
    assert_eq!(error.to_string(), format!("locked by deployment {DEPLOYMENT}"));
    assert!(matches!(error, ClientError::Locked { deployments } if deployments == [DEPLOYMENT.parse().unwrap()]));
}

#[tokio::test]
async fn a_refusal_says_where_and_why() {
    let body = json!({"message": "Object is not valid", "details": [{"path": "/role", "errors": ["got nope"]}]});
    let server = Scripted::answering(422, body).await;
    let error = server.client().put_app(&App::new(id("/a")), false).await.unwrap_err();
    assert_eq!(error.to_string(), "Marathon refused it with status 422: Object is not valid (/role: got nope)");
    let server = Scripted::answering(400, json!({"message": "Invalid JSON", "details": "Unexpected end"})).await;
    let error = server.client().info().await.unwrap_err();
    assert!(
        matches!(error, ClientError::Refused { status: 400, details, .. } if details[0].errors == ["Unexpected end"])
    );
    let server = Scripted::answering(409, json!({"message": "An app with id [/a] already exists."})).await;
    let error = server.client().put_app(&App::new(id("/a")), false).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { status: 409, .. }), "taken, not locked: {error}");
}

#[tokio::test]
async fn credentials_are_sent_and_never_shown() {
    let server = Scripted::sending(401, "text/html", "<html>".to_owned()).await;
    let client = Client::new(&format!("{}/", server.url), Some(Secret::new("root:hunter2:x"))).unwrap();
    let error = client.ping().await.unwrap_err();
    assert!(matches!(error, ClientError::Unauthorized { .. }), "{error}");
    let asked = server.asked();
    assert_eq!(
        (asked.line.as_str(), &asked.headers["authorization"]),
        ("GET /ping", &"Basic cm9vdDpodW50ZXIyOng=".parse().unwrap())
    );
    let shown = format!("{client:?} {error:?} {error}");
    assert!(!shown.contains("hunter2") && !shown.contains("cm9vdDpodW50"), "{shown}");
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = Client::new(&url, None).unwrap().ping().await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot reach Marathon at {url}"));
    assert!(matches!(error, ClientError::Unreachable { .. }));
}

#[tokio::test]
async fn another_servers_page_is_malformed() {
    let server = Scripted::sending(200, "text/html", "<html>Welcome</html>".to_owned()).await;
    assert!(matches!(server.client().deployments().await, Err(ClientError::Malformed { .. })));
    assert!(matches!(server.client().events(&[]).await.err(), Some(ClientError::Malformed { .. })));
}

#[test]
fn an_address_is_http_and_holds_no_password() {
    assert_eq!(Client::new("http://u:p@h:1", None).unwrap_err(), InvalidMarathonUrl::HoldsCredentials);
    assert_eq!(Client::new("u:p@h", None).unwrap_err().to_string().find("p@h"), None);
    for bad in ["", "ftp://h", "h:8080", "http://h/?x=1"] {
        assert!(Client::new(bad, None).is_err(), "{bad}");
    }
    assert_eq!(Client::new("http://h", Some(Secret::new("nocolon"))).unwrap_err(), InvalidMarathonUrl::BadCredentials);
    assert_eq!(Client::new("http://h:1/below/", None).unwrap().url(), "http://h:1/below");
}

#[tokio::test]
async fn recorded_answers_are_read() {
    let steps = crate::marathon::transcripts::steps("docker-release");
    let answered = |path: &str| {
        let step = steps.iter().rfind(|s| s["request"]["path"] == path && s["request"]["method"] == "GET").unwrap();
        step["response"]["json"].clone()
    };
    let server = Scripted::answering(200, answered("/v2/apps/shop/web")).await;
    assert_eq!(server.client().app(&id("/shop/web")).await.unwrap().unwrap().app.id, id("/shop/web"));
    let system = crate::marathon::transcripts::steps("system");
    let info = system.iter().find(|s| s["request"]["path"] == "/v2/info").unwrap();
    let server = Scripted::answering(200, &info["response"]["json"]).await;
    assert!(server.client().info().await.unwrap().framework_id.is_some());
}

#[tokio::test]
async fn the_queue_is_asked_for_with_its_offers_and_pods_in_it_are_passed_over() {
    let steps = crate::marathon::transcripts::steps("waiting-app");
    let asked = |step: &&serde_json::Value| step["request"]["path"] == "/v2/queue?embed=lastUnusedOffers";
    let mut queue = steps.iter().find(asked).unwrap()["response"]["json"].clone();
    let items = queue["queue"].as_array_mut().unwrap();
    let mut pod = items[0].clone();
    pod.as_object_mut().unwrap().remove("app");
    pod["pod"] = json!({ "id": "/pod" });
    items.insert(0, pod);
    let server = Scripted::answering(200, queue).await;
    let waiting = server.client().queue().await.unwrap();
    assert_eq!(waiting.iter().map(|item| item.app.id.clone()).collect::<Vec<_>>(), [id("/wait/big")]);
    assert!(waiting[0].last_unused_offers.is_some());
    assert_eq!(server.asked().line, "GET /v2/queue?embed=lastUnusedOffers");
}

#[tokio::test]
async fn events_come_as_they_happen_until_the_server_ends() {
    let stream = "event: event_stream_attached\r\ndata: {\"remoteAddress\":\"h\",\"eventType\":\"event_stream_attached\",\"timestamp\":\"t\"}\r\n\r\n\r\n\
                  event: app_terminated_event\r\ndata: {\"appId\":\"/a\",\"eventType\":\"app_terminated_event\",\"timestamp\":\"t\"}\r\n\r\n";
    let server = Scripted::sending(200, "text/event-stream", stream.to_owned()).await;
    let events = server.client().events(&["a", "b"]).await.unwrap();
    let names: Vec<String> = events.map(|event| event.unwrap().kind.name().to_owned()).collect().await;
    assert_eq!(names, ["event_stream_attached", "app_terminated_event"]);
    let asked = server.asked();
    assert_eq!(
        (asked.line.as_str(), &asked.headers["accept"]),
        ("GET /v2/events?event_type=a&event_type=b", &"text/event-stream".parse().unwrap())
    );
}

#[tokio::test]
async fn an_event_that_is_no_json_ends_the_stream() {
    let server = Scripted::sending(200, "text/event-stream", "data: {\n\ndata: {}\n\n".to_owned()).await;
    let events: Vec<_> = server.client().events(&[]).await.unwrap().collect().await;
    assert!(matches!(events.as_slice(), [Err(ClientError::Malformed { .. })]));
}
