//! The figures as a table: what was measured, its bound in the same run, their ratio, and whether it is within.

use serde::Serialize;

use crate::{
    accept::Accepts,
    program::Memory,
    spawn::Spawn,
    through::Through,
    total,
    turns::{Cost, Delay},
    way::Way,
};

/// Everything that was measured.
#[derive(Default, Serialize)]
pub struct Report {
    /// Accepts.
    pub accepts: Option<Accepts>,
    /// CPU time.
    pub cost: Option<Cost>,
    /// Latency.
    pub delay: Option<Delay>,
    /// From exec to the first accepted update, in milliseconds; the state folder is there.
    pub start: Option<f64>,
    /// The same with an empty state folder.
    pub first_start: Option<f64>,
    /// Cold calls.
    pub spawn: Option<Spawn>,
    /// Requests of skills.
    pub way: Option<Way>,
    /// Requests for a model, by protocol.
    pub through: Vec<Through>,
    /// Before the first message.
    pub idle: Option<Vec<Memory>>,
    /// After this many messages.
    pub soaked: Option<(u64, Vec<Memory>)>,
    /// Calls that reached the model.
    pub model_calls: u64,
}

struct Row {
    what: String,
    figure: String,
    bound: String,
    ratio: f64,
    /// Ratios must be at least, or at most, this.
    target: Target,
}

enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// Only to compare.
    None,
}

impl Report {
    /// As Markdown.
    pub fn table(&self) -> String {
        let mut text = String::from(
            "| what | measured | bound, in the same run | ratio | target | |\n|---|---:|---:|---:|---:|---|\n",
        );
        for row in self.rows() {
            let (target, good) = match row.target {
                Target::AtLeast(least) => (format!("≥ {least}"), Some(row.ratio >= least)),
                Target::AtMost(most) => (format!("≤ {most}"), Some(row.ratio <= most)),
                Target::None => (String::new(), None),
            };
            let good = good.map_or("", |good| if good { "holds" } else { "MISSED" });
            text.push_str(&format!(
                "| {} | {} | {} | {:.2} | {target} | {good} |\n",
                row.what, row.figure, row.bound, row.ratio
            ));
        }
        text.push('\n');
        text.push_str(&self.details());
        text
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut row = |what: &str, figure: String, bound: String, ratio: f64, target: Target| {
            rows.push(Row { what: what.into(), figure, bound, ratio, target });
        };
        if let Some(accepts) = &self.accepts {
            let each = accepts.commits * crate::accept::CONNECTIONS as f64;
            let (name, lower) = match accepts.handler < each {
                true => ("handler without storage", accepts.handler),
                false => ("64 × single commits", each),
            };
            let bound = format!("{lower:.0}/s ({name})");
            let rate = |rate: f64| format!("{rate:.0}/s");
            row(
                "durable accepts, 64 connections, turns running",
                rate(accepts.people),
                bound.clone(),
                accepts.people_ratio,
                Target::AtLeast(0.6),
            );
            row(
                "the same, from strangers (stored, then refused)",
                rate(accepts.strangers),
                bound,
                accepts.strangers_ratio,
                Target::AtLeast(0.6),
            );
        }
        if let Some(cost) = &self.cost {
            let figure = format!("{:.2} ms", cost.whole);
            row(
                "CPU time of a message there and back",
                figure.clone(),
                "1.5 ms".into(),
                cost.whole / 1.5,
                Target::AtMost(1.0),
            );
            let bound = format!("{:.2} ms (bot without any of it)", cost.floor);
            row("the same, against a bare bot", figure, bound, cost.whole / cost.floor, Target::None);
        }
        if let Some(delay) = &self.delay {
            let bound = 3.0 * delay.force + 2.0;
            row(
                "added latency of one message alone, p50",
                format!("{:.2} ms", delay.answer),
                format!("{bound:.2} ms (3 × fsync {:.2} ms + 2 ms)", delay.force),
                delay.answer / bound,
                Target::AtMost(1.0),
            );
            row(
                "the same, against a bare bot",
                format!("{:.2} ms", delay.answer),
                format!("{:.2} ms", delay.floor),
                delay.answer / delay.floor,
                Target::None,
            );
        }
        if let Some(start) = self.start {
            row(
                "exec to the first accepted update",
                format!("{start:.0} ms"),
                "60 ms".into(),
                start / 60.0,
                Target::AtMost(1.0),
            );
        }
        if let Some(first) = self.first_start {
            row(
                "the same, first start ever",
                format!("{first:.0} ms"),
                "60 ms".into(),
                first / 60.0,
                Target::None,
            );
        }
        if let Some(spawn) = &self.spawn {
            for (what, jail, bwrap, with, target) in [
                ("cold call of /bin/true in the full jail, p50", spawn.cold, spawn.bwrap, "", 0.6),
                ("the same, one jail made ahead", spawn.waiting, spawn.bwrap, "", 0.6),
                ("cold, bwrap with devices and /tmp", spawn.cold, spawn.bwrap_more, " and more", 0.0),
            ] {
                let target = if target > 0.0 { Target::AtMost(target) } else { Target::None };
                let bound = format!("{bwrap:.2} ms (bwrap --unshare-all{with})");
                row(what, format!("{jail:.2} ms"), bound, jail / bwrap, target);
            }
        }
        if let Some(way) = &self.way {
            for (what, figure) in [
                ("a skill's request through egress adds, p50", way.brokered),
                ("the same from inside a jail", way.jailed),
            ] {
                let added = figure - way.direct;
                let target = if figure == way.brokered { Target::AtMost(1.0) } else { Target::None };
                row(what, format!("{added:.3} ms"), "0.3 ms".into(), added / 0.3, target);
            }
        }
        for through in &self.through {
            let protocol = through.protocol;
            let added = through.whole.through - through.whole.direct;
            let what = format!("egress adds to a request ({protocol}), p50");
            row(&what, format!("{added:.3} ms"), "0.3 ms".into(), added / 0.3, Target::AtMost(1.0));
            let what = format!("CPU time of egress for it ({protocol})");
            let cpu = through.cpu;
            row(&what, format!("{cpu:.3} ms"), "0.25 ms".into(), cpu / 0.25, Target::AtMost(1.0));
            for (pace, pair) in [("one each ms", through.paced), ("without a pause", through.fast)] {
                row(
                    &format!("a stream of 2,000 events, {pace} ({protocol})"),
                    format!("{:.1} ms", pair.through),
                    format!("{:.1} ms (the server itself)", pair.direct),
                    pair.through / pair.direct,
                    Target::AtMost(1.03),
                );
            }
        }
        let mib = |kib: u64| kib as f64 / 1024.0;
        if let Some(idle) = &self.idle {
            let three = mib(total(&idle[1..]));
            row(
                "idle memory of the three processes (PSS)",
                format!("{three:.1} MiB"),
                "24 MiB".into(),
                three / 24.0,
                Target::AtMost(1.0),
            );
            let all = mib(total(idle));
            row(
                "the same with the supervisor",
                format!("{all:.1} MiB"),
                "24 MiB".into(),
                all / 24.0,
                Target::None,
            );
            if let Some((count, after)) = &self.soaked {
                let more = mib(total(&after[1..])) - three;
                let what = format!("more after {count} messages");
                row(&what, format!("{more:.1} MiB"), "4 MiB".into(), more / 4.0, Target::AtMost(1.0));
            }
        }
        rows
    }

