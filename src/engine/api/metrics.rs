//! `/metrics`, as JSON and as Prometheus reads it: one set of figures under the names that a Marathon has.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::super::core::is_waiting;
use super::super::tally::STATES;
use super::Api;
use super::answer::Answer;
use super::traffic::{METHODS, Meter, Spread, as_float};
use super::views;

/// Figures of one moment.
#[derive(Debug, Default)]
struct Figures {
    counters: BTreeMap<String, u64>,
    gauges: BTreeMap<String, f64>,
    meters: BTreeMap<String, Meter>,
    timers: BTreeMap<String, (Meter, Spread)>,
}

impl Api {
    pub(super) fn metrics(&self) -> Answer {
        Answer::json(&self.figures().json())
    }

    pub(super) fn prometheus(&self) -> Answer {
        Answer::text("text/plain; version=0.0.4; charset=utf-8", self.figures().prometheus())
    }

    fn figures(&self) -> Figures {
        let mut figures = Figures::default();
        self.gauge(&mut figures);
        self.count(&mut figures);
        self.measure(&mut figures);
        figures
    }

    fn gauge(&self, figures: &mut Figures) {
        let (state, traffic) = (self.look(), self.traffic());
        let counts = views::counts(state.all_instances());
        let waiting = state.all_instances().filter(|instance| is_waiting(instance)).count();
        let uptime = traffic.begun.elapsed().as_secs_f64();
        for (name, value) in [
            ("apps.active.gauge", as_float(state.root().all_apps().len() as u64)),
            ("groups.active.gauge", as_float(state.root().all_groups().len() as u64)),
            ("deployments.active.gauge", as_float(state.deployments().len() as u64)),
            ("instances.staged.gauge", f64::from(counts.tasks_staged)),
            ("instances.running.gauge", f64::from(counts.tasks_running)),
            ("instances.waiting.gauge", as_float(waiting as u64)),
            ("http.requests.active.gauge", as_float(traffic.active())),
            ("http.event-streams.active.gauge", as_float(self.shared().hub.listeners() as u64)),
            // Its own leader as long as it lives.
            ("leadership.duration.gauge.seconds", uptime),
            ("uptime.gauge.seconds", uptime),
        ] {
            figures.gauges.insert(marathons(name), value);
        }
    }

    fn count(&self, figures: &mut Figures) {
        let (traffic, tally) = (self.traffic(), self.shared().hub.tally());
        for (name, count) in [
            ("deployments.counter", traffic.deployments()),
            ("deployments.dismissed.counter", traffic.dismissed()),
            ("deployments.succeeded.counter", tally.finished_deployments()),
            ("tasks.launched.counter", tally.launched()),
            ("tasks.unhealthy-kills.counter", tally.health_kills()),
            ("events.counter", tally.events()),
            ("http.responses.size.counter.bytes", traffic.sent_bytes()),
            ("http.responses.size.gzipped.counter.bytes", traffic.gzipped_bytes()),
        ] {
            figures.counters.insert(marathons(name), count);
        }
        for (index, (_, state)) in STATES.iter().enumerate() {
            figures.counters.insert(marathons(&format!("mesos.task-updates.{state}.counter")), tally.updates(index));
        }
        for (index, method) in METHODS.iter().map(Method::as_str).enumerate() {
            let name = marathons(&format!("http.requests.{}.counter", method.to_lowercase()));
            figures.counters.insert(name, traffic.of_method(index));
        }
    }

    fn measure(&self, figures: &mut Figures) {
        for class in 1..=5 {
            figures.meters.insert(marathons(&format!("http.responses.{class}xx.rate")), self.traffic().of_class(class));
        }
        figures.timers.insert(marathons("http.requests.duration.timer.seconds"), self.traffic().durations());
    }
}

fn marathons(name: &str) -> String {
    format!("marathon.{name}")
}

/// What is told of a spread, by the parts of a thousand.
const PARTS: [(&str, usize); 6] = [("p50", 500), ("p75", 750), ("p95", 950), ("p98", 980), ("p99", 990), ("p999", 999)];

