#!/usr/bin/env python3
"""Live a whole life through Debian's python3-marathon, unmodified.

usage: client_life.py BASE_URL

The client is of 2022 and knows less than Marathon 1.11 says: it cannot read `role` in the queue, `enforceRole` of a
group at the top, `tasksStats`, nor a deployment's event without `original` and `target`. What it cannot read of a real
Marathon either is asked through it and read as JSON.
"""
import json, sys, threading, time

from marathon import MarathonClient, MarathonApp, MarathonHttpError, NotFoundError
from marathon.exceptions import ConflictError
from marathon.models import MarathonConstraint, MarathonGroup, MarathonHealthCheck
from marathon.models.app import MarathonUpgradeStrategy
from marathon.models.container import MarathonContainer, MarathonContainerPortMapping, MarathonDockerContainer
from marathon.models.events import EventFactory

WEB, JOB = "/life/web", "/life/job"
# Kinds of events that the client cannot make an object of.
ONLY_RAW = {"deployment_info", "deployment_step_success", "deployment_step_failure", "deployment_success", "deployment_failed"}


def until(what, look, patience=60):
    deadline = time.time() + patience
    while not (found := look()):
        assert time.time() < deadline, f"never {what}"
        time.sleep(0.05)
    return found


class Listener(threading.Thread):
    """Hears the events of some kinds, as the client gives them."""
    def __init__(self, url, raw, kinds=None):
        super().__init__(daemon=True)
        self.stream = MarathonClient(url).event_stream(raw=raw, event_types=kinds)
        self.heard = []
        self.start()

    def run(self):
        for event in self.stream:
            self.heard.append(json.loads(event) if isinstance(event, str) else event)

    def kinds(self):
        return {event["eventType"] if isinstance(event, dict) else event.event_type for event in self.heard}