    /// What the table leaves out.
    fn details(&self) -> String {
        let mut lines = Vec::new();
        if let Some(accepts) = &self.accepts {
            lines.push(format!(
                "Accepts: handler without storage {:.0}/s; single commits {:.0}/s.",
                accepts.handler, accepts.commits
            ));
        }
        if let Some(cost) = &self.cost {
            let parts: Vec<_> = cost.parts.iter().map(|(name, cost)| format!("{name} {cost:.3}")).collect();
            lines.push(format!("CPU time in ms: {}; {:.0} messages/s.", parts.join(", "), cost.rate));
        }
        if let Some(delay) = &self.delay {
            lines.push(format!("Accepted after {:.2} ms (p50).", delay.accept));
        }
        if let Some(spawn) = &self.spawn {
            lines.push(format!("/bin/true alone: {:.2} ms (p50).", spawn.bare));
        }
        for (when, memory) in
            [("idle", self.idle.as_ref()), ("after", self.soaked.as_ref().map(|(_, memory)| memory))]
        {
            let Some(memory) = memory else { continue };
            let parts: Vec<_> = memory
                .iter()
                .map(|one| format!("{} {} ({} anonymous)", one.program, one.pss, one.anonymous))
                .collect();
            lines.push(format!("Memory {when}, in KiB: {}.", parts.join(", ")));
        }
        lines.join("\n") + "\n"
    }
}