impl Figures {
    fn json(&self) -> Value {
        let object = |items: Vec<(&String, Value)>| {
            Value::Object(items.into_iter().map(|(name, value)| (name.clone(), value)).collect())
        };
        let rates = |meter: &Meter| {
            let [one, five, fifteen] = meter.means;
            let rates = json!({
                "count": meter.count, "mean_rate": meter.mean,
                "m1_rate": one, "m5_rate": five, "m15_rate": fifteen,
            });
            match rates {
                Value::Object(rates) => rates,
                _ => Map::new(),
            }
        };
        let meter = |meter: &Meter| {
            let mut shown = rates(meter);
            shown.insert("units".to_owned(), "events/second".into());
            Value::Object(shown)
        };
        let timer = |(meter, spread): &(Meter, Spread)| {
            let mut shown = rates(meter);
            let of_spread = [("min", spread.least()), ("mean", spread.mean), ("max", spread.greatest())];
            let parts = PARTS.map(|(name, part)| (name, spread.per_mille(part)));
            for (name, value) in of_spread.into_iter().chain(parts).chain([("stddev", spread.deviation)]) {
                shown.insert(name.to_owned(), value.into());
            }
            shown.insert("duration_units".to_owned(), "seconds".into());
            shown.insert("rate_units".to_owned(), "events/second".into());
            Value::Object(shown)
        };
        json!({
            "version": "4.0.0",
            "counters": object(self.counters.iter().map(|(name, count)| (name, json!({ "count": count }))).collect()),
            "gauges": object(self.gauges.iter().map(|(name, value)| (name, json!({ "value": value }))).collect()),
            "histograms": {},
            "meters": object(self.meters.iter().map(|(name, found)| (name, meter(found))).collect()),
            "timers": object(self.timers.iter().map(|(name, found)| (name, timer(found))).collect()),
        })
    }

    fn prometheus(&self) -> String {
        let mut text = String::new();
        let mut metric = |name: &str, kind: &str, samples: &[(String, f64)]| {
            let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
            // Text takes every line.
            let _ = writeln!(text, "# TYPE {name} {kind}");
            for (suffix, value) in samples {
                let _ = writeln!(text, "{name}{suffix} {value}");
            }
        };
        let alone = |value: f64| [(String::new(), value)];
        for (name, count) in &self.counters {
            metric(name, "counter", &alone(as_float(*count)));
        }
        for (name, value) in &self.gauges {
            metric(name, "gauge", &alone(*value));
        }
        for (name, meter) in &self.meters {
            metric(&format!("{name}.count"), "counter", &alone(as_float(meter.count)));
        }
        for (name, (meter, spread)) in &self.timers {
            let quantile = |part: usize| format!("{{quantile=\"{}\"}}", as_float(part as u64) / 1000.0);
            let mut samples: Vec<_> =
                PARTS.iter().map(|(_, part)| (quantile(*part), spread.per_mille(*part))).collect();
            samples.push(("_count".to_owned(), as_float(meter.count)));
            metric(name, "summary", &samples);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_is_told_each_figure_under_a_name_it_can_read() {
        let figures = Figures {
            counters: BTreeMap::from([("marathon.mesos.task-updates.task-running.counter".to_owned(), 3)]),
            gauges: BTreeMap::from([("marathon.uptime.gauge.seconds".to_owned(), 1.5)]),
            meters: BTreeMap::from([(
                "marathon.http.responses.2xx.rate".to_owned(),
                Meter { count: 7, mean: 0.5, means: [0.0; 3] },
            )]),
            timers: BTreeMap::from([(
                "marathon.t".to_owned(),
                (Meter { count: 2, mean: 0.5, means: [0.0; 3] }, Spread::of(vec![0.25, 0.5])),
            )]),
        };
        let text = figures.prometheus();
        for line in [
            "# TYPE marathon_mesos_task_updates_task_running_counter counter",
            "marathon_mesos_task_updates_task_running_counter 3",
            "marathon_uptime_gauge_seconds 1.5",
            "marathon_http_responses_2xx_rate_count 7",
            "# TYPE marathon_t summary",
            "marathon_t{quantile=\"0.5\"} 0.25",
            "marathon_t_count 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        let json = figures.json();
        assert_eq!(json["counters"]["marathon.mesos.task-updates.task-running.counter"]["count"], 3);
        assert_eq!(json["timers"]["marathon.t"]["max"], 0.5);
        assert_eq!(json["meters"]["marathon.http.responses.2xx.rate"]["units"], "events/second");
    }
}
