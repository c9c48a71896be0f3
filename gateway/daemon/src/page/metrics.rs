//! `/metrics`: the figures of the status, in the text form of OpenMetrics. Made when somebody asks; nothing is counted besides.

use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use openclaw_wire::{
    admin::Status,
    config::Profile,
    money::Usd,
    spend::{CapState, Span, Whose},
};
use prometheus_client::{
    encoding::text::encode,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

use super::view;
use crate::command::status::reports;

/// <https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md>
const TYPE: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

type Labels = Vec<(&'static str, String)>;
type Figures = Family<Labels, Gauge<f64, AtomicU64>>;

/// The answer for a collector.
pub fn answer(status: &Status) -> Response<Full<Bytes>> {
    let mut text = String::new();
    if encode(&mut text, &registry(status)).is_err() {
        return view::plain(StatusCode::INTERNAL_SERVER_ERROR);
    }
    let mut answer = Response::new(Full::from(text));
    answer.headers_mut().insert(CONTENT_TYPE, TYPE);
    answer
}

fn registry(status: &Status) -> Registry {
    let mut registry = Registry::with_prefix("openclaw");
    let mut figure = |name: &str, help: &str, values: Vec<(Labels, f64)>| match values.as_slice() {
        [(labels, value)] if labels.is_empty() => {
            let gauge = Gauge::<f64, AtomicU64>::default();
            gauge.set(*value);
            registry.register(name, help, gauge);
        }
        values => {
            let family = Figures::default();
            for (labels, value) in values {
                family.get_or_create(labels).set(*value);
            }
            registry.register(name, help, family);
        }
    };
    let one = |value: f64| vec![(Labels::new(), value)];
    let profile = match status.profile {
        Profile::Production => "production",
        Profile::Development => "development",
    };
    let build = vec![("version", status.version.clone()), ("profile", profile.to_owned())];
    figure("build_info", "Release and profile", vec![(build, 1.0)]);
    figure(
        "start_time_seconds",
        "When the gateway started, since 1970-01-01 UTC",
        one(status.started as f64),
    );
    let queues = &status.queues;
    for (name, help, value) in [
        ("inbox_waiting", "Accepted updates that no turn has taken up yet", queues.inbox_waiting),
        ("turns_running", "Turns that run now", queues.running_turns),
        ("outbox_waiting", "Answers that are stored and not yet sent", queues.outbox_waiting),
        ("dead_letters", "Messages and answers that were given up", queues.dead_letters),
    ] {
        figure(name, help, one(value as f64));
    }
    let caps = |amount: fn(&CapState) -> Usd| {
        // Others come and go, and their names are people's.
        let over_all = status.caps.iter().filter(|cap| cap.cap.whose == Whose::All);
        over_all.map(|cap| (of(cap), dollars(amount(cap)))).collect()
    };
    figure("spent_dollars", "What was spent in the present period", caps(|cap| cap.spent));
    figure("spend_limit_dollars", "What may be spent in it", caps(|cap| cap.limit));
    let layers = reports(status).into_iter().flat_map(|report| {
        let process = report.process;
        report.layers.into_iter().map(move |layer| {
            let labels = vec![("process", process.clone()), ("layer", layer.name)];
            (labels, f64::from(u8::from(layer.complete)))
        })
    });
    figure("barrier_in_force", "1 when the kernel enforces all that was asked", layers.collect());
    let usable = |problem: &Option<String>| f64::from(u8::from(problem.is_none()));
    let models =
        status.models.iter().map(|one| (vec![("model", one.name.to_string())], usable(&one.problem)));
    figure("model_usable", "1 when the model can be asked", models.collect());
    let bots = status.bots.iter().map(|one| (vec![("bot", one.name.to_string())], usable(&one.problem)));
    figure("bot_usable", "1 when the bot can be used", bots.collect());
    figure("skills_on", "1 when skills can run", one(usable(&status.skills_off)));
    figure("warnings", "What the operator should know, in number", one(status.warnings.len() as f64));
    if let Some(drill) = &status.last_drill {
        figure("drill_time_seconds", "When the last drill ended, since 1970-01-01 UTC", one(drill.at as f64));
        figure("drill_probes", "Probes of the last drill", one(drill.probes as f64));
        figure("drill_failed", "Probes of it that got through", one(drill.failed as f64));
    }
    registry
}

fn of(cap: &CapState) -> Labels {
    let span = match cap.cap.span {
        Span::Day => "day",
        Span::Month => "month",
    };
    vec![("of", cap.cap.whose.to_string()), ("span", span.to_owned())]
}

fn dollars(amount: Usd) -> f64 {
    amount.as_nano() as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::{encode, registry};
    use crate::command::status::tests::status;

    #[test]
    fn the_figures_are_those_of_the_status() {
        let mut text = String::new();
        encode(&mut text, &registry(&status("production", true))).expect("text");
        for line in [
            "openclaw_build_info{version=\"0.1.0\",profile=\"production\"} 1.0",
            "openclaw_turns_running 2.0",
            "openclaw_spent_dollars{of=\"all together\",span=\"day\"} 4.5",
            "openclaw_spend_limit_dollars{of=\"all together\",span=\"day\"} 5.0",
            "openclaw_barrier_in_force{process=\"egress\",layer=\"seccomp\"} 1.0",
            "openclaw_bot_usable{bot=\"main\"} 0.0",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in:\n{text}");
        }
    }
}