class Life:
    def __init__(self, url):
        self.client = MarathonClient(url)
        self.url = url

    def json(self, path):
        return self.client._do_request("GET", path).json()

    def settled(self):
        until("settled", lambda: self.client.list_deployments() == [])

    def healthy(self, app, count):
        def look():
            found = self.client.get_app(app)
            return found if (found.tasks_healthy, found.tasks_running) == (count, count) else None
        self.settled()
        return until(f"{count} healthy", look)

    def task_ids(self, app):
        return sorted(task.id for task in self.client.list_tasks(app))

    def system(self):
        assert self.client.ping() in (b"pong", b'"pong"')
        info = self.client.get_info()
        assert (info.name, info.elected) == ("marathon", True), info
        assert info.version.startswith("1.11") and info.framework_id and info.marathon_config.local_port_min == 10000
        assert self.client.get_leader() == {"leader": info.leader}
        metrics = self.client.get_metrics()
        assert {"version", "counters", "gauges", "histograms", "meters", "timers"} <= set(metrics)
        assert self.client.list_apps() == [] and self.client.list_queue() == [] and self.client.list_groups() == []

    def create(self):
        ports = [MarathonContainerPortMapping(name="http", container_port=0, host_port=0)]
        docker = MarathonDockerContainer(image="marathon-probe:1", network="BRIDGE", port_mappings=ports)
        check = MarathonHealthCheck(
            protocol="MESOS_TCP", port_index=0, grace_period_seconds=30, interval_seconds=1, timeout_seconds=2,
            max_consecutive_failures=3, delay_seconds=0)
        created = self.client.create_app(WEB, MarathonApp(
            args=["/start", "web"], cpus=0.05, mem=32, instances=1, container=MarathonContainer(docker=docker),
            env={"PAAS_RELEASE": "1"}, labels={"kind": "web"}, health_checks=[check],
            upgrade_strategy=MarathonUpgradeStrategy(maximum_over_capacity=1, minimum_health_capacity=1),
            backoff_seconds=1, kill_selection="OLDEST_FIRST", task_kill_grace_period_seconds=1))
        assert (created.id, created.instances, created.tasks_running) == (WEB, 1, 0)
        assert len(created.deployments) == 1 and created.version
        app = self.healthy(WEB, 1)
        assert app.networks == [{"mode": "container/bridge"}], app.networks
        assert app.container.docker.image == "marathon-probe:1" and app.container.port_mappings[0].service_port >= 10000
        assert app.version_info.last_config_change_at and app.kill_selection == "OLDEST_FIRST"
        try:
            self.client.create_app(WEB, MarathonApp(cmd="true"))
            raise AssertionError("created twice")
        except ConflictError as error:
            assert "already exists" in str(error), error
        try:
            self.client.create_app("/life/bad", MarathonApp(cmd="sleep 1", cpus=-1))
            raise AssertionError("a bad app was taken")
        except MarathonHttpError as error:
            assert error.status_code == 422, error

    def look(self):
        task = self.client.list_tasks(WEB)[0]
        assert (task.app_id, task.state, task.health_check_results[0].alive) == (WEB, "TASK_RUNNING", True)
        assert task.started_at >= task.staged_at and task.ip_addresses[0].protocol == "IPv4"
        assert [endpoint.task_id for endpoint in self.client.list_endpoints()] == [task.id]
        embedded = self.client.list_apps(
            embed_tasks=True, embed_counts=True, embed_deployments=True, embed_readiness=True,
            embed_last_task_failure=True, embed_failures=True)
        assert [app.id for app in embedded] == [WEB] and embedded[0].tasks[0].id == task.id
        for wanted, filters in [
            (1, {"cmd": None, "label": "kind==web"}), (0, {"label": "kind==db"}), (1, {"app_id": "LIFE"}), (0, {"app_id": "nope"}),
            (0, {"cmd": "sleep"}),
        ]:
            assert len(self.client.list_apps(**filters)) == wanted, filters
        stats = self.json("/v2/apps?embed=apps.taskStats")["apps"][0]["tasksStats"]
        assert stats["totalSummary"]["stats"]["counts"]["running"] == 1
        try:
            self.client.get_app("/life/none")
            raise AssertionError("there is no such app")
        except NotFoundError as error:
            assert "App '/life/none' does not exist" in str(error), error

    def scale(self):
        before = self.task_ids(WEB)
        answer = self.client.scale_app(WEB, instances=3)
        assert answer["deploymentId"] and answer["version"]
        self.healthy(WEB, 3)
        assert set(before) < set(self.task_ids(WEB))
        self.client.scale_app(WEB, delta=-1)
        self.healthy(WEB, 2)

    def update(self):
        before = self.task_ids(WEB)
        # What was got can be put back: nothing changes.
        app = self.client.get_app(WEB)
        self.client.update_app(WEB, app)
        self.healthy(WEB, 2)
        assert self.task_ids(WEB) == before
        # A rolling update replaces every task, the old ones after the new ones are healthy.
        app.env["PAAS_RELEASE"] = "2"
        self.client.update_app(WEB, app)
        self.healthy(WEB, 2)
        assert not set(before) & set(self.task_ids(WEB))
        assert self.client.get_app(WEB).env == {"PAAS_RELEASE": "2"}
        versions = self.client.list_versions(WEB)
        assert len(versions) >= 3, versions
        oldest = min(versions)
        assert self.client.get_version(WEB, oldest).env == {"PAAS_RELEASE": "1"}
        self.client.rollback_app(WEB, oldest)
        self.healthy(WEB, 1)
        assert self.client.get_app(WEB).env == {"PAAS_RELEASE": "1"}
        before = self.task_ids(WEB)
        self.client.restart_app(WEB)
        self.healthy(WEB, 1)
        assert not set(before) & set(self.task_ids(WEB))
        # Several at once, one of them new.
        self.client.update_apps([MarathonApp(id=WEB, labels={"kind": "site"}), MarathonApp(id=JOB, cmd="exec sleep 1000", cpus=0.01, mem=16)])
        self.settled()
        assert self.client.list_apps(label="kind==site")[0].id == WEB and self.client.get_app(JOB).tasks_running == 1

    def kill(self):
        def replaced(app, before, count):
            until("replaced", lambda: not set(before) & set(self.task_ids(app)) and self.client.get_app(app).tasks_running == count)
        self.client.scale_app(JOB, instances=3)
        self.settled()
        before = self.task_ids(JOB)
        killed = self.client.kill_task(JOB, before[0])
        assert killed.id == before[0]
        # The same instance, its next incarnation.
        next_one = before[0][:-1] + "2"
        until("next incarnation", lambda: next_one in self.task_ids(JOB))
        until("three again", lambda: self.client.get_app(JOB).tasks_running == 3)
        wiped = self.client.kill_task(JOB, next_one, wipe=True)
        assert wiped.id == next_one
        instance = next_one.rsplit("._app.", 1)[0]
        until("another instance", lambda: not [one for one in self.task_ids(JOB) if one.startswith(instance)])
        until("three again", lambda: self.client.get_app(JOB).tasks_running == 3)
        before = self.task_ids(JOB)
        assert self.client.kill_given_tasks(before[:2], scale=True)
        self.settled()
        assert (self.task_ids(JOB), self.client.get_app(JOB).instances) == (before[2:], 1)
        host = self.client.list_tasks(JOB)[0].host
        assert self.client.kill_tasks(JOB, host="elsewhere.example") == []
        before = self.task_ids(JOB)
        assert [task.id for task in self.client.kill_tasks(JOB, host=host)] == before
        replaced(JOB, before, 1)
        before = self.task_ids(JOB)
        assert [task.id for task in self.client.kill_tasks(JOB, wipe=True)] == before
        replaced(JOB, before, 1)
        assert "deploymentId" in self.client.kill_tasks(JOB, scale=True)
        self.settled()
        assert (self.task_ids(JOB), self.client.get_app(JOB).instances) == ([], 0)

    def groups(self):
        sleeper = {"cmd": "exec sleep 1000", "cpus": 0.01, "mem": 16, "instances": 1}
        first = MarathonApp(id="first", **sleeper)
        second = MarathonApp(id="second", dependencies=["/life/team/first"], **sleeper)
        answer = self.client.create_group(MarathonGroup(id="/life/team", apps=[first, second]))
        assert answer["deploymentId"]
        self.settled()
        group = self.client.get_group("/life/team")
        assert sorted(app.id for app in group.apps) == ["/life/team/first", "/life/team/second"]
        self.client.scale_group("/life/team", 2)
        self.settled()
        assert [app.instances for app in self.client.get_group("/life/team").apps] == [2, 2]
        self.client.update_group("/life/team", MarathonGroup(apps=[MarathonApp(id="first", **sleeper)]))
        self.settled()
        assert [app.id for app in self.client.get_group("/life/team").apps] == ["/life/team/first"]
        self.client.delete_group("/life/team")
        self.settled()
        try:
            self.client.get_group("/life/team")
            raise AssertionError("the group is still there")
        except NotFoundError:
            pass

    def deployments_and_queue(self):
        # Of two that may not share a host, one waits.
        self.client.create_app("/life/waits", MarathonApp(
            cmd="exec sleep 1000", cpus=0.01, mem=16, instances=2, constraints=[MarathonConstraint("hostname", "UNIQUE")]))
        until("running", lambda: self.client.get_app("/life/waits").tasks_running == 1)
        deployment = self.client.list_deployments()[0]
        assert deployment.affected_apps == ["/life/waits"] and deployment.total_steps == 2
        assert deployment.current_actions[0].action == "ScaleApplication"
        queue = until("queued", lambda: self.json("/v2/queue?embed=lastUnusedOffers")["queue"])
        assert (queue[0]["app"]["id"], queue[0]["count"]) == ("/life/waits", 1)
        try:
            self.client.scale_app("/life/waits", instances=3)
            raise AssertionError("the app is locked")
        except ConflictError as error:
            assert "locked by one or more deployments" in str(error), error
        self.client.reset_delay("/life/waits")
        assert self.client.delete_deployment(deployment.id, force=True) == {}
        self.settled()
        assert self.client.get_app("/life/waits").instances == 2
        self.client.scale_app("/life/waits", instances=1)
        self.settled()
        # Undone: the app keeps one instance.
        answer = self.client.scale_app("/life/waits", instances=2)
        undone = self.client.delete_deployment(answer["deploymentId"])
        assert undone["deploymentId"] != answer["deploymentId"]
        self.settled()
        assert self.client.get_app("/life/waits").instances == 1
        # One that fails waits longer each time.
        self.client.create_app("/life/fails", MarathonApp(cmd="exit 3", cpus=0.01, mem=16, backoff_seconds=3600))
        failed = until("failed", lambda: self.client.get_app("/life/fails", embed_last_task_failure=True).last_task_failure)
        assert (failed.app_id, failed.state) == ("/life/fails", "TASK_FAILED"), failed
        waiting = until("delayed", lambda: [one for one in self.json("/v2/queue")["queue"] if not one["delay"]["overdue"]])
        # Never longer than maxLaunchDelaySeconds.
        assert 290 < waiting[0]["delay"]["timeLeftSeconds"] <= 300
        self.client.reset_delay("/life/fails")
        until("tried again", lambda: self.client.get_app("/life/fails").last_task_failure.task_id != failed.task_id)
        self.client.delete_app("/life/fails", force=True)

    def end(self):
        for app in (WEB, JOB, "/life/waits"):
            assert self.client.delete_app(app)["deploymentId"]
        self.settled()
        assert self.client.list_apps() == [] and self.client.list_tasks() == [] and self.client.list_queue() == []


def main():
    url = sys.argv[1]
    life = Life(url)
    raw = Listener(url, raw=True)
    parsed = Listener(url, raw=False, kinds=sorted(set(EventFactory.event_to_class) - ONLY_RAW))
    until("attached", lambda: "event_stream_attached" in raw.kinds() & parsed.kinds())
    for part in (life.system, life.create, life.look, life.scale, life.update, life.kill, life.groups, life.deployments_and_queue, life.end):
        begun = time.time()
        part()
        print(f"{part.__name__}: {time.time() - begun:.1f} s", flush=True)
    kinds = {
        "api_post_event", "group_change_success", "group_change_failed", "status_update_event", "instance_changed_event",
        "instance_health_changed_event", "add_health_check_event", "remove_health_check_event", "app_terminated_event",
    }
    until("all events", lambda: kinds <= parsed.kinds() and kinds | {"deployment_success", "deployment_info"} <= raw.kinds(), 5)
    assert not ONLY_RAW & parsed.kinds(), "the filter lets through what was not asked for"
    posted = next(event for event in parsed.heard if event.event_type == "api_post_event")
    assert posted.app_definition["id"] == WEB and posted.uri == "/v2/apps"


if __name__ == "__main__": main()
